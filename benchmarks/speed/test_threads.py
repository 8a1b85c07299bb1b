"""Threads of a training step that sleep while they wait for one another, against threads that spin.

Run: `python -m pytest benchmarks/speed/test_threads.py -s`. A small ChemGPT trains on all cores, on a machine that is
otherwise idle and on one where another process keeps a core busy. The commands take `OMP_WAIT_POLICY=passive` unless it
is set.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chemscale_bench.speed.measurements import Row

COMMAND = [sys.executable, "-m", "chemscale_bench", "chemgpt", "--task", "embedded-lm", "--device", "cpu"]
ROUNDS = 3


@contextmanager
def others(busy: bool) -> Iterator[None]:
    """A process that computes on one core, if any."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    yield
    if process:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(("busy", "tokens"), [(False, "1e5"), (True, "1e4")], ids=["idle", "busy"])
def test_trained_tokens_per_second(busy: bool, tokens: str, tmp_path: Path, record_row: Callable[..., Row]) -> None:
    places = {"CHEMSCALE_HOME": str(tmp_path / "home"), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}

    def rate(policy: str) -> float:
        done = subprocess.run(
            [*COMMAND, "--params", "3e4", "--tokens", tokens], capture_output=True, text=True, check=True,
            env=inherited | places | {"OMP_WAIT_POLICY": policy},
        )  # fmt: skip
        (found,) = re.findall(r"of training at ([\d,]+) tokens per s", done.stdout)
        return float(found.replace(",", ""))

    rate("passive")  # prepares the molecules
    with others(busy):
        sleeping, spinning = zip(*((rate("passive"), rate("active")) for _ in range(ROUNDS)), strict=True)
    what = "a core busy" if busy else "idle cores"
    record_row(f"ChemGPT 3e4, {os.cpu_count()} threads, {what}", "tokens/s", sleeping, "spinning threads", spinning)
