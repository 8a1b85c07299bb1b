"""Frames of one molecule: its atoms, and for each structure the positions, the energy and the forces.

Shapes: F frames, A atoms, P = A (A - 1) ordered pairs. Units: Angstrom, eV.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from chemscale_bench.errors import UserError

POSITION_GRID = 1e8  # per Angstrom: rMD17's positions have eight decimals
LABEL_GRID = 1e6  # per eV and per eV/Angstrom
LARGEST = 1e10  # in any unit here; what is larger cannot be meant, and would not fit the grids
CHUNK_FRAMES = 1000  # bounds the memory for distances


@dataclass(frozen=True)
class Frames:
    """Structures of one molecule with their energies and forces. F frames, A atoms."""

    numbers: np.ndarray
    """Atomic numbers (A,), int64."""
    positions: np.ndarray
    """(F, A, 3), float64, Angstrom."""
    energies: np.ndarray
    """(F,), float64, eV."""
    forces: np.ndarray
    """(F, A, 3), float64, eV/Angstrom; NaN where the frames have energies only."""
    charge: int = 0
    """Of the molecule, in e."""
    unpaired: int = 0
    """Electrons without a partner, the multiplicity less 1."""

    def __len__(self) -> int:
        return len(self.energies)

    def take(self, indices: ArrayLike | slice) -> Frames:
        """Some of the frames, in the order of `indices`."""
        chosen = indices if isinstance(indices, slice) else np.asarray(indices, np.int64)
        part = {name: getattr(self, name)[chosen] for name in ("positions", "energies", "forces")}
        return replace(self, **part)

    @property
    def has_forces(self) -> bool:
        """Whether there are forces, not energies only."""
        return not bool(np.isnan(self.forces).any())

    @cached_property
    def digest(self) -> str:
        """Sha256 (64 hex digits) of the content, whatever file and units it came from.

        Over little-endian int64: F, A, atomic numbers; then, each rounded to a whole number (half to even) after
        multiplication, positions * 1e8, energies * 1e6 and forces * 1e6, in the order of the frames; then charge and
        unpaired electrons if there are any. Forces that are missing are left out.
        """
        digest = hashlib.sha256()
        for values, grid in (
            (np.array(self.forces.shape[:2]), 1),
            (self.numbers, 1),
            (self.positions, POSITION_GRID),
            (self.energies, LABEL_GRID),
            (self.forces if self.has_forces else np.zeros(0), LABEL_GRID),
            (np.array([self.charge, self.unpaired] if self.charge or self.unpaired else []), 1),
        ):
            digest.update(np.rint(values * grid).astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def formula(self) -> str:
        """For people: C2H6O."""
        return formula_of(self.numbers)

    def molecules(self, most: int | None = None) -> list[Frames]:
        """These frames: they are of one molecule."""
        return [self][:most]

    def nearest(self) -> np.ndarray:
        """Distance (F,) of the nearest two atoms of each frame."""
        return np.asarray(pair_distances(self.positions).min(axis=1))

    def keys(self) -> list[bytes]:
        """Positions of each frame, for a comparison."""
        return [row.tobytes() for row in np.rint(self.positions * POSITION_GRID).astype(np.int64)]

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """`all_pairs` of its atoms."""
        return all_pairs(len(self.numbers))

    def within(self, cutoff: float) -> np.ndarray:
        """Which ordered pairs of `all_pairs` are nearer than `cutoff` in Angstrom, (F, P) bool."""
        return np.asarray(pair_distances(self.positions) < cutoff)

    @staticmethod
    def checked(
        numbers: ArrayLike,
        positions: ArrayLike,
        energies: ArrayLike,
        forces: ArrayLike | None,
        origin: str,
        energy_scale: float = 1.0,
        length_scale: float = 1.0,
        force_scale: float | None = None,
    ) -> Frames:
        """Frames from arrays that may be anything.

        Args:
            numbers: atomic numbers (A,), or (F, A) with equal rows.
            positions: (F, A, 3).
            energies: (F,) or (F, 1).
            forces: (F, A, 3), in units of energy per length; None where there are none.
            origin: for errors.
            energy_scale: eV per unit of energy in the arrays.
            length_scale: Angstrom per unit of length in the arrays.
            force_scale: eV/Angstrom per unit of force in the arrays, if that is not energy per length.

        Raises:
            UserError: wrong shapes, several molecules, no atoms that could interact, no frames, or values that are not
                finite, with the first such frame.
        """
        given = ["positions", "energies", *(["forces"] if forces is not None else [])]
        forces = np.full(np.shape(positions), np.nan) if forces is None else forces
        numbers, positions, energies, forces = (np.asarray(a) for a in (numbers, positions, energies, forces))
        named = {"numbers": numbers, "positions": positions, "energies": energies, "forces": forces}
        for name, values in named.items():
            if values.dtype.kind not in "iuf":
                raise UserError(f"{name} must be numbers, {origin} has {values.dtype}; write them as float64")
        numbers = _one_molecule(numbers, origin)
        if energies.ndim == 2 and energies.shape[1] == 1:
            energies = energies[:, 0]
        shape = (len(positions) if positions.ndim else 0, len(numbers), 3)
        if not (positions.shape == forces.shape == shape and energies.shape == shape[:1]):
            raise UserError(
                f"positions and forces must be (frames, atoms, 3), energies (frames,) and atomic numbers (atoms,), "
                f"{origin} has {positions.shape}, {forces.shape}, {energies.shape} and {numbers.shape}; reshape them"
            )
        if not len(positions):
            raise UserError(f"{origin} must hold at least one frame, got none; check how it was written")
        if len(numbers) < 2:
            raise UserError(f"a molecule must have at least two atoms, {origin} has {len(numbers)}; give another one")
        frames = Frames(
            numbers,
            positions.astype(np.float64) * length_scale,
            energies.astype(np.float64) * energy_scale,
            forces.astype(np.float64) * (force_scale or energy_scale / length_scale),
        )
        for name in given:
            check_finite(name, getattr(frames, name), np.arange(len(frames)), len(frames), origin)
        return frames


def check_finite(name: str, values: np.ndarray, frame_of: np.ndarray, frames: int, origin: str) -> None:
    """Refuse values that cannot be meant.

    Args:
        name: of the values.
        values: some for each row of the first axis.
        frame_of: the frame of each row.
        frames: how many there are.
        origin: for errors.

    Raises:
        UserError: naming the first frame with such a value.
    """
    values = values.reshape(len(values), -1)
    fine = np.abs(values) < LARGEST
    if not fine.all():
        row, at = np.argwhere(~fine)[0]
        spoiled = len(np.unique(frame_of[~fine.all(axis=1)]))
        raise UserError(
            f"{name} must be finite (and below {LARGEST:g}), frame {frame_of[row]} of {origin} has "
            f"{values[row, at]}; remove such frames ({spoiled} of {frames})"
        )


def formula_of(numbers: np.ndarray) -> str:
    """For people: C2H6O."""
    from ase.data import chemical_symbols

    counts = Counter(chemical_symbols[number] for number in numbers)
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in sorted(counts.items()))


def _one_molecule(numbers: np.ndarray, origin: str) -> np.ndarray:
    """Atomic numbers (A,) as int64."""
    if numbers.ndim == 2 and len(numbers):
        differs = (numbers != numbers[0]).any(axis=1)
        if differs.any():
            raise UserError(
                f"all frames must be of one molecule with its atoms in one order, frame {differs.argmax()} of {origin} "
                "differs from frame 0; write one file per molecule"
            )
        numbers = numbers[0]
    whole = numbers.astype(np.int64)
    if numbers.ndim != 1 or (whole != numbers).any() or ((whole < 1) | (whole > 118)).any():
        raise UserError(
            f"atomic numbers must be one row of whole numbers from 1 to 118, {origin} has shape {numbers.shape} "
            f"with values from {numbers.min(initial=0)} to {numbers.max(initial=0)}; correct the file"
        )
    return whole


def all_pairs(atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Receivers and senders (A (A - 1),), int64, of all ordered pairs of different atoms, receivers ascending."""
    receivers, senders = np.nonzero(~np.eye(atoms, dtype=bool))
    return receivers.astype(np.int64), senders.astype(np.int64)


def pair_distances(positions: np.ndarray) -> np.ndarray:
    """Distance (F, P), in the unit of the positions (F, A, 3), of every ordered pair of `all_pairs`."""
    receivers, senders = all_pairs(positions.shape[1])
    chunks = (positions[start : start + CHUNK_FRAMES] for start in range(0, len(positions), CHUNK_FRAMES))
    return np.concatenate([np.linalg.norm(chunk[:, senders] - chunk[:, receivers], axis=-1) for chunk in chunks])
