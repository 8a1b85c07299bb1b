"""A scaling study: what is to be trained, by whom, until when; tracked as a parent run with a child per training."""

from __future__ import annotations

import json
import os
import sys
import time
from functools import partial
from typing import Any

import torch

from chemscale_bench import tasks
from chemscale_bench.data.cache import home
from chemscale_bench.errors import UserError
from chemscale_bench.progress import progress_bar
from chemscale_bench.runs import study_report
from chemscale_bench.runs.cells import Cells, Ended, Training, Tuned
from chemscale_bench.runs.engines.local import threads_of
from chemscale_bench.runs.engines.start import LOOKS, STORAGE, WORKER, complain_of, engine_of, lead
from chemscale_bench.runs.gpu_hours import by_the_clock
from chemscale_bench.runs.group import Group, most_together, next_group
from chemscale_bench.runs.kinds import FRAMES, MOLECULES, refuse_other_family, with_optimizer
from chemscale_bench.runs.pace import Pace
from chemscale_bench.runs.rates import Where, tune, where_to_tune
from chemscale_bench.runs.sizes import measure_sizes
from chemscale_bench.runs.study_plan import Planned, StudyPlan, duration
from chemscale_bench.runs.study_result import StudyResult
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.tracking.adoption import adopt_run, give_up
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.lifetime import Stop, reap_dead_runs
from chemscale_bench.tracking.store import experiment_id, open_store
from chemscale_bench.training.devices import start_fabric

REPORT = 20.0
"""Seconds that are kept for the fit and its figures."""
SEARCHED = "searched at"  # attribute of a study: where its hyperparameters were searched
NOTE_SECONDS = 60.0
"""Seconds between two notes of the time used."""
NOT_ABOUT = {"hours", "gpu_hours", "flops", "workers", "together", "storage", "study", "dry_run", "experiment",
             "device", "level", "engine", "engine_options"}  # fmt: skip
"""Parameters that may change from one command of a study to the next."""


class Study:
    """One process's share of a scaling study.

    Args:
        settings: of the verb `study`.
        prints: whether it prints what it is about to train and what it finds; its progress is shown anyway.
        began: the time from which its hours count; now, unless given.

    Raises:
        UserError: if they don't fit one another.
    """

    def __init__(self, settings: StudySettings, prints: bool = True, began: float | None = None) -> None:
        self.began = time.time() if began is None else began
        settings = by_the_clock(settings, prints)
        self.settings, self.task, self.prints = settings, tasks.load(settings.task), prints
        refuse_other_family(settings, self.task, FRAMES if self.task.family == "language_model" else MOLECULES)
        if settings.tune and settings.learning_rate != "auto":
            raise UserError(
                f"learning_rate must be left out where it is searched, got learning_rate={settings.learning_rate} and "
                f"tune={settings.tune}; leave one out"
            )
        if settings.tune and settings.vocabulary != "dataset":
            raise UserError(
                f"vocabulary must be dataset where hyperparameters are searched, got {settings.vocabulary} and "
                f"tune={settings.tune}; leave one out"
            )
        if settings.params == "auto" and not (settings.hours or settings.flops):
            raise UserError("a study needs sizes or a budget, got neither; give params=1e4,3e4,1e5, or hours=2")
        self.settings = settings = with_optimizer(settings, self.task)
        self.plan = StudyPlan(settings, self.task, prints)
        self.kind = self.plan.kind
        self.kind.check(self.plan.settings_of(Training(self.plan.sizes[0], self.plan.data[0], settings.seed)))
        self.is_worker = WORKER in os.environ
        if not (self.is_worker or settings.dry_run):
            engine_of(settings)  # before anything is made
        if self.is_worker:
            self.settings = settings = settings.model_copy(update={"storage": os.environ[STORAGE]})
        if settings.workers > 1 and settings.engine == "local" and not torch.cuda.is_available():
            torch.set_num_threads(threads_of(settings.workers))
        self.next_note = time.monotonic() + NOTE_SECONDS
        self.results: list[Ended] = []
        self.found: StudyResult
        self.to_do: list[Planned] = []
        self.planned = 0

    # -- the plan ------------------------------------------------------------------------------------------------

    def show_plan(self) -> None:
        """Print what the study would train, how long that takes and what it should tell."""
        with Stop() as stop:
            measure_sizes(self.plan, self.seconds_to_end(), stop)
        planned = self.plan.wanted([], [], self.seconds_to_end() - REPORT)
        self.plan.check_target(planned, [])
        print(self.plan.table(planned))
        print(study_report.expectation(self.plan, planned, []))

    def seconds_to_end(self) -> float:
        """Of the hours that are given, the time used since it began apart."""
        return 3600 * self.settings.hours - (time.time() - self.began)

    def seconds_left(self) -> float:
        """Until the study has to be over, its report aside."""
        return 3600 * self.settings.hours - self.cells.seconds_used() - REPORT

    # -- the work ------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Train until nothing is wanted any more, fit, and print the report; gives the exit code."""
        about = self.settings.model_dump(mode="json", exclude=NOT_ABOUT)
        self.cells = Cells(about, self.task.name, self.settings.study, self.settings.storage)
        self.client, self.experiment = open_store(), experiment_id(self.settings.experiment)
        with Stop() as stop:
            self.take_over()
            if self.is_worker:
                self.parent = self.cells.parent
                if not self.parent:
                    raise UserError(
                        f"a worker must find its study, {self.cells.name} in {self.cells.where} is new; give storage= "
                        "an address, and CHEMSCALE_HOME a folder, that all machines see"
                    )
                self.learn_paces(stop)
                self.tuned(search=False)
                self.work(stop)
                return stop.exit_code
            if self.cells.nobody_else_works():
                self.cells.start_clock(self.began)
            self.learn_paces(stop)
            self.look()  # a budget that is too small is refused before anything is made, and so is a target too large
            self.plan.check_target(self.to_do, self.results)
            if self.settings.tune and not {SEARCHED, "tuned"} & self.cells.study.user_attrs.keys():
                # Once: how much time is left decides about it.
                self.cells.study.set_user_attr(SEARCHED, where_to_tune(self.plan, self.seconds_left()))
            self.parent = self.make_parent()
            with ended_properly(self.parent, self.cells.nobody_else_works):
                try:
                    self.tuned()
                    self.introduce()
                    if self.settings.workers > 1 or self.settings.engine != "local":
                        self.lead(stop)
                    else:
                        self.work(stop)
                except KeyboardInterrupt:
                    self.cells.note_time()
                    if stop.requested and self.prints:  # a search says it by itself
                        print(f"{stop.requested}; the same command goes on", file=sys.stderr)
                    raise
                self.found = study_report.finish(self.client, self.parent, self.cells, self.plan)
        if self.prints:
            print(f"{self.found.text()}\n\n{study_report.next_steps(self.found, self.settings, self.planned)}")
        return stop.exit_code

    def make_parent(self) -> str:
        """The run of the whole study, one for all its processes."""
        made = adopt_run(self.settings.experiment, resume=self.cells.parent, shared=True)
        parent: str = self.cells.first("parent", made)
        if parent != made:  # of another that started at once
            give_up(self.client, made, f"its study is run {parent}")
            adopt_run(self.settings.experiment, resume=parent, shared=True)
        self.cells.parent = parent
        study_report.describe(self.client, parent, self.cells, self.settings, self.plan.model)
        return parent

    def take_over(self) -> None:
        """Put back what processes trained that are gone."""
        reap_dead_runs([self.experiment])
        self.cells.fail_dead_trials()

    def learn_paces(self, stop: Stop) -> None:
        """Give the plan the paces of its sizes, measured by the first process on a machine of this kind."""
        machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores"
        machine += f", {torch.get_num_threads()} threads"
        key = f"paces of {machine}, {self.settings.hours} h, {self.settings.flops} FLOPs"
        known = self.cells.study.user_attrs.get(key)
        if known is None or any(len(pace) < len(Pace._fields) for pace in known.values()):  # of an earlier version
            measure_sizes(self.plan, self.seconds_to_end(), stop)
            known = {str(size): list(pace) for size, pace in self.plan.paces.items()}
            self.cells.study.set_user_attr(key, known)
        self.plan.paces = {int(size): Pace(*pace) for size, pace in known.items()}
        self.plan.sizes = tuple(self.plan.paces)

    def tuned(self, search: bool = True) -> None:
        """Take what the search of the study has found, or search."""
        known = self.cells.study.user_attrs.get("tuned")
        if known is None and search and self.settings.tune:
            where = Where(*self.cells.study.user_attrs[SEARCHED])
            found = list(tune(self.plan, self.cells.name, where, most_together(self.plan, min(self.plan.sizes))))
            known = self.cells.first("tuned", found)
            self.cells.note_time()
            self.cells.study.set_user_attr("tuned", known)
            self.client.set_tag(self.parent, "tuned", json.dumps(dict(zip(Tuned._fields, known, strict=True))))
        self.plan.tuned = Tuned(*known) if known else None

    def introduce(self) -> None:
        """Say what is about to happen."""
        self.look()
        self.planned = len(self.results) + len(self.to_do)
        if not self.prints:
            return
        print(f"study {self.cells.name}: {len(self.results)} trainings are done, to do:")
        print(self.plan.table(self.to_do))
        print(study_report.expectation(self.plan, self.to_do, self.results), flush=True)

    def work(self, stop: Stop) -> None:
        """Train one group of trainings after the other."""
        fabric = None
        with self.progress() as bar:
            while not stop.requested:
                self.take_over()
                self.look()
                self.show(bar)
                if not self.to_do and (self.is_worker or self.cells.nobody_else_works()):
                    return
                if not self.to_do:  # others are at the last ones; should they die, there is work again
                    time.sleep(LOOKS)
                    continue
                study_report.foretell(self.client, self.parent, self.cells, self.plan, self.to_do)
                group = next_group(self.cells, self.plan, self.to_do)
                fabric = fabric or start_fabric(self.plan.settings_of(group[0]))
                tell = partial(self.show, bar)
                if not Group(self.plan, self.cells, self.parent, fabric, stop, tell).train(group):
                    time.sleep(1)  # others were faster: let them record it
                self.cells.note_time()
        raise KeyboardInterrupt

    def look(self) -> None:
        """See what is over, and plan the rest anew."""
        self.results = self.cells.results()
        self.plan.learn(self.results)
        self.to_do = self.plan.wanted(self.results, self.cells.going(), self.seconds_left())

    def lead(self, stop: Stop) -> None:
        """Start workers, show how far they are, and see to their end."""
        folder = home() / "studies" / self.cells.name
        settings = self.settings.model_copy(update={"study": self.cells.name})
        known = (-1, -1)
        with self.progress() as bar:

            def look() -> None:
                nonlocal known
                seen = len(self.cells.results()), len(self.cells.going())
                if seen != known:
                    known = seen
                    self.look()
                self.show(bar)

            failed = lead("study", settings, folder, stop, look)
        self.take_over()
        self.look()
        if failed and (self.to_do or not self.cells.nobody_else_works()):
            raise complain_of(failed, self.settings.workers)
        if self.to_do or not self.cells.nobody_else_works():
            self.work(stop)  # what others left, or waits for them

    def progress(self) -> Any:
        """A bar of trainings."""
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
        return progress_bar(total=1, unit="run", desc="study", bar_format=form, hidden=self.is_worker)

    def show(self, bar: Any, now: str = "") -> None:
        """How far the study is, when it ends, and what it tells so far."""
        going, over = self.cells.going(), {result.training for result in self.results}
        waiting = [one for one in self.to_do if one.training not in {*dict(going), *over}]
        bar.total, bar.n = max(1, len(self.results) + len(going) + len(waiting)), len(self.results)
        left = sum(one.seconds for one in waiting)
        left += sum(max(0.0, self.plan.cost(training).seconds - spent) for training, spent in going)
        text = f"ends in about {duration(left / self.settings.workers)}"
        if len({result.params for result in self.results}) > 1:
            (alpha, of_alpha), (beta, of_beta) = self.plan.belief(self.results).exponents()
            text += f", alpha {alpha:.2f}+-{1.645 * of_alpha:.2f} beta {beta:.2f}+-{1.645 * of_beta:.2f}"
        bar.set_postfix_str(text + now)
        if time.monotonic() > self.next_note:
            self.next_note = time.monotonic() + NOTE_SECONDS
            self.cells.note_time()
