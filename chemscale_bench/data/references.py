"""What is subtracted from the energies of molecules before a model learns them: their labels lie near -4,000 eV.

Shapes: F frames, Z elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from chemscale_bench.data.mixtures import FrameSet, Mixture
from chemscale_bench.data.plausible import total_energy
from chemscale_bench.data.structures import Frames

TOTAL = 0.1  # relative error of the estimated total energies, up to which labels are taken for total energies


class ReferenceEnergies(NamedTuple):
    """A constant of the molecule, and an energy of each of its atoms, in eV."""

    constant_ev: float
    atomic_ev: Mapping[int, float] = {}
    """By atomic number; empty where the constant is all."""

    def of(self, numbers: Iterable[int]) -> float:
        """Of a molecule with these atomic numbers."""
        return self.constant_ev + sum(self.atomic_ev[int(number)] for number in numbers if self.atomic_ev)

    def energies(self, frames: FrameSet) -> np.ndarray:
        """Of each frame (F,)."""
        if isinstance(frames, Frames):
            return np.full(len(frames), self.of(frames.numbers))
        counts_FZ, elements = composition(frames)
        of_element = np.array([self.atomic_ev[number] if self.atomic_ev else 0.0 for number in elements])
        return np.asarray(self.constant_ev + counts_FZ @ of_element)

    def record(self) -> dict[str, Any]:
        """As config.json of a model holds it."""
        atomic = {str(number): energy for number, energy in self.atomic_ev.items()}
        return {"reference_ev": self.constant_ev} | ({"atomic_reference_ev": atomic} if atomic else {})

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ReferenceEnergies:
        """Of the config.json of a model."""
        atomic = record.get("atomic_reference_ev", {})
        return cls(float(record["reference_ev"]), {int(number): float(energy) for number, energy in atomic.items()})


def composition(frames: Mixture) -> tuple[np.ndarray, list[int]]:
    """How many atoms of each element each frame has (F, Z), and the elements' atomic numbers (Z,), ascending."""
    elements, which_N = np.unique(frames.numbers, return_inverse=True)
    frame_N = np.repeat(np.arange(len(frames)), frames.sizes)
    counts = np.bincount(frame_N * len(elements) + which_N, minlength=len(frames) * len(elements))
    return counts.reshape(len(frames), -1).astype(float), elements.tolist()


def fit_reference(frames: FrameSet) -> tuple[ReferenceEnergies, tuple[str, ...]]:
    """The mean energy of one molecule; of several, energies of their elements by least squares.

    Where the molecules leave element energies open, as two molecules of three elements do, these are as near as can be
    to estimated total energies of free atoms if the labels are total energies, and to zero if they are not.

    Args:
        frames: for training.

    Returns:
        The reference, and notes for a reader.
    """
    if isinstance(frames, Frames):
        return ReferenceEnergies(float(frames.energies.mean())), ()
    counts_FZ, elements = composition(frames)
    near_Z = np.array([total_energy(np.array([number])) for number in elements])
    if abs(np.median(frames.energies / (counts_FZ @ near_Z)) - 1) > TOTAL:
        near_Z = np.zeros(len(elements))
    change_Z, _, rank, _ = np.linalg.lstsq(counts_FZ, frames.energies - counts_FZ @ near_Z, rcond=None)
    reference = ReferenceEnergies(0.0, dict(zip(elements, (near_Z + change_Z).tolist(), strict=True)))
    if rank == len(elements):
        return reference, ()
    note = (
        f"{len(elements)} elements in {rank} independent compositions: energies of molecules that do not combine these "
        "are off by an unknown constant, forces are not"
    )
    return reference, (note,)
