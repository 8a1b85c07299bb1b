"""Helpers to drive real studies by ask and tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial
from sqlalchemy import event

from chemscale_bench.tuning import TrainingPerformancePruner

BUDGET = 20
Reports = dict[int, float] | Sequence[float]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No line per trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(params=["memory", "sqlite", "journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], BaseStorage]]:
    """Opens a storage, and opens it anew as another process would."""
    opened: list[BaseStorage] = []

    def make() -> BaseStorage:
        if request.param == "memory":
            return opened[0] if opened else opened.append(InMemoryStorage()) or opened[0]
        if request.param == "sqlite":
            made: BaseStorage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
            event.listen(made.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))  # fast
            made.engine.dispose()
        else:
            made = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
        opened.append(made)
        return made

    yield make
    for made in opened:
        if isinstance(made, RDBStorage):
            made.engine.dispose()


def run(study: optuna.Study, reports: Reports, value: float | None = None) -> int | None:
    """Play a trial: reports by step, or in a row from step 1. The step at which it was stopped, or None."""
    trial = study.ask()
    by_step = reports if isinstance(reports, dict) else dict(enumerate(reports, 1))
    for step, report in by_step.items():
        trial.report(report, step)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return step
    last = list(by_step.values())[-1] if value is None else value
    if last != last:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, last)
    return None


def falling(final: float, steps: int = BUDGET) -> list[float]:
    """A curve that comes down to `final`."""
    return [final + 1 / step - 1 / steps for step in range(1, steps + 1)]


def study_of(*finals: float, direction: str = "minimize", **arguments: Any) -> optuna.Study:
    """A study in which trials of these final values have completed, all with curves of the same shape."""
    pruner = TrainingPerformancePruner(**({"budget": BUDGET} | arguments))
    study = optuna.create_study(direction=direction, pruner=pruner)
    sign = 1 if direction == "minimize" else -1
    for final in finals:
        curve = {step: sign * value for step, value in enumerate(falling(final), 1)}
        study.add_trial(create_trial(value=sign * final, intermediate_values=curve))
    return study
