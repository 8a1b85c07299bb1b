"""The trials of one search in one Optuna storage, from which any number of processes take their work."""

from __future__ import annotations

import shutil

import optuna
from optuna.trial import Trial, TrialState

from chemscale_bench.data.cache import run_folder
from chemscale_bench.errors import UserError
from chemscale_bench.models.force_recipe import rate_factor
from chemscale_bench.models.registry import FORCE_FIELDS
from chemscale_bench.runs.shared import SharedStudy, claim
from chemscale_bench.settings.tune import TuneSettings
from chemscale_bench.tuning import study as studies
from chemscale_bench.tuning.named import PRUNERS

RATE = "learning_rate"
MUON_RATES = (2**-11, 2**-4)
"""Learning rates that are searched with Muon: a sixteenth of the least `auto` to twice the largest."""
STEPS = "area under the schedule"
NOT_ABOUT = {"trials", "storage", "study", "experiment", "device", "together", "workers", "engine", "engine_options"}
"""Parameters that may change from one command of a search to the next."""


def space_of(family: str, model: str, optimizer: str) -> list[studies.Range]:
    """What is searched for a model of a family of tasks: of rates, twice the largest of `auto` lies inside."""
    space = list(studies.SPACES[family])
    if family == "force_field":
        most = 2 * FORCE_FIELDS.family(model).PEAK_RATE[0] * rate_factor(model, 1, 1)
        space = [each._replace(high=max(each.high, most)) if each.name == RATE else each for each in space]
    elif optimizer == "muon":
        space = [each._replace(low=MUON_RATES[0], high=MUON_RATES[1]) if each.name == RATE else each for each in space]
    return space


def searched(settings: TuneSettings, family: str, batch: str) -> list[studies.Range]:
    """What a search is over.

    Args:
        settings: of the verb `tune`, which may name some and may give a batch.
        family: of the task.
        batch: parameter that holds it.

    Raises:
        UserError: if a name is none that can be searched, or is that of a batch that is given.
    """
    space = space_of(family, settings.model, settings.optimizer)
    if getattr(settings, batch) != "search":
        space = [each for each in space if each.name != batch]
    if settings.search == "auto":
        return space
    there = [each.name for each in space]
    names = in_order(settings.search)
    for name in names:
        if name not in there or names.count(name) > 1:
            raise UserError(
                f"search must name settings that can be searched, each once, got {settings.search!r}; "
                f"name some of {','.join(there)}, or leave it out for all"
            )
    return [each for each in space if each.name in names]


def in_order(search: str) -> list[str]:
    """The names in `search` in one order, so that a search has one name however it is typed."""
    order = [each.name for space in studies.SPACES.values() for each in space]
    return sorted((name.strip() for name in search.split(",")), key=lambda name: [*order, name].index(name))


class Queue(SharedStudy):
    """The search that some settings name, made or joined.

    Args:
        settings: of the verb `tune`.
        task: name of the task.
        budget: tokens or frames that an unpruned trial sees.

    Raises:
        UserError: if a study of that name is about something else.
    """

    def __init__(self, settings: TuneSettings, task: str, budget: int) -> None:
        self.settings = settings
        about = settings.model_dump(exclude=NOT_ABOUT) | {"search": ",".join(in_order(settings.search))}
        if about["train_size"] == "auto":
            about["train_size"] = 950  # what it was before there was `auto`: searches from then go on
        super().__init__(
            about, task, settings.study, settings.storage,
            sampler=self.sampler(0), pruner=PRUNERS[settings.pruner](studies.REPORTS, settings.seed),
        )  # fmt: skip
        if "units_per_trial" not in self.study.user_attrs:
            self.study.set_user_attr("steps", STEPS)  # first: who joins between the two finds a study of no version yet
            self.study.set_user_attr("units_per_trial", budget)
        elif self.study.user_attrs.get("steps") != STEPS:
            raise UserError(
                f"study {self.name} must have trials that report by the {STEPS}, it was made by an earlier version "
                "whose trials report by position; choose another study="
            )

    def take(self) -> Trial | None:
        """Another trial, if the study lacks one."""
        if self.count(TrialState.RUNNING) >= self.settings.trials:
            return None
        self.study.sampler = self.sampler(len(self.trials()))
        trial = self.study.ask()
        for name, value in claim().items():
            trial.set_user_attr(name, value)
        self.study.sampler = self.sampler(trial.number)
        return trial

    def sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of a trial."""
        return studies.make_sampler(self.settings.sampler, self.settings.seed, number)

    def count(self, *also: TrialState) -> int:
        """Trials that are done, or in one of the other states."""
        return len(self.trials(*studies.DONE, *also))

    def put_back_dead_trials(self) -> bool:
        """Fail the running trials that nobody is at any more, and put their hyperparameters first in the queue.

        They are tried from their start: what their trainings have kept here goes.

        Returns:
            Whether there were any.
        """
        dead = self.fail_dead_trials()
        for trial in dead:
            self.study.enqueue_trial(trial.params)
            if run_id := trial.user_attrs.get("mlflow_run"):
                shutil.rmtree(run_folder(run_id), ignore_errors=True)
        return bool(dead)
