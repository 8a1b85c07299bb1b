"""Many small force fields as one stack against the same ones one after another.

Run: `python -m pytest benchmarks/speed/test_stacked_forces.py -s`. Both sides are our own loop with all that a run's
steps do, clipping and the running average of the weights too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from test_force_fields import CUTOFF, DEVICE, WEIGHTS, Silent, clock, elements_of, frames_of

from chemscale_bench.data import structures
from chemscale_bench.models.force_fields import build, config_for
from chemscale_bench.speed.measurements import Row
from chemscale_bench.training.averaging import RunningAverage
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.forces import ForceLoss, ForceObjective, FramesOnDevice
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.schedules import segments
from chemscale_bench.training.stacked import Stack

MEMBERS, ROUNDS, SECONDS_A_SIDE = 16, 5, 1.0


@pytest.mark.parametrize(("params", "batch_frames"), [(10_000, 10), (10_000, 16), (100_000, 10)])
@pytest.mark.parametrize("name", ["schnet", "painn"])
def test_steps_per_second(name: str, params: int, batch_frames: int, record_row: Callable[..., Row]) -> None:
    """Goal: 2 times on two CPU cores with 16 members."""
    frames = frames_of("ethanol")
    labels = structures.Frames(frames.numbers_A.cpu().numpy(), *(part.cpu().double().numpy() for part in frames[1:]))
    elements = elements_of(frames)
    config = config_for(name, params, elements, cutoff=CUTOFF)

    def trainer(seed: int) -> Trainer:
        loss = ForceLoss(build(name, config, elements, seed), WEIGHTS[1], WEIGHTS[0]).to(DEVICE)
        objective = ForceObjective(
            FramesOnDevice(labels, CUTOFF, 0.0, DEVICE, torch.float32), seed, batch_frames, diverged_loss=float("inf")
        )
        return Trainer(
            Fabric(accelerator=DEVICE.type, devices=1), loss, torch.optim.AdamW(loss.parameters(), fused=True),
            objective, Silent(), plan=segments([10**9], 0.5), warmup=100, clip=10.0, report_every=10**6,
            save_seconds=1e9, pass_limit=4_096, average=RunningAverage(loss, 0.99),
        )  # fmt: skip

    alone, together = trainer(0), [trainer(seed) for seed in range(MEMBERS)]
    stack = Stack(MEMBERS, together[0])
    own, each = alone.steps_due(), [member.steps_due() for member in together]

    def one() -> None:
        alone.perform(next(own))

    def all_of_them() -> None:
        stack.perform([next(steps) for steps in each])

    def rate(step: Callable[[], None], members: int) -> float:
        start, done = clock(), 0
        while time.perf_counter() - start < SECONDS_A_SIDE:
            step()
            done += members
        return done / (clock() - start)

    for _ in range(4):  # what is allocated, and on a GPU recorded
        one()
        all_of_them()
    pairs = [(rate(all_of_them, MEMBERS), rate(one, 1)) for _ in range(ROUNDS)]
    stacked, single = zip(*pairs, strict=True)
    what = f"{MEMBERS} stacked {name} of {params:,}, {batch_frames} frames a step"
    record_row(what, "steps/s", stacked, "one by one", single)
