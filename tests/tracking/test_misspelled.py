"""A misspelled call of `mlflow run` ends in one line with the nearest right name, and leaves no run behind."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from chemscale_bench.tracking.misspelled import complaint

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "ending"),
    [
        ("-e chemgpt -P params=1e8 -P batch-tokens=100", ""),
        ("", ""),
        ("-P tokens=3e5", ""),
        ("--entry-point=study --param-list=hours=2", ""),
        ("-e chemgtp", "got 'chemgtp'; did you mean chemgpt?"),
        ("--entry-point=forcefeild", "got 'forcefeild'; did you mean forcefield?"),
        ("-e demo", "got 'demo'; did you mean main, which is the demo?"),
        ("-e xyz", "tasks, speed, got 'xyz'"),
        (
            "-e chemgpt -P parms=1e8",
            "a parameter of chemgpt, got 'parms'; did you mean params? `chemscale chemgpt --help` lists them",
        ),
        ("--param-list=seed=1", "a parameter of main, got 'seed'; `chemscale demo --help` lists them"),
    ],
)
def test_what_is_wrong_with_a_call(arguments: str, ending: str) -> None:
    found = complaint(["run", str(ROOT), *arguments.split()])
    assert found.endswith(ending)
    assert bool(found) is bool(ending)


def test_what_an_address_holds_is_not_known() -> None:
    assert not complaint(["run", "https://example.org/somebody/chemscale-bench.git", "-e", "chemgtp"])


def test_mlflow_run_says_it_in_one_line_and_makes_no_run(tracking_uri: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", "chemgtp"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": tracking_uri}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: the entry point must be one of main, ")
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    connection.close()
