"""What several processes work on together: a study in one Optuna storage, with one parent run in the tracking store."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from functools import partial
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from chemscale_bench.data.cache import home
from chemscale_bench.data.opening import output_path
from chemscale_bench.errors import UserError
from chemscale_bench.tracking.lifetime import is_gone, process_tags
from chemscale_bench.tracking.store import open_store, status_of
from chemscale_bench.tuning import study as studies

UNTOLD = {"optimizer": "adamw", "column": "", "smaller_budgets": False, "search": "auto"}
"""Parameters that studies from before do not know, and what they had: they go on."""
OF_FORCES = ("optimizer", "auto")
"""A parameter that means nothing for force fields, which have what it is left at."""
SILENT = 1800.0
"""Seconds without a word after which a trial is taken for dead: data may be prepared and models compiled first."""
BEAT_SECONDS = 60.0


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
        about = {key: value for key, value in about.items() if (key, value) not in (*UNTOLD.items(), OF_FORCES)}
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
        name = name or f"{task}-{digest}"
        if storage and "://" not in storage:
            storage = str(output_path(storage))
        self.where = studies.without_secrets(storage) or str(home() / "studies" / f"{name}.log")
        logged = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        opened = studies.open_storage(storage, home() / "studies" / f"{name}.log")
        create = partial(
            optuna.create_study, storage=opened, study_name=name, load_if_exists=True, direction="minimize", **parts
        )
        study = create()
        if study.user_attrs.get("about", about) != about and was_never_begun(study):
            optuna.delete_study(study_name=name, storage=opened)  # its command was refused, and is typed anew
            study = create()
        optuna.logging.set_verbosity(logged)  # it is the user's
        if study.direction != optuna.study.StudyDirection.MINIMIZE:
            raise UserError(f"study {name} must be one that minimises, it maximises; choose another study=")
        known = study.user_attrs.get("about")
        if known is None:
            study.set_user_attr("about", about)
            study.set_user_attr("first", process_tags())
        elif known != about:
            different = [
                f"{key} ({about.get(key, UNTOLD.get(key))}, it was {known.get(key, UNTOLD.get(key))})"
                for key in sorted({*about, *known})
                if known.get(key) != about.get(key)
            ]
            raise UserError(
                f"study {name} must be joined with the parameters it was started with, got another "
                f"{', '.join(different)}; use them, or another name"
            )
        self.study = study
        self.beats: dict[int, float] = {}

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

    def beat(self, trial: FrozenTrial | Trial) -> None:
        """Say once a minute that a trial goes on: on other machines nobody sees its process."""
        if time.monotonic() < self.beats.get(trial.number, 0.0):
            return
        self.beats[trial.number] = time.monotonic() + BEAT_SECONDS
        with suppress(UpdateFinishedTrialError):  # taken for dead: its end will say so
            Trial(self.study, trial._trial_id).set_user_attr("seen", time.time())

    def fail_dead_trials(self) -> list[FrozenTrial]:
        """Fail the running trials whose process is gone, or of which nothing was heard for long.

        Returns:
            Those that this process failed: of several that look at once, one has each.
        """
        dead = []
        for trial in filter(is_dead, self.trials(TrialState.RUNNING)):
            with suppress(UpdateFinishedTrialError):
                self.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                dead.append(trial)
        return dead


def was_never_begun(study: optuna.Study) -> bool:
    """Whether a study has no trial and no run, and will have none: who made it is gone, or is this process."""
    if study.trials or "mlflow_run" in study.user_attrs:
        return False
    first = study.user_attrs.get("first", {})
    return first == process_tags() or is_gone(first)


def claim() -> dict[str, Any]:
    """What a trial under way says of who is at it, and since when."""
    return {"mlflow_run": "", "begun": time.time(), "process": process_tags()}


def is_dead(trial: FrozenTrial) -> bool:
    """Whether nobody is at a running trial any more, as far as can be seen from here."""
    about = trial.user_attrs
    if is_gone(about.get("process", {})):
        return True
    if about.get("mlflow_run") and open_store().get_run(about["mlflow_run"]).info.status != "RUNNING":
        return True
    assert trial.datetime_start is not None
    begun = about.get("begun", trial.datetime_start.timestamp())  # killed before it could say
    return bool(time.time() - about.get("seen", begun) > SILENT)
