"""A small language model with something to learn, for the tests of training."""

from collections.abc import Generator
from typing import Any

import numpy as np
import torch

from chemscale_bench.data.store import Molecules
from chemscale_bench.models.chemgpt import build_shape, parameter_groups
from chemscale_bench.models.parametrization import Optimizer
from chemscale_bench.models.sizes import Shape
from chemscale_bench.training.contracts import Report
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.language import LanguageObjective
from chemscale_bench.training.learner import Due
from chemscale_bench.training.loop import Diverged, Trainer
from chemscale_bench.training.muon import Muon
from chemscale_bench.training.schedules import segments
from chemscale_bench.training.stacked import Stack

SIZE = 12


def make_molecules() -> Molecules:
    """Molecules with something to learn: each symbol follows from the one before."""
    rng = np.random.default_rng(0)
    tokens, lengths = [], rng.integers(5, 40, 400)
    for length in lengths:
        body = (5 + (rng.integers(7) + np.arange(length - 1)) % 7).astype(np.uint16)
        tokens.append(np.append(body, 3).astype(np.uint16))
    return Molecules(np.concatenate(tokens), np.cumsum([0, *lengths]), lengths.astype(np.uint16), "digest")


class Log:
    """Keeps what the loop tells; asks to stop at a given step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.reports: list[Report] = []
        self.budgets: dict[int, dict[str, torch.Tensor]] = {}
        self.states: list[dict[str, Any]] = []
        self.trainer: Trainer | None = None
        self.stop_at = stop_at

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def measure(self, budget: int) -> dict[str, torch.Tensor]:
        assert self.trainer
        return {k: v.clone() for k, v in self.trainer.module.state_dict().items()}

    def budget_reached(self, budget: int, measured: dict[str, torch.Tensor]) -> None:
        self.budgets[budget] = measured

    def save(self, state: dict[str, Any]) -> None:
        self.states.append(state)

    def stop_requested(self) -> str | None:
        assert self.trainer
        return "asked" if self.trainer.steps == self.stop_at else None


def trainer(
    molecules: Molecules, log: Log, budgets: list[int], rate: float = 0.002, pass_limit: int = 4096, *,
    seed: int = 0, weight_decay: float = 0.1, batch: int | None = 400, clip: float = 1.0, device: str = "cpu",
    captures: bool = True, precision: Any = "32-true", optimizer: Optimizer = "adamw",
) -> Trainer:  # fmt: skip
    model = build_shape(Shape(2, 32, 2), SIZE, "mutransfer", seed=seed)
    groups = parameter_groups(model, rate, weight_decay, optimizer=optimizer, parametrization="mutransfer")
    rule = (Muon if optimizer == "muon" else torch.optim.AdamW)(groups, fused=True)
    objective = LanguageObjective(molecules, 2, SIZE, seed, batch, torch.device(device))
    log.trainer = Trainer(
        Fabric(accelerator=device, devices=1, precision=precision), model, rule, objective, log,
        plan=segments(budgets, 0.25), warmup=500, clip=clip, report_every=900, save_seconds=1e9, pass_limit=pass_limit,
        captures=captures,
    )  # fmt: skip
    return log.trainer


def update_as_on_a_gpu(stack: Stack, rows: slice) -> None:
    """In the place of `Stack.update_rows`: what a GPU does, all members at once."""
    share = [share.rows for share in stack.shares].index(rows)
    stack.update(share, stack.numbers(stack.members[rows]))


def forgiven(steps: Generator[Due, None, None]) -> Generator[Due, None, None]:
    """A member that diverges ends; the others go on."""
    try:
        yield from steps
    except Diverged:
        return
