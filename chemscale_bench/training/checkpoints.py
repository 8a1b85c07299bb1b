"""Resume states: one file, replaced in one step, so that a killed run finds the last one whole."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from chemscale_bench.errors import UserError, first_line


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write `state` (tensors, numbers, text, lists and dicts of them) to `path`, wholly or not at all."""
    temporary = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as a position that it did not expect
        free = shutil.disk_usage(path.parent).free if path.parent.exists() else 0
        if isinstance(error, RuntimeError) and free >= size_of(state):
            raise
        why = getattr(error, "strerror", None) or first_line(error)
        raise UserError(
            f"a resume state of about {size_of(state) / 2**20:.1f} MiB must be written to {path}, where "
            f"{free / 2**20:.1f} MiB are free ({why}); free some space or move CHEMSCALE_HOME to a larger disk, then "
            f"carry on: the same command with resume={path.parent.name}"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def size_of(state: Any) -> int:
    """Bytes of all tensors in a state."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(size_of(part) for part in parts)


def load_state(path: Path) -> dict[str, Any]:
    """Read a state that `save_state` wrote; only tensors and plain values are accepted, nothing is executed."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
