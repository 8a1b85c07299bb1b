"""Trainings of a scaling study that one process makes at once, each a child run: one, or several of a size."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

from optuna.trial import FrozenTrial
from tqdm import tqdm

from chemscale_bench.data.cache import run_folder
from chemscale_bench.runs.cells import Cells, Ended, Training
from chemscale_bench.runs.start import load_saved
from chemscale_bench.runs.study_plan import Planned, StudyPlan, duration
from chemscale_bench.runs.study_report import unforetold
from chemscale_bench.runs.tracked import TrackedRun
from chemscale_bench.tasks import ForceTask
from chemscale_bench.tracking.adoption import reopen
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.families import below
from chemscale_bench.tracking.lifetime import Stop, mark_process, process_tags
from chemscale_bench.tracking.store import experiment_id, open_store
from chemscale_bench.training.devices import evaluation_device
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.learner import Due
from chemscale_bench.training.loop import Diverged, drive
from chemscale_bench.training.together import train_together

LOOK_SECONDS = 2.0
MOST_TOGETHER = 8
STACKS_PAY = 100_000
"""Parameters of a force field up to which a stack pays on a CPU (benchmarks/force_fields.md)."""


def next_group(cells: Cells, plan: StudyPlan, wanted: Sequence[Planned]) -> list[Training]:
    """The next training of a study, and with it: its seeds, and of typed force fields other frames."""
    first, others = wanted[0].training, [one.training for one in wanted]
    if cells.left(first):
        return [first]
    same = [each for each in others if each[:2] == first[:2]]
    # What a design may not want after the next results waits, as does what has to be foretold.
    if isinstance(plan.task, ForceTask) and not (plan.task.joint or plan.designed or plan.settings.workers > 1):
        apart = {*same, *unforetold(cells, plan, wanted)}
        same += [each for each in others if each.params == first.params and each not in apart]
    return [training for training in same if not cells.left(training)][: most_together(plan, first.params)]


def most_together(plan: StudyPlan, params: int) -> int:
    """How many models of a size are trained as one stack."""
    if not plan.kind.MODELS.family(plan.model).STACKED:
        return 1
    if plan.settings.together != "auto":
        return plan.settings.together
    slow = isinstance(plan.task, ForceTask) and evaluation_device(plan.settings.device).type == "cpu"
    return 1 if slow and params > STACKS_PAY else MOST_TOGETHER


class UnderWay(NamedTuple):
    """A training that this process is at."""

    trial: FrozenTrial
    run: TrackedRun
    began: float
    """By the monotonic clock, as if it had never been interrupted."""


class Group:
    """Makes trainings as child runs, new or carried on.

    Args:
        plan: of the study.
        cells: of the study.
        parent: run of the study.
        fabric: where it trains.
        stop: asks for a clean end.
        tell: is told how far a training is, from time to time.
    """

    def __init__(
        self, plan: StudyPlan, cells: Cells, parent: str, fabric: Fabric, stop: Stop, tell: Callable[[str], None]
    ) -> None:
        self.plan, self.cells, self.parent = plan, cells, parent
        self.fabric, self.stop, self.tell = fabric, stop, tell
        self.client = open_store()
        self.next_look, self.size, self.any = 0.0, 1, False
        self.under_way: dict[int, UnderWay] = {}

    def train(self, trainings: list[Training]) -> bool:
        """Train one, or several of a size as a stack; whether any of them was still to be had."""
        waiting, self.size, self.any = list(trainings), len(trainings), False

        def start() -> Generator[Due, None, None] | None:
            return self.member(waiting.pop(0)) if waiting and not self.stop.requested else None

        if self.size > 1:
            train_together(start, self.size)
        elif member := start():
            drive(member)
        return self.any

    def member(self, training: Training) -> Generator[Due, None, None]:
        """One training as a child run, new or carried on, step by step."""
        settings, began = self.plan.settings_of(training), time.monotonic()
        left = self.cells.left(training)
        trial = self.cells.claim(training)
        if trial is None:  # somebody else was faster
            return
        self.any, over = True, False
        try:
            saved = load_saved(left) if left else None
            run_id = left or self.new_run()
            mark_process(self.client, run_id)
            if left:
                reopen(self.client, run_id, shared=True)
            self.cells.logs_to(trial, run_id)
            with ended_properly(run_id):
                run = self.plan.kind(settings, self.fabric, run_id, self.stop, saved, judge=self.watch)
                began -= run.log.get("wall_seconds", 0.0)
                self.under_way[trial.number] = UnderWay(trial, run, began)
                self.client.set_tag(run_id, "mlflow.runName", run.tags()["mlflow.runName"])
                try:
                    yield from run.steps_due()
                except Diverged:
                    over = self.finish(trial, training, run, diverged=True)
                    raise
                over = self.finish(trial, training, run)
        except Diverged as error:
            shutil.rmtree(run_folder(run_id), ignore_errors=True)
            self.say(f"{training.params:.3g} params, seed {training.seed}: {error}")
        finally:
            self.under_way.pop(trial.number, None)
            if not over:  # after the run has ended, so that nobody takes over one that is about to
                self.cells.give_up(trial)

    def new_run(self) -> str:
        """A child of the study."""
        experiment = experiment_id(self.plan.settings.experiment)
        run_id: str = self.client.create_run(experiment, tags=below(self.parent) | process_tags()).info.run_id
        return run_id

    def watch(self, position: int, values: dict[str, float]) -> None:
        """Hear of every report of a training; none is judged."""
        now = time.monotonic()
        for each in self.under_way.values():
            each.run.log["wall_seconds"] = now - each.began  # kept in its state, for whoever carries it on
            self.cells.beat(each.trial)
        if now > self.next_look:
            self.next_look = now + LOOK_SECONDS
            run = next(iter(self.under_way.values())).run
            done = position / run.budgets[-1]
            self.tell(f"; {run.params()['non_embedding_params']:,} params: {done:.0%}")

    def finish(self, trial: FrozenTrial, training: Training, run: TrackedRun, diverged: bool = False) -> bool:
        """Record what a training reached; whether it still was this process'."""
        losses = {} if diverged else dict(run.reached)
        if self.plan.task.family == "force_field" and losses:
            losses = {training.data: losses[max(losses)]}
        seconds = (time.monotonic() - self.under_way[trial.number].began) / self.size
        params = int(str(run.params()["non_embedding_params"]))
        flops = run.flops_per_unit * run.log["amount"]
        if not self.cells.complete(trial, Ended(training, run.run_id, params, losses, seconds, flops), diverged):
            self.say(f"run {run.run_id} was silent too long, and may be trained again by others")
            return False
        if losses:
            last = max(losses)
            line = f"{params:,} params, {last:,} {self.plan.word}, seed {training.seed}: {losses[last]:.4f}"
            self.say(f"{line} after {duration(seconds)}")
        return True

    def say(self, text: str) -> None:
        """Say something above the progress bar."""
        if self.plan.prints:
            tqdm.write(text, file=sys.stderr)
