"""The trials of one study in one Optuna storage, from which any number of processes take their work."""

from __future__ import annotations

import hashlib
import json

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from chemscale_bench.data.cache import home
from chemscale_bench.errors import UserError
from chemscale_bench.settings.tune import TuneSettings
from chemscale_bench.tracking.store import open_store, status_of
from chemscale_bench.tuning import study as studies
from chemscale_bench.tuning.named import PRUNERS

STEPS = "area under the schedule"


class Queue:
    """The study that some settings name, made or joined.

    Args:
        settings: of the verb `tune`.
        task: name of the task.
        budget: tokens or frames that an unpruned trial sees.

    Raises:
        UserError: if a study of that name is about something else.
    """

    def __init__(self, settings: TuneSettings, task: str, budget: int) -> None:
        self.settings = settings
        about = settings.model_dump(exclude={"trials", "storage", "study", "experiment", "device", "together"})
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
        name = settings.study or f"{task}-{digest}"
        storage = studies.open_storage(settings.storage, home() / "studies" / f"{name}.log")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=storage, study_name=name, load_if_exists=True, direction="minimize",
            sampler=studies.make_sampler(settings.sampler, settings.seed, 0),
            pruner=PRUNERS[settings.pruner](studies.REPORTS, settings.seed),
        )  # fmt: skip
        if study.direction != optuna.study.StudyDirection.MINIMIZE:
            raise UserError(f"study {name} must be one that minimises, it maximises; choose another study=")
        known = study.user_attrs.get("about")
        if known is None:
            study.set_user_attr("about", about)
            study.set_user_attr("units_per_trial", budget)
            study.set_user_attr("steps", STEPS)
        elif study.user_attrs.get("steps") != STEPS:
            raise UserError(
                f"study {name} must have trials that report by the {STEPS}, it was made by an earlier version whose "
                "trials report by position; choose another study="
            )
        elif known != about:
            different = sorted(key for key in about if known.get(key) != about[key])
            raise UserError(
                f"study {name} must be joined with the parameters it was started with, got another "
                f"{', '.join(different)}; use them, or another name"
            )
        self.study = study

    @property
    def name(self) -> str:
        """Of the study."""
        return self.study.study_name

    @property
    def parent(self) -> str:
        """Id of the study's MLflow run; empty if there is none yet.

        Raises:
            UserError: if it is not in this tracking store, where the curves of its trials would be.
        """
        parent: str = self.study.user_attrs.get("mlflow_run", "")
        if parent and not status_of(parent):
            where = self.settings.storage.rpartition("@")[2] or home() / "studies" / f"{self.name}.log"
            raise UserError(
                f"study {self.name} in {where} must go on in the tracking store it was started with, its run {parent} "
                "is not in this one; set MLFLOW_TRACKING_URI (or go to the folder of that mlflow.db), or start anew "
                "with study=NAME"
            )
        return parent

    @parent.setter
    def parent(self, run_id: str) -> None:
        self.study.set_user_attr("mlflow_run", run_id)

    def trials(self) -> list[FrozenTrial]:
        """All trials of all processes so far."""
        return self.study.get_trials(deepcopy=False)

    def take(self) -> Trial | None:
        """Another trial, if the study lacks one."""
        if self.count(TrialState.RUNNING) >= self.settings.trials:
            return None
        self.study.sampler = self.sampler(len(self.trials()))
        trial = self.study.ask()
        self.study.sampler = self.sampler(trial.number)
        return trial

    def sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of a trial."""
        return studies.make_sampler(self.settings.sampler, self.settings.seed, number)

    def count(self, *also: TrialState) -> int:
        """Trials that are done, or in one of the other states."""
        states = (*studies.DONE, *also)
        return len(self.study.get_trials(deepcopy=False, states=states))

    def nobody_else_works(self) -> bool:
        """Whether the study has no running trial left, so that this process ends the parent run."""
        return not self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def forget_dead_trials(self) -> None:
        """Fail the running trials whose process is gone, and put their hyperparameters first in the queue."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            run_id = trial.user_attrs.get("mlflow_run")
            if run_id and open_store().get_run(run_id).info.status != "RUNNING":
                self.study.tell(trial.number, state=TrialState.FAIL)
                self.study.enqueue_trial(trial.params)
