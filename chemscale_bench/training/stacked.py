"""Many trainings of one size as one: stacked weights, one batched matrix product where there were K small ones.

A small model leaves its device idle, waiting for launches. A `Stack` holds the weights of its members in the rows of
one array, and every member's own parameters and AdamW state are views of its row: whatever a member does between two
steps (validate, save, branch off a decay) works on its own model as if it were alone. Losses, gradients, clipping,
learning rates and decay are those of each member, and nothing passes from one to another.

Legend: K members, P parameters of one of them, G groups of the optimizer, N tokens of a member's batch.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from chemscale_bench.training import muon
from chemscale_bench.training.captured import Captured
from chemscale_bench.training.language import COMPILED_FLOPS
from chemscale_bench.training.learner import Step
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.muon import Columns
from chemscale_bench.training.stacked_layers import stacked_module

PASSES = {"cpu": 1, "cuda": 4}  # of one training, which a forward pass of a share may be as large as, at first


class Share(NamedTuple):
    """Members in neighbouring rows, whose step is computed as one."""

    rows: slice
    module: nn.Module  # that of all of them


class Stack:
    """Performs the steps of up to `places` trainers of one size together.

    Args:
        places: members at most.
        like: any of them; all have its model's shapes and constants, and AdamW's betas and eps.
    """

    def __init__(self, places: int, like: Trainer) -> None:
        self.module, self.fabric = like.module, like.fabric
        device, names = self.fabric.device, {id(p): name for name, p in like.module.named_parameters()}
        self.columns: dict[str, slice] = {}
        self.groups: list[Columns] = []
        end = 0
        for group in like.optimizer.param_groups:
            first = end
            for parameter in group["params"]:
                self.columns[names[id(parameter)]] = slice(end, end + parameter.numel())
                end += parameter.numel()
            own = [(self.columns[names[id(parameter)]], parameter.shape) for parameter in group["params"]]
            self.groups.append(Columns(slice(first, end), own, group.get("parts", 0)))
        self.betas, self.eps = (like.optimizer.param_groups[0][name] for name in ("betas", "eps"))
        self.weights, self.gradients, self.means, self.squares = (
            torch.zeros(places, end, dtype=next(like.module.parameters()).dtype, device=device) for _ in range(4)
        )
        self.averages = torch.zeros_like(self.weights) if like.average else None
        self.losses = torch.zeros(places, dtype=torch.float64, device=device)
        self.norms, self.scales = torch.zeros(places, device=device), torch.ones_like(self.weights[:, 0])
        self.members: list[Trainer] = []
        self.shares: list[Share] = []
        # Operations this small gain little from a second core, so that each core has members of its own instead, and
        # members share the cores out when these are more. (Threads that others start later have as few cores, too.)
        cores = torch.get_num_threads() if device.type == "cpu" else 1
        self.workers = min(places, cores)
        initializer = partial(torch.set_num_threads, cores // self.workers)
        self.pool = ThreadPoolExecutor(self.workers, initializer=initializer)
        # Gradients lie in rows as the weights do, which is what matters; torch would prefer them dense.
        warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")
        self.pass_limit = PASSES[device.type] * like.pass_limit
        self.compiles = device.type == "cuda" and 6 * end * places * like.plan[-1].budget > COMPILED_FLOPS
        self.learn: Callable[..., Tensor] = self.forward_backward
        self.update: Callable[[int, Tensor], None] = self.clip_and_update
        if device.type == "cuda":
            self.learn, self.update = Captured(self.learn), Captured(self.update)

    # -- who is where --------------------------------------------------------------------------------------------

    def seat(self, wanted: list[Trainer]) -> None:
        """Let those who are not wanted any more go, close the gaps, and let the new ones in."""
        if wanted == self.members:
            return
        stay = [self.members.index(trainer) for trainer in wanted if trainer in self.members]
        assert stay == sorted(stay), "members keep their order"
        for trainer in self.members:
            if trainer not in wanted:
                trainer.restored, trainer.record_time = lambda: None, trainer.record_own_time
                self.attach(trainer, None)
        for row, trainer in enumerate(wanted):  # in the order of the rows, so that nobody is overwritten
            self.attach(trainer, row)
            trainer.restored = partial(self.attach, trainer, row)
            trainer.record_time = self.record_time
        self.members = wanted

    def record_time(self, seconds: float) -> None:
        """Share out time in which any of the members was worked for."""
        for trainer in self.members:
            trainer.record_own_time(seconds / len(self.members))

    def attach(self, trainer: Trainer, row: int | None) -> None:
        """Make a trainer's parameters, AdamW state and sums views of a row, with the values that they have.

        Without a row they become tensors of their own again.
        """
        state, names = trainer.optimizer.state, dict(trainer.module.named_parameters())
        steps = torch.tensor(max((float(state[p]["step"]) for p in names.values() if state[p]), default=0.0))
        for name, parameter in names.items():
            known = state[parameter]
            for key, table in (("exp_avg", self.means), ("exp_avg_sq", self.squares)):
                known[key] = self.place(table, name, row, known.get(key, torch.zeros_like(parameter)))
            parameter.data = self.place(self.weights, name, row, parameter.data)
            known["step"] = steps if row is not None else steps.clone()
        if trainer.average and self.averages is not None:
            for name, parameter in trainer.average.module.named_parameters():
                parameter.data = self.place(self.averages, name, row, parameter.data)
        if row is None:
            trainer.loss_sum = trainer.loss_sum.clone()
            return
        self.scales[row] = dict(trainer.module.named_buffers()).get("potential.scale", 1.0)
        self.losses[row] = trainer.loss_sum
        trainer.loss_sum, trainer.gradient_norm = self.losses[row], self.norms[row]

    def place(self, table: Tensor, name: str, row: int | None, value: Tensor) -> Tensor:
        """The view of a parameter's columns in a row, holding `value`."""
        if row is None:
            return value.clone()
        view = table[row, self.columns[name]].view(value.shape)
        return view if view.data_ptr() == value.data_ptr() else view.copy_(value)

    def divide(self, size: int) -> None:
        """Cut the members into shares: one on a GPU, on a CPU at least one for each core, each about one pass.

        Args:
            size: of a member's step, in tokens or atoms.
        """
        members, count = len(self.members), 1
        if self.fabric.device.type == "cpu":
            count = min(members, self.workers * -(-members * size // (self.workers * self.pass_limit)))
        ends = [members * (share + 1) // count for share in range(count)]
        if ends == [share.rows.stop for share in self.shares]:
            return
        self.forget()
        self.shares = [Share(slice(*rows), self.module_of(*rows)) for rows in zip([0, *ends], ends, strict=False)]

    def module_of(self, first: int, last: int) -> nn.Module:
        """The model of the members in some rows, computed at once."""
        shapes = {name: p.shape for name, p in self.members[0].module.named_parameters()}
        # `data`, because autograd must not mind that other shares update their rows of the same table.
        tables = [table.data[first:last] for table in (self.weights, self.gradients)]
        parameters = {}
        for name, columns in self.columns.items():
            weights, gradients = (table[:, columns].view(-1, *shapes[name]) for table in tables)
            parameters[name] = nn.Parameter(weights)
            parameters[name].grad = gradients
        stacked = stacked_module(self.module, parameters, self.scales[first:last])
        if self.compiles:
            for layers in (part for part in stacked.modules() if isinstance(part, nn.ModuleList)):
                for layer in layers:
                    layer.compile(dynamic=True)
        return stacked

    # -- what they do together -----------------------------------------------------------------------------------

    def perform(self, steps: list[Step]) -> None:
        """Change the weights of all members by one step each; those who stay come in the order of the last time."""
        started = time.perf_counter()
        self.seat([step.trainer for step in steps])
        self.divide(steps[0].trainer.objective.unit_size * max(step.amount for step in steps))
        if self.workers == 1 or len(self.shares) == 1:
            for share in range(len(self.shares)):
                self.perform_share(share, steps)
        else:
            works = [partial(self.perform_share, share, steps) for share in range(len(self.shares))]
            for done in self.in_threads(works):
                done.result()
        self.record_time(time.perf_counter() - started)

    def in_threads(self, works: Sequence[Callable[[], None]]) -> list[Future[None]]:
        """Do independent work, a core for each; all of it has ended."""
        with self.fabric.autocast():  # that of fp64 is every thread's, so that it has to outlast theirs
            futures = [self.pool.submit(work) for work in works]
            try:
                wait(futures)
            finally:  # nobody works any more when an error is raised, nor after Ctrl-C
                wait([future for future in futures if not future.cancel()])
        return futures

    def perform_share(self, share: int, steps: list[Step]) -> None:
        """The part of `perform` that is one share's."""
        rows, device = self.shares[share].rows, self.fabric.device
        steps = steps[rows]
        weights = torch.tensor([1 / step.amount for step in steps]).to(device)
        objectives = [step.trainer.objective for step in steps]
        longest = max(step.amount for step in steps)  # the others are filled up
        while True:
            losses = torch.zeros(len(steps), dtype=torch.float64, device=device)
            parts = min(longest, -(-len(steps) * longest * objectives[0].unit_size // self.pass_limit))
            try:
                for part in range(parts):
                    batch = objectives[0].stacked(objectives, [step.items[part::parts] for step in steps])
                    losses += self.learn(share, batch, weights)
                break
            except torch.OutOfMemoryError:
                self.pass_limit //= 2
                self.gradients[rows].zero_()
                self.forget()
                torch.cuda.empty_cache()
                if self.pass_limit < 64 * len(steps):
                    raise
        self.losses[rows] += losses
        if device.type == "cpu":
            self.update_rows(rows)
        else:
            self.update(share, self.numbers(self.members[rows]).to(device))

    def forget(self) -> None:
        """Drop what was recorded."""
        for part in (self.learn, self.update):
            if isinstance(part, Captured):
                part.forget()

    def forward_backward(self, share: int, batch: Any, weights: Tensor) -> Tensor:
        """Add each member's gradient, times its weight; the summed losses (K,)."""
        with self.fabric.autocast():
            losses: Tensor = self.shares[share].module(batch)
        (losses * weights).sum().backward()
        return losses.detach()

    def numbers(self, members: list[Trainer]) -> Tensor:
        """What the update of each member needs: rates, decays, share in its average, clip, bias corrections."""
        columns = []
        for trainer in members:
            groups = trainer.optimizer.param_groups
            steps = trainer.optimizer.state[groups[0]["params"][0]]["step"]  # one tensor for all parameters
            steps += 1
            corrections = [1 - beta ** float(steps) for beta in self.betas]
            rates, decays = [group["lr"] for group in groups], [group["weight_decay"] for group in groups]
            share = trainer.average.count() if trainer.average else 0.0
            columns.append([*rates, *decays, share, trainer.clip, corrections[0], math.sqrt(corrections[1])])
        return torch.tensor(columns, dtype=self.weights.dtype).T.contiguous()[..., None]  # (2 G + 4, K, 1)

    @torch.no_grad()
    def update_rows(self, rows: slice) -> None:
        """`clip_and_update` on a CPU: a member at a time by torch's kernel, so that its row stays in the cache."""
        for row, trainer in enumerate(self.members[rows], rows.start):
            groups, gradients = trainer.optimizer.param_groups, self.gradients[row]
            steps = trainer.optimizer.state[groups[0]["params"][0]]["step"]  # one tensor for all parameters
            norm = torch.linalg.vector_norm(gradients)
            self.norms[row] = norm
            gradients *= (trainer.clip / (norm + 1e-6)).clamp(max=1)
            tables = self.weights, self.gradients, self.means, self.squares
            for group, columns in zip(groups, self.groups, strict=True):
                if columns.parts:
                    muon.change_rows(tables, row, columns, group["lr"], group["weight_decay"])
                    continue
                weight, gradient, mean, square = ([table[row, columns.all]] for table in tables)
                adamw(
                    weight, gradient, mean, square, [], [steps.clone()], fused=True, amsgrad=False, maximize=False,
                    lr=group["lr"], weight_decay=group["weight_decay"], beta1=self.betas[0], beta2=self.betas[1],
                    eps=self.eps,
                )  # fmt: skip
            steps += 1
            if trainer.average and self.averages is not None:
                self.averages[row].lerp_(self.weights[row], trainer.average.count())
            gradients.zero_()

    @torch.no_grad()
    def clip_and_update(self, share: int, numbers: Tensor) -> None:
        """AdamW (Loshchilov and Hutter 2019, Algorithm 2) or Muon, after clipping each gradient by its own norm."""
        rows, count = self.shares[share].rows, len(self.groups)
        share_of_average, clip, mean_correction, square_correction = numbers[-4:]
        gradients = self.gradients[rows]
        norms = torch.linalg.vector_norm(gradients, dim=1)
        self.norms[rows] = norms
        gradients *= (clip / (norms[:, None] + 1e-6)).clamp(max=1)
        tables = self.weights, self.gradients, self.means, self.squares
        for rate, decay, columns in zip(numbers[:count], numbers[count : 2 * count], self.groups, strict=True):
            if columns.parts:
                muon.change_rows(tables, rows, columns, rate[..., None], decay[..., None])
                continue
            weight, gradient, mean, square = (table[rows, columns.all] for table in tables)
            weight *= 1 - rate * decay
            mean.lerp_(gradient, 1 - self.betas[0])
            square.mul_(self.betas[1]).addcmul_(gradient, gradient, value=1 - self.betas[1])
            spread = torch.sqrt(square, out=gradient).add_(self.eps * square_correction)
            weight.addcmul_(torch.div(mean, spread, out=spread), -rate * square_correction / mean_correction)
        if self.averages is not None:
            self.averages[rows].lerp_(self.weights[rows], share_of_average)
        gradients.zero_()
