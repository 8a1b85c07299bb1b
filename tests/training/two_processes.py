"""Trains the small model in every process that runs this, spread over them or not; for test_sharding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from small import SIZE, Log, make_molecules

from chemscale_bench.models.chemgpt import build_shape, parameter_groups
from chemscale_bench.models.sizes import Shape
from chemscale_bench.settings.chemgpt import ChemGPTSettings
from chemscale_bench.training import checkpoints, sharding
from chemscale_bench.training.devices import start_fabric
from chemscale_bench.training.language import LanguageObjective
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.schedules import segments

BUDGETS = [4000, 8000]


class Recorder(Log):
    """Keeps states; weights at budgets are parts here, and of no use."""

    def measure(self, budget: int) -> Any:
        return None


def main(chosen: Any, folder: Path, stop_at: int, start: str) -> None:
    """Leaves `state.pt` and `parts.txt` in a folder.

    Args:
        chosen: `none` or `full`.
        folder: takes them.
        stop_at: the step to stop at; 0 is never.
        start: the state to go on from, or nothing.
    """
    torch.set_num_threads(1)
    fabric = start_fabric(ChemGPTSettings(device="cpu"))
    model = build_shape(Shape(2, 32, 2), SIZE, "mutransfer", seed=0)
    if sharding.is_needed(chosen, model, fabric):
        sharding.spread(model, model.layers_to_compile(), fabric)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.002, 0.1, parametrization="mutransfer"), fused=True)
    objective = LanguageObjective(make_molecules(), 2, SIZE, 0, 400, torch.device("cpu"))
    log = Recorder(stop_at or None)
    log.trainer = trainer = Trainer(
        fabric, model, optimizer, objective, log, plan=segments(BUDGETS, 0.25), warmup=500, clip=1.0,
        report_every=900, save_seconds=1e9, pass_limit=256,
    )  # fmt: skip
    if start:
        trainer.resume(checkpoints.load_state(Path(start)))
    trainer.run()
    state = trainer.state()
    held = sum(sharding.own_part(value).numel() for part in optimizer.state.values() for value in part.values())
    total = sum(weight.numel() for weight in model.parameters())
    if fabric.is_global_zero:
        checkpoints.save_state(state, folder / "state.pt")
        (folder / "parts.txt").write_text(f"{held / total / 2}")  # AdamW keeps two numbers of a weight
