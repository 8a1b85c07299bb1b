"""Checkpoints in the format of Hugging Face, from a folder or from its hub."""

from __future__ import annotations

import json
from pathlib import Path

from chemscale_bench.data.worker import MAX_TOKENS
from chemscale_bench.errors import UserError, first_line

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


def save_generation_config(folder: Path, start_id: int, end_id: int, pad_id: int) -> None:
    """Write `generation_config.json`, so that `generate` of `transformers` draws from the model's own distribution.

    Without it, it draws from the 50 likeliest tokens and stops after 20, neither of which it says.
    """
    about = {
        "do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_length": MAX_TOKENS,
        "bos_token_id": start_id, "eos_token_id": end_id, "pad_token_id": pad_id,
    }  # fmt: skip
    (folder / "generation_config.json").write_text(json.dumps(about, indent=2) + "\n")


def download_checkpoint(name: str) -> Path:
    """Fetch a checkpoint's configuration and weights from the Hugging Face hub."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # the hub client raises many kinds, all of which mean "not to be had"
        reason = first_line(error)
        raise UserError(
            f"init must be a folder or a name on the Hugging Face hub, got {name!r} ({reason}); check the name and "
            "the network, or download the folder elsewhere and give its path"
        ) from None
