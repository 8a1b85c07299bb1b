"""The speed suites of benchmarks/speed: which there are, and how one is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from chemscale_bench.errors import UserError, did_you_mean
from chemscale_bench.speed import measurements
from chemscale_bench.speed.measurements import Row
from chemscale_bench.tasks import FOLDER as BENCHMARKS

FOLDER = BENCHMARKS / "speed"
QUICK = ("startup", "data", "pruner", "training")
PYTEST = (
    "-s", "--verbosity=1", "--no-header", "--tb=short", "--disable-warnings", "--benchmark-quiet",
    "-p", "no:cacheprovider",
)  # fmt: skip


def chosen(suite: str) -> dict[str, Path]:
    """The suites that a user names, and their files.

    Raises:
        UserError: if there are no suites here, or none of that name.
    """
    there = {path.stem.removeprefix("test_"): path for path in sorted(FOLDER.glob("test_*.py"))}
    if not there:
        raise UserError(f"speed needs the suites of a checkout, there are none in {FOLDER}; run it in a clone")
    groups = {"quick": [name for name in QUICK if name in there], "all": list(there)}
    names = groups.get(suite) or [name.strip() for name in suite.split(",")]
    for name in names:
        if name not in there:
            hint = did_you_mean(name, [*groups, *there], "choose some, with commas between them")
            raise UserError(f"suite must be quick, all, or of {', '.join(there)}, got {name!r}; {hint}")
    return {name: there[name] for name in names}


def run(suite: str, file: Path, quick: bool) -> list[Row]:
    """The rows of one suite, run by pytest in a process of its own; one that breaks gives what it has, and a note."""
    tests = [str(file), *(["-m", "not slow"] if quick else [])]
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "rows.jsonl"
        environment = os.environ | {"CHEMSCALE_SPEED_ROWS": str(kept)}
        # Standard output carries the table alone.
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *PYTEST, *tests], cwd=FOLDER.parents[1], env=environment, stdout=2
        )
        rows = measurements.read(kept)
    if done.returncode and not any(row.note.startswith("failed") for row in rows):
        rows.append(Row(suite, "the suite", note=f"failed: pytest ended with exit code {done.returncode}"))
    return rows
