"""Where everything derived is kept: one folder, CHEMSCALE_HOME."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chemscale_bench.errors import UserError


def home() -> Path:
    """The cache folder: `CHEMSCALE_HOME` where it is set, else `chemscale` in the platform's folder for caches."""
    chosen = os.environ.get("CHEMSCALE_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "chemscale"


def run_folder(run_id: str) -> Path:
    """Where a run keeps its resume state while it is not finished."""
    return home() / "runs" / run_id


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what a file system refuses while something is written to the cache into a user's error.

    Raises:
        UserError: the disk is full, or the cache cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                f"the cache needs more disk space than {folder} has ({error.strerror}); "
                "free some, or set CHEMSCALE_HOME to a folder on another disk"
            ) from None
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOENT):
            raise UserError(
                f"the cache must be a folder that can be written to, {folder} is not ({error.strerror}); "
                "set CHEMSCALE_HOME to one that is"
            ) from None
        raise


def keep(path: Path, text: str) -> None:
    """Write a small result to the cache; whoever reads it meanwhile finds all of it or nothing.

    Raises:
        UserError: as `writing` does.
    """
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(text)
        draft.replace(path)
