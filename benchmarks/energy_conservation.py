"""Does a trained force field conserve energy? 10 ps of NVE of one replica: see `--help`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from chemscale_bench.evaluation.distances import find_bonds
from chemscale_bench.evaluation.motion import PotentialForces, Start, move, steps_of
from chemscale_bench.evaluation.simulated import drift, masses_of, mean_temperature
from chemscale_bench.models import force_fields

TIMESTEP_FS = 0.5

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder with the `model` artifact of a run")
    parser.add_argument(
        "frames", help=".npz with positions (coords or R, Angstrom), of which the first is where it starts"
    )
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--temperature", type=float, default=500.0, help="of the initial velocities, K")
    given = parser.parse_args()
    with np.load(given.frames) as content:
        positions = content["coords" if "coords" in content else "R"]
    potential, record = force_fields.load(Path(given.model))
    numbers = np.array(record["numbers"])
    forces = PotentialForces(potential.double(), numbers, record.get("charge", 0), record.get("unpaired", 0))
    start = Start(positions[0], given.temperature, thermostat=False, seed=(0,))
    with tqdm(total=steps_of(given.picoseconds, TIMESTEP_FS), desc="NVE") as bar:
        motion = move(
            forces, masses_of(numbers), [start], find_bonds(numbers, positions), picoseconds=given.picoseconds,
            timestep_fs=TIMESTEP_FS, tell=lambda steps, _: bar.update(steps),
        )  # fmt: skip
    slope = drift(motion, 0, len(numbers))  # meV per atom and ns
    away = 1000 / len(numbers) * motion.total_energy_ev_RN[0] - slope * motion.time_ps_N / 1000
    kelvin = mean_temperature(motion, np.array([0]), 3 * len(numbers) - 6)
    print(
        f"{motion.simulated_ps:g} ps at {kelvin:.0f} K: drift {slope / 1000:+.4f} meV/atom/ps, fluctuation "
        f"{away.std():.4f} meV/atom"
    )
