"""Does a trained force field conserve energy? 10 ps of NVE through ASE: see `--help`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from ase import Atoms
from tqdm import tqdm

from chemscale_bench.evaluation.dynamics import ForceFieldCalculator, conserve

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder with the `model` artifact of a run")
    parser.add_argument(
        "frames", help=".npz with the positions of the first frame to start from (coords or R, Angstrom)"
    )
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--temperature", type=float, default=500.0, help="of the initial velocities, K")
    given = parser.parse_args()
    with np.load(given.frames) as content:
        positions = content["coords" if "coords" in content else "R"][0]
    numbers = json.loads((Path(given.model) / "config.json").read_text())["numbers"]
    atoms = Atoms(numbers, positions, calculator=ForceFieldCalculator(given.model))
    with tqdm(total=round(given.picoseconds * 100) + 1, desc="NVE") as bar:
        found = conserve(
            atoms, picoseconds=given.picoseconds, temperature_k=given.temperature, tell=lambda _: bar.update()
        )
    print(
        f"{given.picoseconds:g} ps at {found.temperature_k:.0f} K: drift {found.drift_mev_per_atom_ps:+.4f} "
        f"meV/atom/ps, fluctuation {found.fluctuation_mev_per_atom:.4f} meV/atom"
    )
