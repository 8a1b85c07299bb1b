"""Trainings of a scaling study that one process makes at once, each a child run: one, or the seeds of a cell."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Generator

from lightning.fabric import Fabric
from optuna.trial import FrozenTrial
from tqdm import tqdm

from chemscale_bench.runs.cells import Cells, Result, Training
from chemscale_bench.runs.start import load_saved
from chemscale_bench.runs.study_plan import StudyPlan, duration
from chemscale_bench.runs.tracked import TrackedRun, run_folder
from chemscale_bench.tracking.adoption import reopen
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.lifetime import Stop, mark_process
from chemscale_bench.tracking.store import experiment_id, open_store
from chemscale_bench.training.learner import Step
from chemscale_bench.training.loop import Diverged, drive
from chemscale_bench.training.together import train_together

LOOK_SECONDS = 2.0


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
        self.now, self.whole, self.next_look, self.size = "", 1, 0.0, 1

    def train(self, trainings: list[Training]) -> None:
        """Train one, or the seeds of one cell as a stack."""
        waiting, self.size = list(trainings), len(trainings)

        def start() -> Generator[Step, None, None] | None:
            return self.member(waiting.pop(0)) if waiting and not self.stop.requested else None

        if self.size > 1:
            train_together(start, self.size)
        elif member := start():
            drive(member)

    def member(self, training: Training) -> Generator[Step, None, None]:
        """One training as a child run, new or carried on, step by step."""
        settings, began = self.plan.settings_of(training), time.monotonic()
        left = self.cells.left(training)
        saved = load_saved(left) if left else None
        run_id = left or self.new_run()
        trial = self.cells.claim(training, run_id)
        if trial is None:  # somebody else was faster
            if not left:
                self.client.delete_run(run_id)
            return
        if left:
            reopen(self.client, run_id)
            mark_process(self.client, run_id)
        over = False
        try:
            with ended_properly(run_id):
                try:
                    run = self.plan.kind(settings, self.fabric, run_id, self.stop, saved, judge=self.watch)  # type: ignore[arg-type]
                    self.now, self.whole = f"{training.params:.0e} params", run.budgets[-1]
                    self.client.set_tag(run_id, "mlflow.runName", run.tags()["mlflow.runName"])
                    try:
                        yield from run.steps_due()
                    except Diverged:
                        self.finish(trial, training, run, began, diverged=True)
                        over = True
                        raise
                    self.finish(trial, training, run, began)
                    over = True
                finally:
                    # Before the run ends: a training that goes on without a run is taken for dead.
                    if not over:
                        self.cells.give_up(trial)
        except Diverged as error:
            shutil.rmtree(run_folder(run_id), ignore_errors=True)
            tqdm.write(f"{training.params:.3g} params, seed {training.seed}: {error}", file=sys.stderr)

    def new_run(self) -> str:
        """A child of the study."""
        tags = {"mlflow.parentRunId": self.parent}
        run_id: str = self.client.create_run(experiment_id(self.plan.settings.experiment), tags=tags).info.run_id
        mark_process(self.client, run_id)
        return run_id

    def watch(self, position: int, values: dict[str, float]) -> None:
        """Hear of every report of a training; none is judged."""
        if time.monotonic() > self.next_look:
            self.next_look = time.monotonic() + LOOK_SECONDS
            self.tell(f"; {self.now}: {position / self.whole:.0%}")

    def finish(
        self, trial: FrozenTrial, training: Training, run: TrackedRun, began: float, diverged: bool = False
    ) -> None:
        """Record what a training reached."""
        losses = {} if diverged else dict(run.reached)
        if self.plan.task.family == "force_field" and losses:
            losses = {training.data: losses[max(losses)]}
        seconds = (time.monotonic() - began) / self.size
        params = int(str(run.params()["non_embedding_params"]))
        flops = run.flops_per_unit * run.log["amount"]
        self.cells.complete(trial, Result(training, run.run_id, params, losses, seconds, flops), diverged)
        if losses:
            last = max(losses)
            line = f"{params:,} params, {last:,} {self.plan.word}, seed {training.seed}: {losses[last]:.4f}"
            tqdm.write(f"{line} after {duration(seconds)}", file=sys.stderr)
