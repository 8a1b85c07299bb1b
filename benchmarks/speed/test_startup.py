"""How long a user waits before anything happens: `--help` (goal: under 0.7 s) beside `mlflow --help`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from chemscale_bench.speed.measurements import Row

ROUNDS = 5


def seconds(module: str) -> float:
    """Wall time of one `--help`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", module, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def test_help(record_row: Callable[..., Row]) -> None:
    pairs = [(seconds("chemscale_bench"), seconds("mlflow")) for _ in range(ROUNDS)]
    ours, theirs = zip(*pairs, strict=True)
    row = record_row("chemscale --help", "s", ours, "mlflow --help", theirs)
    assert row.ours < 0.7
