"""Entries of the experiment `study`, and copies of them that lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chemscale_bench.settings.submit import SubmitSettings
from chemscale_bench.verbs.submit import submit


def submitted(out: Path, **more: Any) -> Path:
    """The entry in a folder, written if there is none."""
    if not list(out.glob("*/*/*.json")):
        submit(SubmitSettings(run="study", submitter="Ada", out=str(out), **more))
    return next(out.glob("*/*/*.json"))


def changed(path: Path, to: Path, part: str, change: Callable[[Any], object]) -> Path:
    """A copy of an entry, a part of whose first run's last result was changed."""
    shutil.copytree(path.parents[2], to / "changed")
    copy = next((to / "changed").glob("*/*/*.json"))
    content = json.loads(copy.read_text())
    change(content["runs"][0]["results"][-1][part])
    copy.write_text(json.dumps(content))
    return copy
