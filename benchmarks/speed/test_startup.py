"""How long a user waits before anything happens: `--help` (goal: under 0.7 s) beside `mlflow --help`."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("module", ["chemscale_bench", "mlflow"])
def test_help(module: str, benchmark: BenchmarkFixture) -> None:
    benchmark(subprocess.run, [sys.executable, "-m", module, "--help"], stdout=subprocess.DEVNULL, check=True)
