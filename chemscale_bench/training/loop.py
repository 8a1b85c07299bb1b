"""The training loop: one trunk, a decay to every budget, exact counts of what was seen, exact resume.

The loop knows no model and no tracker. An `Objective` hands out data and losses in its own unit (tokens, frames);
`Events` is told what happened; `Trainer.state` is all that a resumed run needs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from chemscale_bench.errors import UserError
from chemscale_bench.training import sharding
from chemscale_bench.training.averaging import RunningAverage
from chemscale_bench.training.contracts import Events, Objective, Report
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.learner import Due, Learner, Measurement, Step
from chemscale_bench.training.schedules import Segment, learning_rate_factor
from chemscale_bench.training.sharding import own_part


class Diverged(UserError):
    """The training loss is not finite, or clearly worse than the baseline's (a uniform prediction, zero forces)."""


def drive(training: Generator[Due, None, None]) -> None:
    """Perform what one training waits for. An error is raised where it was asked for, so that its owner sees it."""
    for due in training:
        try:
            due.perform()
        except BaseException as error:
            with suppress(StopIteration):
                training.throw(error)


class Trainer(Learner):
    """Trains `model` through the segments of a warm-up/stable/decay schedule.

    `steps_due` says what has to be done next and keeps the books, `Learner.perform` does it. Whoever trains many models
    at once (training/stacked.py) takes the steps of all of them and performs them together.

    Args:
        fabric: where and in which precision; several processes share each optimizer step.
        model: called with a forward pass of the objective, gives its summed loss.
        optimizer: with the peak learning rate in each group.
        objective: data and batch sizes.
        events: is told about progress, budgets and states.
        plan: the segments, from `schedules.segments`.
        warmup: units of linear warm-up.
        clip: largest gradient norm.
        report_every: units between two reports.
        save_seconds: wall time between two resume states.
        pass_limit: padded units of a forward pass to start with; halved when memory runs out.
        average: a running average of the weights, kept beside them.
        captures: whether steps may be replayed as CUDA graphs: the model never waits for the device.
    """

    def __init__(
        self, fabric: Fabric, model: nn.Module, optimizer: torch.optim.Optimizer, objective: Objective, events: Events,
        *, plan: list[Segment], warmup: int, clip: float, report_every: int, save_seconds: float, pass_limit: int,
        average: RunningAverage | None = None, captures: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            fabric, model, optimizer, objective, clip=clip, pass_limit=pass_limit, average=average, captures=captures
        )
        self.events, self.plan, self.warmup = events, plan, warmup
        self.report_every, self.save_seconds = report_every, save_seconds
        self.peak_rates = [group["lr"] for group in optimizer.param_groups]
        self.segment = self.position = self.steps = 0
        self.cursor: Any = None
        self.stopped: str | None = None
        self.trunk: dict[str, Any] | None = None
        self.loss_amount = 0
        self.seconds_reported = 0.0
        self.restored: Callable[[], None] = lambda: None  # called when weights and optimizer state were replaced

    def weights(self) -> dict[str, Any]:
        """What a decay branch changes and the trunk needs back, copied to the host: of spread tensors this part."""
        state = {
            "model": self.module.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "position": self.position,
            "cursor": self.cursor,
            "steps": self.steps,
        }
        # A copy of every tensor by itself: those of a stack's members are views of common ones.
        copied: dict[str, Any] = tree_map_only(Tensor, lambda t: own_part(t.detach()).to("cpu", copy=True), state)
        return copied

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as tensors and plain values; all processes have to call it."""
        loss_sum = torch.as_tensor(self.fabric.all_reduce(self.loss_sum.clone(), reduce_op="sum")).item()
        weights, trunk = self.weights(), self.trunk
        if self.spread:
            keeps = self.fabric.is_global_zero
            weights = sharding.to_whole(weights, self.module, self.optimizer, keeps)
            trunk = trunk and sharding.to_whole(trunk, self.module, self.optimizer, keeps)
        return weights | {
            "segment": self.segment,
            "trunk": trunk,
            "loss_sum": loss_sum / self.fabric.world_size,
            "loss_amount": self.loss_amount,
            "train_seconds": self.train_seconds,
            "seconds_reported": self.seconds_reported,
            "peak_rates": self.peak_rates,
            "pass_limit": self.pass_limit,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to the weights, optimizer and data position of a state."""
        if self.spread:
            sharding.load(state, self.module, self.optimizer)
        else:
            self.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.position, self.cursor, self.steps = state["position"], state["cursor"], state["steps"]
        self.restored()

    def resume(self, state: dict[str, Any]) -> None:
        """Carry on where `state` was taken, by as many processes or others."""
        trunk = state["trunk"]
        if self.spread:
            state = sharding.to_parts(state, self.module, self.optimizer)
            trunk = trunk and sharding.to_parts(trunk, self.module, self.optimizer)
        self.restore(state)
        self.segment, self.trunk = state["segment"], trunk
        self.loss_sum.fill_(state["loss_sum"])
        self.loss_amount, self.peak_rates = state["loss_amount"], state["peak_rates"]
        self.train_seconds, self.seconds_reported = state["train_seconds"], state["seconds_reported"]
        self.pass_limit = state["pass_limit"]

    def run(self) -> str | None:
        """Train to the last budget; gives the reason if it was asked to stop before.

        Raises:
            Diverged: if the loss leaves the finite or useful range; the message says where.
        """
        for due in self.steps_due():
            due.perform()
        return self.stopped

    def steps_due(self) -> Generator[Due, None, None]:
        """Optimizer steps and measurements to the last budget, each to be performed before the next is asked for.

        Raises:
            Diverged: as `run` does.
        """
        try:
            yield from self.segments_due()
        finally:
            self.forget_recordings()

    def segments_due(self) -> Generator[Due, None, None]:
        """The steps, and what lies between them: reports, validation, branches, saved states."""
        last_save = time.monotonic()
        while self.segment < len(self.plan):
            segment = self.plan[self.segment]
            if segment.kind == "decay" and self.trunk is None:
                self.trunk = self.weights()
            while self.position < segment.stop:
                self.stopped = self.events.stop_requested()
                if self.stopped or self.anywhere(time.monotonic() - last_save > self.save_seconds):
                    self.events.save(self.state())
                    last_save = time.monotonic()
                if self.stopped:
                    return
                yield from self.step(segment)
                if self.loss_amount >= self.report_every or self.position >= segment.stop:
                    started = time.perf_counter()
                    self.loss_sum.cpu()  # waits for the device, so that the time is that of finished work
                    self.record_time(time.perf_counter() - started)
                    self.send_report(segment)
            if segment.kind == "decay":
                measurement = Measurement(partial(self.events.measure, segment.stop))
                yield measurement
                if measurement.result is not None:
                    self.events.budget_reached(segment.stop, measurement.result)
                if self.segment < len(self.plan) - 1:
                    assert self.trunk is not None
                    self.restore(self.trunk)
                self.trunk = None
            self.segment += 1

    def anywhere(self, here: bool) -> bool:
        """Whether something holds in any process: clocks differ, and all have to save at the same step."""
        if self.fabric.world_size == 1:
            return here
        count = self.fabric.all_reduce(torch.tensor(float(here), device=self.fabric.device), reduce_op="sum")
        return bool(torch.as_tensor(count).item())

    def step(self, segment: Segment) -> Generator[Step, None, None]:
        """One optimizer step of the size that the objective asks for, never past the budget."""
        started = time.perf_counter()
        branch = self.trunk["position"] if self.trunk else None
        factor = learning_rate_factor(self.position, self.warmup, branch, segment.budget)
        for group, rate in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor
        amount = self.objective.batch_amount(self.position)
        if self.position + amount >= segment.budget:  # never past the budget, and the trunk leaves room for the decay
            amount = segment.stop - self.position
        items, cursor = self.objective.take(self.cursor, amount)
        self.record_time(time.perf_counter() - started)
        yield Step(self, items, amount)
        self.loss_amount += amount
        self.position += amount
        self.cursor = cursor
        self.steps += 1

    def send_report(self, segment: Segment) -> None:
        """Tell the mean loss since the last report, and give up if it says that training has diverged."""
        summed = self.fabric.all_reduce(self.loss_sum.clone(), reduce_op="sum")
        loss = torch.as_tensor(summed).item() / self.loss_amount
        seconds, self.seconds_reported = self.train_seconds - self.seconds_reported, self.train_seconds
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.events.report(
            Report(segment.kind, self.position, loss, rate, float(self.gradient_norm), self.loss_amount, seconds)
        )
        warm = self.position - self.loss_amount >= self.warmup
        self.loss_sum.zero_()
        self.loss_amount = 0
        if not math.isfinite(loss) or (warm and loss > self.objective.diverged_loss):
            raise Diverged(
                f"training diverged: the mean loss was {loss:.4g} after {self.position:,} tokens or frames, where "
                f"that of an untrained model stays below {self.objective.diverged_loss:.4g}; try a lower learning_rate"
            )
