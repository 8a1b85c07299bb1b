"""Checkpoints in the format of Hugging Face, from a folder or from its hub."""

from __future__ import annotations

import json
from pathlib import Path

from chemscale_bench.errors import UserError

FILES = ["config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json"]


def checkpoint_folder(source: str) -> Path:
    """The folder of a checkpoint that is given by its path or by its name on the Hugging Face hub."""
    return Path(source) if Path(source).is_dir() else download_checkpoint(source)


def symbols_of(folder: Path) -> list[str] | None:
    """The vocabulary of a checkpoint's tokenizer.json in the order of its ids, None without one."""
    try:
        vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        return sorted(vocabulary, key=vocabulary.__getitem__)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def download_checkpoint(name: str) -> Path:
    """Fetch a checkpoint's configuration and weights from the Hugging Face hub."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # the hub client raises many kinds, all of which mean "not to be had"
        reason = str(error).splitlines()[0]
        raise UserError(
            f"init must be a folder or a name on the Hugging Face hub, got {name!r} ({reason}); check the name and "
            "the network, or download the folder elsewhere and give its path"
        ) from None
