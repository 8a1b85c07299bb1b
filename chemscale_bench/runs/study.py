"""A scaling study: what is to be trained, by whom, until when; tracked as a parent run with a child per training."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

import psutil
import torch
from filelock import FileLock
from tqdm import tqdm

from chemscale_bench import tasks
from chemscale_bench.data.cache import home
from chemscale_bench.errors import UserError
from chemscale_bench.models.registry import SizeError
from chemscale_bench.runs import study_report
from chemscale_bench.runs.cells import Cells, Result, Training
from chemscale_bench.runs.engines.local import threads_of
from chemscale_bench.runs.engines.start import STORAGE, WORKER, engine_of, start_workers
from chemscale_bench.runs.group import Group
from chemscale_bench.runs.kinds import FRAMES, refuse_other_family
from chemscale_bench.runs.pace import Pace, measure_pace, undisturbed
from chemscale_bench.runs.study_plan import Planned, StudyPlan, duration
from chemscale_bench.scaling.design import FEWEST_SIZES
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.lifetime import Stop, reap_dead_runs
from chemscale_bench.tracking.store import experiment_id, open_store
from chemscale_bench.training.devices import start_fabric

REPORT = 20.0
"""Seconds that are kept for the fit and its figures."""
MOST_TOGETHER = 8
LEADER_LOOKS, NOTE_SECONDS = 2.0, 60.0
"""Seconds between two looks at what others have done (planning anew takes a core), and two notes of the time used."""
NOT_ABOUT = {"hours", "flops", "workers", "together", "storage", "study", "dry_run", "experiment", "device", "level",
             "engine", "engine_options"}  # fmt: skip
"""Parameters that may change from one command of a study to the next."""


class Study:
    """One process's share of a scaling study.

    Args:
        settings: of the verb `study`.

    Raises:
        UserError: if they don't fit one another.
    """

    def __init__(self, settings: StudySettings) -> None:
        self.settings, self.task = settings, tasks.load(settings.task)
        refuse_other_family(settings, self.task, FRAMES if self.task.family == "language_model" else ("tokens",))
        if settings.hours and settings.flops:
            raise UserError(
                f"a study has one budget, got hours={settings.hours:g} and flops={settings.flops:g}; leave one out"
            )
        if settings.params == "auto" and not (settings.hours or settings.flops):
            raise UserError("a study needs sizes or a budget, got neither; give params=1e4,3e4,1e5, or hours=2")
        self.plan = StudyPlan(settings, self.task)
        self.kind = self.plan.kind
        self.kind.check(self.plan.settings_of(Training(self.plan.sizes[0], self.plan.data[0], settings.seed)))  # type: ignore[arg-type]
        self.is_worker = WORKER in os.environ
        if not (self.is_worker or settings.dry_run):
            engine_of(settings)  # before anything is made
        if self.is_worker:
            self.settings = settings = settings.model_copy(update={"storage": os.environ[STORAGE]})
        if settings.workers > 1 and settings.engine == "local" and not torch.cuda.is_available():
            torch.set_num_threads(threads_of(settings.workers))
        self.began = psutil.Process().create_time()
        self.next_note = time.monotonic() + NOTE_SECONDS
        self.results: list[Result] = []
        self.to_do: list[Planned] = []

    # -- the plan ------------------------------------------------------------------------------------------------

    def measure(self, stop: Stop) -> None:
        """The pace of every size; without typed ones from the smallest to the first that no training fits the budget.

        Raises:
            UserError: if the model has no size that was typed.
        """
        chosen = self.settings.params != "auto"
        fabric = start_fabric(self.plan.settings_of(Training(self.plan.sizes[0], self.plan.data[0], 0)))
        with tqdm(self.plan.sizes, desc="measuring this machine", unit="size", leave=False) as bar:
            for size in bar:
                bar.set_postfix_str(f"{size:.0e} params")
                tops = self.plan.tops(size)
                if not tops:
                    break
                try:
                    settings = self.plan.settings_of(Training(size, tops[0], self.settings.seed))
                    with stop.at_once():
                        if not self.plan.paces:  # the data are prepared once, by whoever comes first
                            self.kind(settings, fabric, "", stop, None)  # type: ignore[arg-type]
                        self.plan.paces[size] = measure_pace(self.kind, settings, fabric, stop)
                except SizeError:
                    if chosen:
                        raise
                    continue
                except torch.OutOfMemoryError:
                    if chosen:
                        raise UserError(f"params must fit this device, {size:.3g} do not; leave it out") from None
                    break
                if not chosen and len(self.plan.paces) > FEWEST_SIZES and self.beyond(size, tops[0]):
                    del self.plan.paces[size]
                    break
        self.plan.paces = undisturbed(self.plan.paces)
        self.plan.sizes = tuple(self.plan.paces)

    def beyond(self, size: int, data: int) -> bool:
        """Whether even the shortest training of a size is more than the budget."""
        cost = self.plan.cost(Training(size, data, 0))
        if self.settings.flops:
            return cost.flops > self.settings.flops
        return cost.seconds > 3600 * self.settings.hours - (time.time() - self.began)

    def show_plan(self) -> None:
        """Print what the study would train, how long that takes and what it should tell."""
        with Stop() as stop:
            self.measure(stop)
        left = 3600 * self.settings.hours - (time.time() - self.began) - REPORT
        planned = self.plan.wanted([], [], left)
        print(self.plan.table(planned))
        print(self.plan.expectation(planned, []))

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
                self.plan.paces = self.paces(stop)
                self.work(stop)
                return stop.exit_code
            if self.cells.nobody_else_works():
                self.cells.start_clock(self.began)
            self.plan.paces = self.paces(stop)
            self.introduce()
            self.parent = self.make_parent()
            with ended_properly(self.parent, self.cells.nobody_else_works):
                try:
                    if self.settings.workers > 1 or self.settings.engine != "local":
                        self.lead(stop)
                    else:
                        self.work(stop)
                except KeyboardInterrupt:
                    self.cells.note_time()
                    print(f"{stop.requested}; the same command goes on", file=sys.stderr)
                    raise
                study_report.finish(self.client, self.parent, self.cells, self.plan)
        return stop.exit_code

    def make_parent(self) -> str:
        """The run of the whole study, made by its first process."""
        lock = home() / "studies" / f"{self.cells.name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):  # two processes that start at once must not both make it
            known = self.cells.parent
            parent = adopt_run(self.settings.experiment, resume=known, shared=True)
            if not known:
                self.cells.parent = parent
                study_report.describe(self.client, parent, self.cells, self.settings)
        return parent

    def take_over(self) -> None:
        """Put back what processes trained that are gone."""
        reap_dead_runs([self.experiment])
        self.cells.fail_dead_trials()
        self.cells.fail_silent()

    def paces(self, stop: Stop) -> dict[int, Pace]:
        """Of the sizes, measured by the first process on a machine of this kind."""
        machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores"
        machine += f", {torch.get_num_threads()} threads"
        key = f"paces of {machine}, {self.settings.hours} h, {self.settings.flops} FLOPs"
        known = self.cells.study.user_attrs.get(key)
        if known is None:
            self.measure(stop)
            known = {str(size): list(pace) for size, pace in self.plan.paces.items()}
            self.cells.study.set_user_attr(key, known)
        return {int(size): Pace(*pace) for size, pace in known.items()}

    def introduce(self) -> None:
        """Say what is about to happen."""
        self.look()
        print(f"study {self.cells.name}: {len(self.results)} trainings are done, to do:")
        print(self.plan.table(self.to_do))
        print(self.plan.expectation(self.to_do, self.results), flush=True)

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
                    time.sleep(LEADER_LOOKS)
                    continue
                study_report.foretell(self.client, self.parent, self.cells, self.plan, self.to_do)
                group = self.group(self.to_do)
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

    def group(self, wanted: list[Planned]) -> list[Training]:
        """The next training, and the seeds of the same cell that are trained with it."""
        first = wanted[0].training
        most = MOST_TOGETHER if self.settings.together == "auto" else self.settings.together
        model = self.plan.settings_of(first).model  # type: ignore[attr-defined]
        if not self.kind.MODELS.family(model).STACKED or self.cells.left(first):
            return [first]
        same = [one.training for one in wanted if one.training[:2] == first[:2]]
        return [training for training in same if not self.cells.left(training)][:most]

    def lead(self, stop: Stop) -> None:
        """Start workers, show how far they are, and see to their end."""
        folder = home() / "studies" / self.cells.name
        settings = self.settings.model_copy(update={"study": self.cells.name})
        workers = start_workers("study", settings, folder)
        known = (-1, -1)
        with self.progress() as bar, ExitStack() as ending:
            ending.callback(workers.stop)
            while workers.alive():
                if stop.requested:
                    ending.close()
                    raise KeyboardInterrupt
                seen = len(self.cells.results()), len(self.cells.going())
                if seen != known:
                    known = seen
                    self.look()
                self.show(bar)
                time.sleep(LEADER_LOOKS)
            ending.pop_all()
        failed = workers.failed()
        self.take_over()
        self.look()
        if failed and (self.to_do or not self.cells.nobody_else_works()):
            raise UserError(
                f"all workers must end well, {len(failed)} of {self.settings.workers} did not; read {failed[0]}, then "
                "the same command goes on"
            )
        if self.to_do or not self.cells.nobody_else_works():
            self.work(stop)  # what others left, or waits for them

    def progress(self) -> Any:
        """A bar of trainings."""
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
        return tqdm(total=1, unit="run", desc="study", bar_format=form, disable=self.is_worker)

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
