"""What `simulate` asks of a force field: it relaxes its molecule, pulls and turns bonds, and moves replicas."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms

from chemscale_bench.data.structures import Frames
from chemscale_bench.evaluation.distances import ReferenceFrames
from chemscale_bench.evaluation.dynamics import ForceFieldCalculator, rest
from chemscale_bench.evaluation.motion import PotentialForces, Start, move, steps_of
from chemscale_bench.evaluation.simulated import Simulated, masses_of
from chemscale_bench.evaluation.stretching import stretch
from chemscale_bench.evaluation.torsion import turn
from chemscale_bench.models import force_fields
from chemscale_bench.progress import progress_bar
from chemscale_bench.settings.simulate import SimulateSettings


class Subject(NamedTuple):
    """A trained force field, and the test frames of its task."""

    name: str
    run_id: str
    """Of the run that trained it; empty for a folder."""
    force_mae: float
    folder: Path
    """With its config.json and model.safetensors."""
    test: Frames


def moved(settings: SimulateSettings, subject: Subject, reference: ReferenceFrames, device: torch.device) -> Simulated:
    """Relax, stretch, turn and simulate."""
    potential, _ = force_fields.load(subject.folder)
    potential.to(device)
    test = subject.test
    electrons = {"charge": test.charge, "unpaired": test.unpaired}
    at_rest = rest(Atoms(test.numbers, test.positions[0], calculator=ForceFieldCalculator(subject.folder, str(device))))
    pulled = stretch(potential, test.numbers, at_rest.positions_A3, reference.bonds, **electrons)
    turned = turn(potential, test.numbers, at_rest.positions_A3, reference.bonds, **electrons)
    starts = starts_of(settings, test)
    steps = steps_of(settings.picoseconds, settings.timestep_fs)
    with progress_bar(total=steps, desc=f"simulating {subject.name}", unit="step") as bar:

        def tell(done: int, intact: int) -> None:
            bar.set_postfix_str(f"{intact}/{len(starts)} intact", refresh=False)
            bar.update(done)

        begun = time.perf_counter()
        motion = move(
            PotentialForces(potential, test.numbers, **electrons), masses_of(test.numbers), starts, reference.bonds,
            picoseconds=settings.picoseconds, timestep_fs=settings.timestep_fs, device=device, tell=tell,
        )  # fmt: skip
        seconds = time.perf_counter() - begun
    return Simulated(subject.name, subject.run_id, subject.force_mae, starts, motion, at_rest, pulled, turned, seconds)


def starts_of(settings: SimulateSettings, test: Frames) -> list[Start]:
    """A start for each temperature, ensemble and replica, from test frames.

    What a replica draws depends on its seed, number, temperature and ensemble, not on what others there are.
    """
    starts = []
    for kelvin in settings.temperature:
        for thermostat in (True, False):
            for replica in range(settings.replicas):
                seed = (settings.seed, replica, round(1000 * kelvin), int(thermostat))
                frame = np.random.default_rng((settings.seed, replica)).integers(len(test))
                starts.append(Start(test.positions[frame], kelvin, thermostat, seed))
    return starts
