"""A model and its optimizer, changed by one step at a time: gradients over as many passes as fit, and the update."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_

from chemscale_bench.training import sharding
from chemscale_bench.training.averaging import RunningAverage
from chemscale_bench.training.captured import Captured
from chemscale_bench.training.contracts import Objective
from chemscale_bench.training.fabric import Fabric

if TYPE_CHECKING:
    from chemscale_bench.training.loop import Trainer


class Step(NamedTuple):
    """One optimizer step that is due."""

    trainer: Trainer
    items: Any  # of its objective
    amount: int  # units

    def perform(self) -> None:
        """Change the weights."""
        self.trainer.perform(self)


@dataclass(eq=False)
class Measurement:
    """What a training waits for that touches nothing but its own: a thread may do it beside those of others."""

    work: Callable[[], Any]
    result: Any = None

    def perform(self) -> None:
        """Do it."""
        self.result = self.work()


Due: TypeAlias = Step | Measurement
"""What a training waits for."""


class Learner:
    """Performs optimizer steps; `Trainer`, which extends it, says which.

    Args:
        fabric: where and in which precision; several processes share each optimizer step.
        model: called with a forward pass of the objective, gives its summed loss.
        optimizer: of its parameters.
        objective: cuts a step's data into forward passes.
        clip: largest gradient norm.
        pass_limit: padded units of a forward pass to start with; halved when memory runs out.
        average: a running average of the weights, kept beside them.
        captures: whether steps may be replayed as CUDA graphs: the model never waits for the device.
    """

    def __init__(
        self, fabric: Fabric, model: nn.Module, optimizer: torch.optim.Optimizer, objective: Objective, *, clip: float,
        pass_limit: int, average: RunningAverage | None, captures: bool,
    ) -> None:  # fmt: skip
        self.fabric, self.objective = fabric, objective
        self.module, self.spread = model, sharding.is_spread(model)
        self.model: Any = model
        self.optimizer = optimizer
        if not self.spread:
            self.model, self.optimizer = fabric.setup(model, optimizer)
        self.clip, self.pass_limit, self.average = clip, pass_limit, average
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=fabric.device)
        self.gradient_norm = torch.zeros(())
        self.train_seconds = 0.0
        self.record_time: Callable[[float], None] = self.record_own_time  # called with seconds
        self.learn: Callable[[Any, Tensor], Tensor] = self.forward_backward
        self.update: Callable[[], Tensor] = self.clip_and_update
        self.exchanges = self.met = False  # whether a pass meets those of other processes, and has done so
        self.captures = captures and fabric.device.type == "cuda" and fabric.world_size == 1
        if self.captures:
            self.learn, self.update = Captured(self.learn), Captured(self.update)

    def record_own_time(self, seconds: float) -> None:
        """Count time as this training's; in a stack it is everybody's."""
        self.train_seconds += seconds

    def perform(self, step: Step) -> None:
        """Change the weights by one step."""
        started = time.perf_counter()
        if self.captures:
            self.hold_rates()
        while True:
            self.met = False
            try:
                loss = self.accumulate(step.items, step.amount)
                break
            except torch.OutOfMemoryError:
                self.pass_limit //= 2
                self.optimizer.zero_grad(set_to_none=not self.captures)  # recordings know where gradients lie
                if isinstance(self.learn, Captured):
                    self.learn.forget()
                torch.cuda.empty_cache()
                if self.pass_limit < 64 or self.met:  # other processes would wait for the rest of that pass
                    raise
        self.gradient_norm = self.update()
        if self.average:
            self.average.update_parameters(self.module)
        self.loss_sum += loss
        self.record_time(time.perf_counter() - started)

    def accumulate(self, items: Any, amount: int) -> Tensor:
        """Gradient of the mean loss over a step's `amount` units, gathered over forward passes; the summed loss."""
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        share = items[rank::processes]
        weight = torch.full((), processes / amount, device=self.fabric.device)
        total = torch.zeros((), dtype=torch.float64, device=self.fabric.device)
        passes = list(self.objective.passes(share if len(share) else items[:1], self.pass_limit))
        # A process without a share still takes part in the exchange of gradients, with weight zero; where weights are
        # gathered for every pass, so does one with fewer passes than others.
        own = len(passes) if len(share) else 0
        if self.spread:
            most = self.fabric.all_reduce(torch.tensor(len(passes), device=self.fabric.device), reduce_op="max")
            passes += passes[-1:] * (int(torch.as_tensor(most)) - len(passes))
        for index, forward_pass in enumerate(passes):
            exchanges, counts = self.spread or index == len(passes) - 1, index < own
            self.exchanges = exchanges and processes > 1
            with nullcontext() if exchanges else self.fabric.no_backward_sync(self.model):
                total += self.learn(forward_pass, weight if counts else torch.zeros_like(weight)) * counts
        return total

    def forward_backward(self, forward_pass: Any, weight: Tensor) -> Tensor:
        """Add the gradient of a pass, times `weight`; its summed loss."""
        self.met = self.exchanges and self.spread  # weights are gathered in the forward pass already
        with self.fabric.autocast() if self.spread else nullcontext():  # what Fabric sets up does so itself
            loss: Tensor = self.model(forward_pass)
        self.met = self.exchanges
        self.fabric.backward(loss * weight)
        return loss.detach()

    def clip_and_update(self) -> Tensor:
        """Clip the gradient, change the weights, forget the gradient; its norm before clipping."""
        norm = clip_grad_norm_(self.module.parameters(), self.clip)
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=not self.captures)
        return norm

    def hold_rates(self) -> None:
        """Keep the learning rates in tensors on the device, where a captured update reads them."""
        for group in self.optimizer.param_groups:
            if not isinstance(group["lr"], Tensor) or group["lr"].device != self.fabric.device:
                group["lr"] = torch.tensor(float(group["lr"]), device=self.fabric.device)
                group["capturable"] = True
                self.update.forget()  # type: ignore[attr-defined]

    def forget_recordings(self) -> None:
        """Drop the CUDA graphs: they hold memory, and refer to the learner that holds them."""
        for part in (self.learn, self.update):
            if isinstance(part, Captured):
                part.forget()
