"""A study of one model's hyperparameters, tracked as a parent run with one child per trial."""

from __future__ import annotations

import math
import os
import shutil
import socket
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any, NoReturn

import numpy as np
from filelock import FileLock
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState
from tqdm import tqdm

from chemscale_bench import tasks
from chemscale_bench.data.cache import home, run_folder
from chemscale_bench.errors import UserError
from chemscale_bench.models.force_recipe import Recipe, recipe_of, warmup_share
from chemscale_bench.progress import progress_bar
from chemscale_bench.runs.engines.start import LOOKS, STORAGE, WORKER, complain_of, engine_of, lead
from chemscale_bench.runs.kinds import FRAMES, KINDS, about, model_of, refuse_other_family, with_optimizer
from chemscale_bench.runs.queue import Queue, searched
from chemscale_bench.runs.sweep_report import describe, numbers, summarize
from chemscale_bench.runs.tracked import TrackedRun
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.settings.tune import TuneSettings
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.charts import compare_children
from chemscale_bench.tracking.ending import Interrupted, Pruned, ended_properly
from chemscale_bench.tracking.families import below
from chemscale_bench.tracking.lifetime import Stop, mark_process, reap_dead_runs
from chemscale_bench.tracking.store import experiment_id, open_store
from chemscale_bench.training.devices import start_fabric
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.learner import Due
from chemscale_bench.training.loop import Diverged, drive
from chemscale_bench.training.together import train_together
from chemscale_bench.tuning import study as studies
from chemscale_bench.tuning.judge import Judge

MOLECULES_OF_TRIALS = ("tokens", "optimizer", "column", "smaller_budgets", "batch_tokens")
FRAMES_PER_STEP = Recipe().batch_frames  # what `steps` counts, whatever the batch of a trial


class Sweep:
    """One process's share of a study.

    Args:
        settings: of the verb `tune`.
        prints: whether it prints its trials and what it finds; its progress is shown anyway.
        describes_data: whether it also says how the user's data are read, which a study has said of all its trainings.
    """

    def __init__(self, settings: TuneSettings, prints: bool = True, describes_data: bool = True) -> None:
        self.prints, self.describes_data = prints, prints and describes_data
        self.task = tasks.load(settings.task)
        self.family = self.task.family
        self.kind = KINDS[self.family]
        self.is_worker = WORKER in os.environ
        storage = os.environ[STORAGE] if self.is_worker else settings.storage
        own = {"model": model_of(self.task, settings.model), "storage": storage}
        self.settings = with_optimizer(settings, self.task).model_copy(update=own)
        foreign = {"language_model": (*FRAMES, "batch_frames"), "force_field": MOLECULES_OF_TRIALS}[self.family]
        refuse_other_family(self.settings, self.task, foreign)
        self.base = self.base_settings()
        if not self.is_worker:
            engine_of(self.settings)  # before anything is made
        self.budgets = self.budgets_of_a_trial()
        self.budget = self.budgets[-1]
        self.queue = Queue(self.settings, self.task.name, self.budget)
        self.client = open_store()

    def base_settings(self) -> TrainingSettings:
        """The settings that all trials share, checked before anything is made."""
        chosen = self.settings
        names = ("task", "model", "seed", "device", "data", "experiment")
        shared: dict[str, Any] = {name: getattr(chosen, name) for name in names}
        if chosen.params != "auto":
            shared["params"] = chosen.params
        batch = self.kind.BATCH
        self.space = searched(chosen, self.family, batch)
        if getattr(chosen, batch) != "search":
            shared[batch] = getattr(chosen, batch)
        elif chosen.together > 1 and batch in {each.name for each in self.space}:
            default = getattr(Recipe(), batch, self.kind.SETTINGS.model_fields[batch].default)
            raise UserError(
                f"together={chosen.together} needs trials with batches of one size, got {batch}=search; "
                f"add {batch}={default}, or another number"
            )
        if self.family == "language_model":
            own: dict[str, Any] = {name: getattr(chosen, name) for name in MOLECULES_OF_TRIALS if name != batch}
        else:
            own = {name: getattr(chosen, name) for name in FRAMES}
        base = self.kind.SETTINGS(**shared, **own)
        self.kind.check(base)
        if chosen.together > 1:
            self.kind.MODELS.check_stacked("together", chosen.together, chosen.model)
        return base

    def budgets_of_a_trial(self) -> list[int]:
        """Tokens or frames at which an unpruned trial is measured, the last ones where it ends."""
        if isinstance(self.task, tasks.LanguageTask):
            return self.task.budgets_up_to(self.settings.tokens)[0 if self.settings.smaller_budgets else -1 :]
        assert isinstance(self.task, tasks.ForceTask)
        return [self.task.steps(self.settings.steps) * FRAMES_PER_STEP]

    def run(self) -> int:
        """Run trials until the study has enough of them or the user stops it; gives the exit code."""
        lock = home() / "studies" / f"{self.queue.name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):  # two processes that start at once must not both make the parent
            known = self.queue.parent
            self.parent = adopt_run(self.settings.experiment, resume=known, shared=True)
            if not known:
                self.queue.parent = self.parent
                self.describe()
        if self.prints:
            what = f"{self.settings.trials} trials of {self.settings.model} on {about(self.task, self.settings.data)}"
            each = f"{self.budget:,} {self.kind.UNIT} each unless stopped"
            print(f"{what}, {each}; their numbers are the {self.kind.VALUE}, lower is better", file=sys.stderr)
        with Stop() as stop, ended_properly(self.parent, self.queue.nobody_else_works):
            self.queue.put_back_dead_trials()  # first: it takes away the states that tell how dead runs could go on
            reap_dead_runs([experiment_id(self.settings.experiment)])
            shown: dict[str, Any] = {"unit": "trial", "desc": "tuning", "initial": self.queue.count()}
            with progress_bar(total=self.settings.trials, **shown) as bar:
                try:
                    if not self.is_worker and (self.settings.workers > 1 or self.settings.engine != "local"):
                        self.lead(stop, bar)
                    else:
                        self.work(stop, bar)
                except KeyboardInterrupt:  # where nothing polls, such as in the preparation of data
                    self.say_how_to_go_on(stop)
                    raise
            self.found = summarize(self.client, self.parent, self.queue, self.kind, self.prints)
            if stop.requested:
                self.say_how_to_go_on(stop)
                raise KeyboardInterrupt
        return stop.exit_code

    def say_how_to_go_on(self, stop: Stop) -> None:
        """After Ctrl-C and the like."""
        if self.prints:
            print(f"{stop.requested}; the same command goes on", file=sys.stderr)

    def take_over(self) -> None:
        """Put back what processes tried that are gone."""
        if self.queue.put_back_dead_trials():
            reap_dead_runs([experiment_id(self.settings.experiment)])

    def work(self, stop: Stop, bar: tqdm[NoReturn]) -> None:
        """Run trials until there are enough."""
        fabric = start_fabric(self.base)

        def start() -> Generator[Due, None, None] | None:
            bar.n = self.queue.count()
            bar.refresh()
            self.take_over()
            trial = None if stop.requested else self.queue.take()
            return self.run_trial(trial, fabric, stop) if trial else None

        waits = False
        while True:
            if self.settings.together > 1:
                train_together(start, self.settings.together)
            else:
                while trial := start():
                    drive(trial)
            if stop.requested or self.is_worker or self.queue.count() >= self.settings.trials:
                return
            if self.prints and not waits:
                print("waiting for the last trials, which other processes are at", file=sys.stderr)
            waits = True
            time.sleep(LOOKS)  # should they die, there is work again

    def lead(self, stop: Stop, bar: tqdm[NoReturn]) -> None:
        """Have workers run the trials."""

        def look() -> None:
            bar.n = self.queue.count()
            bar.refresh()

        settings = self.settings.model_copy(update={"study": self.queue.name})
        failed = lead("tune", settings, home() / "studies" / self.queue.name, stop, look)
        self.take_over()
        if self.queue.count() < self.settings.trials:
            if failed:
                raise complain_of(failed, self.settings.workers)
            self.work(stop, bar)  # what others left, or waits for them

    def settings_of(self, chosen: Mapping[str, Any]) -> TrainingSettings:
        """What a trial trains with."""
        settings = self.base.model_copy(update=dict(chosen))
        if isinstance(settings, ForceFieldSettings):
            settings = settings.model_copy(
                update={"steps": max(2, round(self.budget / recipe_of(settings).batch_frames))}
            )
        return settings

    def best(self) -> TrainingSettings | None:
        """The settings of the best trial; None as long as none is complete."""
        trials = [trial for trial in self.queue.trials() if trial.state == TrialState.COMPLETE]
        values = [math.inf if trial.value is None else trial.value for trial in trials]
        return self.settings_of(trials[int(np.argmin(values))].params) if trials else None

    def warmup_of(self, settings: TrainingSettings) -> float:
        """The share of a trial that is its warm-up."""
        if isinstance(settings, ForceFieldSettings):
            return warmup_share(settings, int(settings.steps))
        assert isinstance(self.task, tasks.LanguageTask)
        return settings.warmup * self.task.budgets_up_to(self.settings.tokens)[0] / self.budget

    def run_trial(self, trial: Trial, fabric: Fabric, stop: Stop) -> Generator[Due, None, None]:
        """Train one trial as a child run, step by step."""
        chosen = studies.suggest(trial, self.space)
        settings = self.settings_of(chosen)
        warmup = self.warmup_of(settings)
        tags = below(self.parent) | {"trial": str(trial.number), "schedule.warmup": repr(warmup)}
        experiment = experiment_id(self.settings.experiment)
        name = f"trial {trial.number}, {self.settings.model}, {about(self.task, self.settings.data)}"
        child = self.client.create_run(experiment, tags=tags, run_name=name).info.run_id
        mark_process(self.client, child)
        trial.set_user_attr("mlflow_run", child)
        trial.set_user_attr("schedule", {"warmup": warmup, "decay": settings.decay})
        run: TrackedRun | None = None
        state, value, text = TrialState.FAIL, None, "failed"
        try:
            with ended_properly(child):
                try:
                    judge = Judge(trial, self.budgets, warmup, settings.decay)

                    def watch(position: int, values: dict[str, float]) -> str | None:
                        self.queue.beat(trial)
                        return judge(position, values)

                    run = self.kind(settings, fabric, child, stop, None, judge=watch)
                    for line in run.remarks() if self.describes_data and not trial.number else ():
                        tqdm.write(line, file=sys.stderr)
                    yield from run.steps_due()
                    state, value = TrialState.COMPLETE, run.final_value
                    text = f"{value:.4f}"
                except Diverged:
                    state, text = TrialState.PRUNED, "diverged"
                    trial.set_user_attr("diverged", True)
                    raise
                except Pruned as verdict:
                    state, text = TrialState.PRUNED, str(verdict)
                    raise
                except Interrupted:
                    self.queue.study.enqueue_trial(trial.params)
                    raise
                except UpdateFinishedTrialError:
                    raise Pruned("it was silent too long, and is tried again by others") from None
                finally:
                    # Before the run ends: a trial without a result whose run has ended is taken for dead.
                    with suppress(UpdateFinishedTrialError):
                        if run is not None:
                            trial.set_user_attr("flops", run.flops_per_unit * run.log["amount"])
                            trial.set_user_attr("flops_in_full", run.flops_per_unit * run.units)
                        self.queue.study.tell(trial, value, state, skip_if_finished=True)
        except Diverged:
            pass
        finally:
            if state != TrialState.COMPLETE:
                shutil.rmtree(run_folder(child), ignore_errors=True)
        if self.prints:
            tqdm.write(f"trial {trial.number}: {text}  {describe(chosen)}", file=sys.stderr)
        self.log_progress()

    def describe(self) -> None:
        """Log what is studied, and where."""
        storage = self.settings.storage.rpartition("@")[2]  # without user and password
        params = self.settings.model_dump(exclude={"storage"}) | {
            "task_name": self.task.name, "study_name": self.queue.name, "units_per_trial": self.budget,
        }  # fmt: skip
        for name, value in params.items():
            if name not in self.client.get_run(self.parent).data.params:
                self.client.log_param(self.parent, name, value)
        self.client.set_tag(self.parent, "mlflow.runName", f"tune {self.settings.model}, {self.queue.name}")
        # From the first look on: what mattered most is known at the end only.
        names, metric = [each.name for each in self.space], self.kind.METRIC
        compare_children(self.client, self.parent, metric, names, [metric])
        self.client.set_tag(self.parent, "storage", storage or f"journal file on {socket.gethostname()}")

    def log_progress(self) -> None:
        """Put the study's numbers on the parent's curves, over the trials that are over.

        MLflow shows the value of the highest step: of processes that log at once, that of the one that knows most.
        """
        trials = self.queue.trials()
        over = sum(trial.state.is_finished() for trial in trials)
        for name, value in numbers(trials).items():
            self.client.log_metric(self.parent, name, value, step=over)
