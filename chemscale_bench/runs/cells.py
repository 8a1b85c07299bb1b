"""The trainings of one scaling study in one storage: no training twice, and those of dead processes are taken over."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, NamedTuple

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from chemscale_bench.data.cache import run_folder
from chemscale_bench.runs.shared import SharedStudy, claim

OVER = (TrialState.COMPLETE, TrialState.PRUNED)


class Training(NamedTuple):
    """One run of a study, as it would be typed."""

    params: int
    """As wanted."""
    data: int
    """Largest budget in tokens, or training frames."""
    seed: int


class Ended(NamedTuple):
    """A training that is over."""

    training: Training
    run_id: str
    params: int
    """As built."""
    losses: dict[int, float]
    """By tokens, or by training frames; empty if it diverged."""
    seconds: float
    flops: float


class Tuned(NamedTuple):
    """What a search found, and how it goes with the size."""

    searched_at: int
    """Parameters as wanted."""
    chosen: dict[str, float]
    """Of the best trial: learning_rate, warmup, decay, weight_decay."""
    power: float
    """Of the size, in the learning rate, beside what the parametrization says of it."""
    flops: float
    """That were spent on it."""


class Cells(SharedStudy):
    """The cells of a study: trainings that are over, under way, or were left."""

    def start_clock(self, began: float) -> None:
        """Begin another stretch of work, after the time that earlier ones have used."""
        self.study.set_user_attr("session", {"began": began, "used": self.study.user_attrs.get("used", 0.0)})

    def seconds_used(self) -> float:
        """Wall-clock time that the study was worked on, earlier stretches included."""
        session = self.study.user_attrs["session"]
        used: float = session["used"] + time.time() - session["began"]
        return used

    def note_time(self) -> None:
        """Keep what was used, so that the study goes on with the rest of its hours."""
        self.study.set_user_attr("used", self.seconds_used())

    def claim(self, training: Training) -> FrozenTrial | None:
        """Take a training for this process; nothing if somebody else was faster.

        Trials are numbered in the order in which the storage took them, and each comes with what it is: of two
        processes that take the same training, both see that one of them was first.
        """
        trial_id = self.add(TrialState.RUNNING, {"training": list(training)} | claim())
        trials = self.trials(TrialState.RUNNING, *OVER)
        (mine,) = [trial for trial in trials if trial._trial_id == trial_id]
        if any(trial.number < mine.number and training_of(trial) == training for trial in trials):
            self.study.tell(mine.number, state=TrialState.FAIL)
            return None
        return mine

    def add(self, state: TrialState, about: dict[str, Any]) -> int:
        """Give the storage a trial, whole from its first moment on; gives its id."""
        now = datetime.now()
        over = now if state.is_finished() else None
        blank = FrozenTrial(
            number=-1, trial_id=-1, state=state, value=None, datetime_start=now, datetime_complete=over, params={},
            distributions={}, user_attrs=about, system_attrs={}, intermediate_values={},
        )  # fmt: skip
        return self.study._storage.create_new_trial(self.study._study_id, template_trial=blank)

    def first(self, what: str, value: Any) -> Any:
        """Of the values that processes propose for something the first, for good: the same for all of them.

        An attribute would be that of the last. A proposal is a failed trial that trains nothing, because storages
        number trials in one order for all.
        """
        while True:
            proposed = [trial for trial in self.trials(TrialState.FAIL) if what in trial.user_attrs]
            if proposed:
                return min(proposed, key=lambda trial: trial.number).user_attrs[what]
            self.add(TrialState.FAIL, {what: value})

    def logs_to(self, trial: FrozenTrial, run_id: str) -> None:
        """Note the run of a training: when it ends without a result, the training is left to others."""
        Trial(self.study, trial._trial_id).set_user_attr("mlflow_run", run_id)

    def complete(self, trial: FrozenTrial, result: Ended, diverged: bool) -> bool:
        """Record that a training is over; False if it was taken for dead before, and others may train it again."""
        record: dict[str, Any] = {name: getattr(result, name) for name in ("params", "seconds", "flops")}
        record |= {"losses": {str(data): loss for data, loss in result.losses.items()}}
        try:
            Trial(self.study, trial._trial_id).set_user_attr("result", record)
        except UpdateFinishedTrialError:
            return False
        last = result.losses[max(result.losses)] if result.losses else None
        self.study.tell(trial.number, last, TrialState.PRUNED if diverged else TrialState.COMPLETE)
        return True

    def give_up(self, trial: FrozenTrial) -> None:
        """Leave a training to whoever goes on with the study."""
        self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def results(self) -> list[Ended]:
        """The trainings that are over, in the order in which they were begun."""
        found = []
        for trial in self.trials(*OVER):
            record = trial.user_attrs["result"]
            losses = {int(data): loss for data, loss in record["losses"].items()}
            found.append(
                Ended(
                    training_of(trial), trial.user_attrs["mlflow_run"], record["params"], losses, record["seconds"],
                    record["flops"],
                )
            )  # fmt: skip
        return found

    def going(self) -> list[tuple[Training, float]]:
        """The trainings under way, and for how many seconds."""
        now = time.time()
        return [(training_of(trial), now - trial.user_attrs["begun"]) for trial in self.trials(TrialState.RUNNING)]

    def left(self, training: Training) -> str:
        """The run of a training that was interrupted and can go on here; nothing if there is none."""
        for trial in reversed(self.trials(TrialState.FAIL)):
            run_id: str = trial.user_attrs.get("mlflow_run", "")
            if run_id and training_of(trial) == training and (run_folder(run_id) / "state.pt").exists():
                return run_id
        return ""


def training_of(trial: FrozenTrial) -> Training:
    """What a trial trains."""
    return Training(*trial.user_attrs["training"])
