"""What several processes work on together: a study in one Optuna storage, with one parent run in the tracking store."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from chemscale_bench.data.cache import home
from chemscale_bench.data.opening import output_path
from chemscale_bench.errors import UserError
from chemscale_bench.tracking.lifetime import is_gone
from chemscale_bench.tracking.store import open_store, status_of
from chemscale_bench.tuning import study as studies

NEWER = {"optimizer": "adamw", "column": ""}
"""Parameters that studies from before do not know, and what they had: they go on."""


class SharedStudy:
    """The study that some parameters name, made or joined.

    Args:
        about: the parameters that all its processes must agree in.
        task: name of the task, from which a study without a name gets one.
        name: that the user gave, or nothing.
        storage: where it is, as the user typed it.
        parts: sampler and pruner, where Optuna proposes or judges its trials.

    Raises:
        UserError: if a study of that name is about something else.
    """

    def __init__(self, about: dict[str, Any], task: str, name: str, storage: str, **parts: Any) -> None:
        about = {key: value for key, value in about.items() if (key, value) not in NEWER.items()}
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
        name = name or f"{task}-{digest}"
        if storage and "://" not in storage:
            storage = str(output_path(storage))
        self.where = studies.without_secrets(storage) or str(home() / "studies" / f"{name}.log")
        logged = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=studies.open_storage(storage, home() / "studies" / f"{name}.log"), study_name=name,
            load_if_exists=True, direction="minimize", **parts,
        )  # fmt: skip
        optuna.logging.set_verbosity(logged)  # it is the user's
        if study.direction != optuna.study.StudyDirection.MINIMIZE:
            raise UserError(f"study {name} must be one that minimises, it maximises; choose another study=")
        known = study.user_attrs.get("about")
        if known is None:
            study.set_user_attr("about", about)
        elif known != about:
            different = sorted(key for key in {*about, *known} if known.get(key) != about.get(key))
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
            raise UserError(
                f"study {self.name} in {self.where} must go on in the tracking store it was started with, its run "
                f"{parent} is not in this one; set MLFLOW_TRACKING_URI (or go to the folder of that mlflow.db), or "
                "start anew with study=NAME"
            )
        return parent

    @parent.setter
    def parent(self, run_id: str) -> None:
        self.study.set_user_attr("mlflow_run", run_id)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials of all processes so far, of some states or all."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def nobody_else_works(self) -> bool:
        """Whether the study has no running trial left, so that this process ends the parent run."""
        return not self.trials(TrialState.RUNNING)

    def fail_dead_trials(self) -> list[FrozenTrial]:
        """Fail the running trials whose process is gone; gives them."""
        dead = []
        for trial in self.trials(TrialState.RUNNING):
            run_id = trial.user_attrs.get("mlflow_run")
            if run_id:
                gone = open_store().get_run(run_id).info.status != "RUNNING"
            else:  # killed before it had a run
                gone = is_gone(trial.user_attrs.get("process", {}))
            if gone:
                self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)  # others look, too
                dead.append(trial)
        return dead
