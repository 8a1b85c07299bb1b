"""Helpers to drive real studies by ask and tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy import event

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
