"""Where everything derived is kept: one folder, CHEMSCALE_HOME."""

from __future__ import annotations

import os
import sys
from pathlib import Path


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
