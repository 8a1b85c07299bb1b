"""Many small force fields at once against the same ones after another, on a CPU.

Run: `python -m pytest benchmarks/speed/test_stacked_forces.py -s`. One by one is our own loop. Beside it stand that
loop on threads, a member on each core; a stack, a prototype by `torch.func` whose weights are batched; and a part of
the stack on each core. A stack does less than the loop here (no clipping, no running average): its gain is a limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from test_force_fields import CUTOFF, WEIGHTS, Silent, elements_of, frames_of
from torch import Tensor
from torch.func import functional_call, grad, grad_and_value, stack_module_state, vmap

from chemscale_bench.data import structures
from chemscale_bench.measurements import Row
from chemscale_bench.models.force_fields import build, config_for
from chemscale_bench.models.potential import Potential, energy_and_forces
from chemscale_bench.training.averaging import RunningAverage
from chemscale_bench.training.forces import ForceBatch, ForceLoss, ForceObjective, FramesOnDevice
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.schedules import segments

MEMBERS, ROUNDS, SECONDS_A_SIDE = 16, 5, 1.0
CPU = torch.device("cpu")


class StackedPotentials:
    """Potentials of one size that learn together, each from a batch of its own."""

    def __init__(self, members: list[Potential]) -> None:
        self.like = members[0]
        self.parameters, self.buffers = stack_module_state(members)  # type: ignore[arg-type]
        self.optimizer = torch.optim.AdamW(self.parameters.values(), fused=True)

    def energy_and_forces(self, state: Any, batch: ForceBatch, positions_A3: Tensor) -> tuple[Tensor, Tensor]:
        """One member's, as `models.potential.energy_and_forces`."""

        def summed(positions_A3: Tensor) -> tuple[Tensor, Tensor]:
            graph = batch.graph._replace(positions_A3=positions_A3)
            energy_B: Tensor = functional_call(self.like, state, (graph,))
            return energy_B.sum(), energy_B

        gradient_A3, energy_B = grad(summed, has_aux=True)(positions_A3)
        return energy_B, -gradient_A3

    def all_forces(self, batches: list[ForceBatch]) -> Tensor:
        """Of every member on its batch, (K, A, 3)."""

        def forces(*member: Any) -> Tensor:
            return self.energy_and_forces(member[:2], batches[0], member[2])[1]

        positions = torch.stack([batch.graph.positions_A3 for batch in batches])
        stacked: Tensor = vmap(forces)(self.parameters, self.buffers, positions)
        return stacked

    def step(self, batches: list[ForceBatch]) -> None:
        """One step of all; every pair of atoms is an edge, so that the graphs differ in their positions only."""
        rows = [(batch.graph.positions_A3, batch.energy_B, batch.forces_A3) for batch in batches]
        data = [torch.stack(each) for each in zip(*rows, strict=True)]

        def loss(parameters: Any, buffers: Any, positions_A3: Tensor, energy_B: Tensor, forces_A3: Tensor) -> Tensor:
            energies, forces = self.energy_and_forces((parameters, buffers), batches[0], positions_A3)
            errors = (energies - energy_B).square().mean(), (forces - forces_A3).square().mean()
            return (WEIGHTS[0] * errors[0] + WEIGHTS[1] * errors[1]) / buffers["scale"].square()

        gradients, _ = vmap(grad_and_value(loss))(self.parameters, self.buffers, *data)
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name]
        self.optimizer.step()


@pytest.mark.parametrize(("params", "batch_frames"), [(10_000, 10), (10_000, 16), (100_000, 10)])
@pytest.mark.parametrize("name", ["schnet", "painn"])
def test_steps_per_second(name: str, params: int, batch_frames: int, record_row: Callable[..., Row]) -> None:
    """Goal: 2 times, from which on stacks of force fields would be built."""
    if torch.cuda.is_available():
        pytest.skip("is about processors")
    frames = frames_of("ethanol")
    labels = structures.Frames(frames.numbers_A.numpy(), *(part.double().numpy() for part in frames[1:]))
    elements = elements_of(frames)
    config = config_for(name, params, elements, cutoff=CUTOFF)

    def data(every_pair: bool) -> FramesOnDevice:
        out = FramesOnDevice(labels, CUTOFF, 0.0, CPU, torch.float32)
        out.every_pair = every_pair
        return out

    def member(seed: int) -> Callable[[], None]:
        loss = ForceLoss(build(name, config, elements, seed), WEIGHTS[1], WEIGHTS[0])
        trainer = Trainer(
            Fabric(accelerator="cpu", devices=1), loss, torch.optim.AdamW(loss.parameters(), fused=True),
            ForceObjective(data(every_pair=False), seed, batch_frames, float("inf")), Silent(),
            plan=segments([10**9], 0.5), warmup=100, clip=10.0, report_every=10**6, save_seconds=1e9,
            pass_limit=4_096, average=RunningAverage(loss, 0.99),
        )  # fmt: skip
        due = trainer.steps_due()
        return lambda: trainer.perform(next(due))

    potentials = [build(name, config, elements, seed) for seed in range(MEMBERS)]
    stack, all_pairs, rng = StackedPotentials(potentials), data(every_pair=True), np.random.default_rng(0)

    def batches(members: int) -> list[ForceBatch]:
        return [all_pairs.batch(rng.integers(len(all_pairs), size=batch_frames)) for _ in range(members)]

    first = batches(MEMBERS)
    alone = [energy_and_forces(*each, False)[1] for each in zip(potentials, [b.graph for b in first], strict=True)]
    torch.testing.assert_close(stack.all_forces(first), torch.stack(alone), rtol=1e-4, atol=1e-5)

    threads = torch.get_num_threads()
    one, others = member(0), [member(seed) for seed in range(MEMBERS)]
    shares = [(StackedPotentials(own), len(own)) for own in (potentials[core::threads] for core in range(threads))]
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    steps: dict[str, tuple[Callable[[], object], int]] = {
        "one by one": (one, 1),
        "one on each core": (lambda: list(pool.map(lambda step: step(), others)), MEMBERS),
        "stacked": (lambda: stack.step(batches(MEMBERS)), MEMBERS),
        "a stack on each core": (lambda: list(pool.map(lambda own: own[0].step(batches(own[1])), shares)), MEMBERS),
    }

    def rate(step: Callable[[], object], members: int) -> float:
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS_A_SIDE:
            step()
            done += members
        return done / (time.perf_counter() - start)

    for step, _ in steps.values():
        step(), step()
    rounds = [{way: rate(*each) for way, each in steps.items()} for _ in range(ROUNDS)]
    for way in list(steps)[1:]:
        what = f"{MEMBERS} {name} of {params:,}, batch {batch_frames}, {way}"
        ours, single = ([rates[key] for rates in rounds] for key in (way, "one by one"))
        record_row(what, "steps/s", ours, "one by one", single)
