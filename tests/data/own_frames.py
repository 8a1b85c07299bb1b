"""Files of frames as users have them, for the tests of what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from chemscale_bench.data.frames import FrameSplit, prepare_frames

NUMBERS = np.array([8, 1, 1])
FRAMES = 30


def content(seed: int = 0) -> dict[str, np.ndarray]:
    """Thirty structures of water in Angstrom and eV, with made-up labels."""
    rng = np.random.default_rng(seed)
    water = np.array([[0, 0, 0.1], [0, 0.76, -0.5], [0, -0.76, -0.5]])
    return {
        "z": NUMBERS,
        "R": water + 0.1 * rng.normal(size=(FRAMES, 3, 3)),
        "E": rng.normal(-2000, 1, FRAMES),
        "F": rng.normal(size=(FRAMES, 3, 3)),
    }


def atoms_list(arrays: dict[str, np.ndarray]) -> list[Atoms]:
    listed = []
    for positions, energy, forces in zip(arrays["R"], arrays["E"], arrays["F"], strict=True):
        atoms = Atoms(arrays["z"], positions)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        listed.append(atoms)
    return listed


def prepare(path: Path, **changes: Any) -> FrameSplit:
    arguments = {"split": 1, "train_size": 10, "validation_frames": 5, "test_frames": 10}
    arguments |= {"molecule": "water", "energy_unit": "eV", "length_unit": "Angstrom", **changes}
    return prepare_frames(str(path), **arguments)  # type: ignore[arg-type]
