"""Compilation with numba, kept on disk so that only the first process on a machine waits for it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from chemscale_bench.data.cache import home

Function = TypeVar("Function", bound=Callable[..., Any])


def source_digest() -> str:
    """Digest of this folder's source."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


# numba notices a change of the file of the function it keeps, not of the files it calls into: hence a folder per
# version.
FOLDER = home() / "numba" / source_digest()


def _writable() -> bool:
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(FOLDER, os.W_OK)


def compiled(function: Function, **options: Any) -> Function:
    """Compile a function, with numba's options; where no folder can be written, every process compiles it anew."""
    if not _writable():
        # Left to itself numba would keep it beside the source, where it goes stale.
        return cast(Function, numba.njit(**options)(function))
    settings: Any = numba.config
    before, settings.CACHE_DIR = settings.CACHE_DIR, str(FOLDER)
    try:
        return cast(Function, numba.njit(cache=True, **options)(function))
    finally:
        settings.CACHE_DIR = before
