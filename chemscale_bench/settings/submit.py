"""Parameters of the verb `submit`."""

from __future__ import annotations

from typing import Literal

from chemscale_bench.settings.base import Settings


class SubmitSettings(Settings):
    """Write a leaderboard entry from finished runs, and verify it; nothing is sent anywhere."""

    run: str = ""
    """Name of an experiment, or id of a run (with all its children, if it has any)."""
    submitter: str = ""
    """Your name, or your group's, as the board shall show it."""
    task: str = ""
    """Only the runs of this task; needed where the experiment holds several."""
    model: str = ""
    """Only the runs of this kind of model."""
    task_digest: str = ""
    """Only the runs of this version of the task."""
    description: str = ""
    """What is special about the study, in a sentence."""
    link: str = ""
    """https:// address of a paper or repository."""
    checkpoint: Literal["best", "all", "none"] = "best"
    """Which runs' checkpoints come along; without the best one an entry can't be reproduced."""
    checkpoint_url: str = ""
    """https:// address of a folder where you publish the checkpoints as RUN_ID/model.safetensors, if they are large."""
    publish: bool = False
    """Of runs on your own data: whether file name, losses, curves and checkpoint may be published; else it asks."""
    out: str = "leaderboard/entries"
    """Folder of all entries."""
