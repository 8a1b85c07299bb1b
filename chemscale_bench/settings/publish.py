"""Parameters of the verb `publish`."""

from __future__ import annotations

from chemscale_bench.settings.base import Settings


class PublishSettings(Settings):
    """Write a run's model as a repository of the Hugging Face hub, with a card; it is sent there only with `push`."""

    run: str = ""
    """Id of a finished run of a language model or a force field."""
    repo: str = ""
    """Name of the repository, OWNER/NAME."""
    out: str = ""
    """Folder to write, which must be new or empty; by default NAME."""
    licence: str = "mit"
    """Licence of the weights, by its name on the hub: mit, apache-2.0, cc-by-4.0."""
    push: bool = False
    """Send it to the hub, which has to know you (`hf auth login`, or HF_TOKEN)."""
    private: bool = False
    """Whether a repository that is made for it is one that only you see."""
