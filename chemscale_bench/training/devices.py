"""Where training runs, and in which arithmetic."""

from __future__ import annotations

import os
from typing import Literal

import torch
from lightning.fabric import Fabric

from chemscale_bench.settings.training import TrainingSettings

ARITHMETIC: dict[str, Literal["32-true", "bf16-mixed", "64-true"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp64": "64-true",
}


def start_fabric(settings: TrainingSettings) -> Fabric:
    """Fabric on the chosen device; under torchrun or Slurm it finds its peers by itself."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if settings.device == "auto" else settings.device
    precision = ("bf16" if device == "cuda" else "fp32") if settings.precision == "auto" else settings.precision
    local = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("SLURM_NTASKS_PER_NODE", "1")))
    world = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1")))
    fabric = Fabric(
        accelerator=device,
        devices=local,
        num_nodes=max(1, world // local),
        precision=ARITHMETIC[precision],
    )
    fabric.launch()
    return fabric
