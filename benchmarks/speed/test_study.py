"""What a scaling study costs beside its trainings: to plan, for every cell, and what is gained by small cells together.

Run: `python -m pytest benchmarks/speed/test_study.py -s`. Everything runs in this process, after a first training that
prepares the molecules; the alternative is what a user would do without `study`: the same trainings one after another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import chemscale_bench as cs
from chemscale_bench import tasks
from chemscale_bench.runs.pace import Pace
from chemscale_bench.runs.study_plan import StudyPlan
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.speed.measurements import Row

SIZE, TOKENS, ROUNDS = "1e4", "3e4", 3
CELL = {"params": SIZE, "tokens": TOKENS, "model": "chemgpt", "device": "cpu"}


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store and a cache in which the molecules are prepared and what loads at first is loaded."""
    monkeypatch.setenv("CHEMSCALE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    cs.study("embedded-lm", **CELL, seeds=2, study="first")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_plan(record_row: Callable[..., Row]) -> None:
    """Goal: 1,000 typed cells in 5 s."""
    given = {"params": "1e4,3e4,1e5,3e5,1e6,3e6,1e7,3e7,1e8,3e8", "tokens": "1e7", "seeds": "100"}
    plan = StudyPlan(StudySettings.read({"task": "moses-lm", **given}, "study"), tasks.load("moses-lm"), prints=False)
    plan.paces = {size: Pace(size, 1.0, 1e-9 * size, 6.0 * size) for size in plan.sizes}  # of no machine

    def look() -> None:
        planned = plan.wanted([], [], 0.0)
        assert len(planned) == 1000
        plan.table(planned), plan.expectation(planned, [])

    record_row("planning 1,000 cells", "s", [seconds(look) for _ in range(ROUNDS)])


@pytest.mark.slow
@pytest.mark.usefixtures("empty")
def test_overhead_of_a_cell(record_row: Callable[..., Row]) -> None:
    """Goal: under 2 s a cell; the report of a study, about its fit, comes once."""
    cells, pairs = 8, []
    for number in range(ROUNDS):
        given = CELL | {"seed": 100 * number, "seeds": cells, "together": 1, "study": f"own-{number}"}
        ours = seconds(lambda given=given: cs.study("embedded-lm", **given))
        alone = sum(
            seconds(lambda seed=seed: cs.train(task="embedded-lm", **CELL, seed=seed))
            for seed in range(100 * number, 100 * number + cells)
        )
        pairs.append((ours / cells, alone / cells))
    ours, alone = zip(*pairs, strict=True)
    record_row(f"a cell of a study of {cells}, with its share of the report", "s", ours, "trained by `train`", alone)


@pytest.mark.slow
@pytest.mark.usefixtures("empty")
def test_small_cells_together(record_row: Callable[..., Row]) -> None:
    """Goal: 1.5 times on two cores."""
    pairs = []
    for number in range(ROUNDS):
        given = CELL | {"seed": 100 * number, "seeds": 16}
        pairs.append(
            tuple(
                seconds(lambda given=given, many=many: cs.study("embedded-lm", **given, **many))
                for many in ({"study": f"together-{number}"}, {"study": f"alone-{number}", "together": 1})
            )
        )
    ours, theirs = zip(*pairs, strict=True)
    record_row(f"16 cells of {SIZE} parameters, {TOKENS} tokens", "s", ours, "one by one", theirs)
