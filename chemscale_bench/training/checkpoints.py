"""Resume states: one file, replaced in one step, so that a killed run finds the last one whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from chemscale_bench.errors import UserError


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
    except OSError as error:
        raise UserError(
            f"a resume state must be written, got '{error.strerror}' for {path}; free some space or point "
            "CHEMSCALE_HOME at a larger disk, then carry on with the run's id as resume"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def load_state(path: Path) -> dict[str, Any]:
    """Read a state that `save_state` wrote; only tensors and plain values are accepted, nothing is executed."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
