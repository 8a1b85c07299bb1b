"""A scaling study: what is to be trained, by whom, until when; tracked as a parent run with a child per training."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from typing import Any

import psutil
import torch
from filelock import FileLock
from tqdm import tqdm

from chemscale_bench import tasks
from chemscale_bench.data.cache import home
from chemscale_bench.errors import UserError
from chemscale_bench.runs import study_report
from chemscale_bench.runs.cells import Cells, Result, Training
from chemscale_bench.runs.engines import WORKER, refuse_failed, start_local, threads_of
from chemscale_bench.runs.group import Group
from chemscale_bench.runs.kinds import FRAMES, refuse_other_family
from chemscale_bench.runs.pace import Pace, measure_pace
from chemscale_bench.runs.study_plan import Planned, StudyPlan, duration
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.lifetime import Stop, reap_dead_runs
from chemscale_bench.tracking.store import experiment_id, open_store
from chemscale_bench.training.devices import start_fabric

REPORT = 20.0
"""Seconds that are kept for the fit and its figures."""
MOST_TOGETHER = 8
NOT_ABOUT = {"hours", "flops", "workers", "together", "storage", "study", "dry_run", "experiment", "device", "level"}
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
            raise UserError(f"give one budget, got hours={settings.hours:g} and flops={settings.flops:g}")
        if settings.params == "auto" and not (settings.hours or settings.flops):
            raise UserError("a study needs sizes or a budget, got neither; give params=1e4,3e4,1e5, or hours=2")
        self.plan = StudyPlan(settings, self.task)
        self.kind = self.plan.kind
        self.kind.check(self.plan.settings_of(Training(self.plan.sizes[0], self.plan.data[0], settings.seed)))  # type: ignore[arg-type]
        self.is_worker = WORKER in os.environ
        if settings.workers > 1 and not torch.cuda.is_available():
            torch.set_num_threads(threads_of(settings.workers))
        self.began = psutil.Process().create_time()
        self.results: list[Result] = []
        self.to_do: list[Planned] = []

    # -- the plan ------------------------------------------------------------------------------------------------

    def measure(self, stop: Stop) -> None:
        """The pace of every size, from the smallest to the first that no training of fits the budget."""
        fabric = start_fabric(self.plan.settings_of(Training(self.plan.sizes[0], self.plan.data[0], 0)))
        with tqdm(self.plan.sizes, desc="measuring this machine", unit="size", leave=False) as bar:
            for size in bar:
                bar.set_postfix_str(f"{size:.0e} params")
                tops = self.plan.tops(size)
                if not tops and self.plan.designed:
                    break
                data = tops[0] if tops else self.plan.data[0]
                try:
                    settings = self.plan.settings_of(Training(size, data, self.settings.seed))
                    with stop.at_once():
                        if not self.plan.paces:  # the data are prepared once, by whoever comes first
                            self.kind(settings, fabric, "", stop, None)  # type: ignore[arg-type]
                        self.plan.paces[size] = measure_pace(self.kind, settings, fabric, stop)
                except UserError:
                    if self.settings.params != "auto":
                        raise
                    continue  # the model has no such size
                if self.plan.designed and self.beyond(size, data):
                    del self.plan.paces[size]
                    break
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
        session = self.cells.study.user_attrs["session"]
        end: float = session["began"] + 3600 * self.settings.hours - session["used"]
        return end - time.time() - REPORT

    def keep_time(self, start: bool = False) -> None:
        """Note how much of its hours the study has used, so that it goes on with the rest."""
        attributes, study = self.cells.study.user_attrs, self.cells.study
        session = attributes.get("session", {"began": self.began, "used": 0.0})
        if start:
            study.set_user_attr("session", {"began": self.began, "used": attributes.get("used", 0.0)})
        else:
            study.set_user_attr("used", session["used"] + time.time() - session["began"])

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
                self.plan.paces = self.paces(stop)
                self.work(stop)
                return stop.exit_code
            if self.cells.nobody_else_works():
                self.keep_time(start=True)
            self.plan.paces = self.paces(stop)
            self.introduce()
            self.parent = self.make_parent()
            with ended_properly(self.parent, self.cells.nobody_else_works):
                if self.settings.workers > 1:
                    self.lead(stop)
                else:
                    self.work(stop)
                if self.cells.nobody_else_works():
                    study_report.finish(self.client, self.parent, self.cells, self.plan)
                else:
                    print(f"others still train for study {self.cells.name}; whoever ends last writes its report")
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

    def paces(self, stop: Stop) -> dict[int, Pace]:
        """Of the sizes, measured by the first process on a machine of this kind."""
        key = f"paces {torch.cuda.get_device_name() if torch.cuda.is_available() else os.cpu_count()}"
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
                if not self.to_do:
                    return
                study_report.foretell(self.client, self.parent, self.cells, self.plan, self.to_do)
                group = self.group(self.to_do)
                fabric = fabric or start_fabric(self.plan.settings_of(group[0]))
                tell = partial(self.show, bar)
                Group(self.plan, self.cells, self.parent, fabric, stop, tell).train(group)
                self.keep_time()
        self.say_how_to_go_on(stop)

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
        workers = start_local("study", settings, self.settings.workers, folder)
        with self.progress() as bar:
            while any(worker.poll() is None for worker in workers):
                if stop.requested:
                    for worker in workers:
                        worker.send_signal(signal.SIGTERM)
                    for worker in workers:
                        worker.wait()
                    break
                self.look()
                self.show(bar)
                time.sleep(1)
        if stop.requested:
            self.say_how_to_go_on(stop)
        refuse_failed(workers, str(folder))

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

    def say_how_to_go_on(self, stop: Stop) -> None:
        """End as interrupted."""
        self.keep_time()
        print(f"{stop.requested}; the same command goes on", file=sys.stderr)
        raise KeyboardInterrupt
