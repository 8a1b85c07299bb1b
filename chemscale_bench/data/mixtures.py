"""Frames of several molecules, whose numbers of atoms differ: all atoms one after another.

Shapes: F frames, N atoms of all of them, A atoms of a frame, P = A (A - 1) ordered pairs. Units: Angstrom, eV.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from chemscale_bench.data.structures import LABEL_GRID, POSITION_GRID, Frames, check_finite, formula_of
from chemscale_bench.errors import UserError


def spans(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The whole numbers start, ..., start + size - 1 of each pair, one after another."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(sizes.sum())


@dataclass(frozen=True)
class Mixture:
    """Structures of several neutral molecules, each with the fewest unpaired electrons, their energies and forces."""

    sizes: np.ndarray
    """Atoms of each frame (F,), int64."""
    numbers: np.ndarray
    """Atomic numbers (N,), int64."""
    positions: np.ndarray
    """(N, 3), float64, Angstrom."""
    energies: np.ndarray
    """(F,), float64, eV."""
    forces: np.ndarray
    """(N, 3), float64, eV/Angstrom; NaN where the frames have energies only."""
    names: tuple[str, ...]
    """What results call the molecule of each frame: its formula, or its name in a task."""

    def __len__(self) -> int:
        return len(self.energies)

    @cached_property
    def starts(self) -> np.ndarray:
        """The first atom of each frame (F,)."""
        return np.asarray(np.cumsum(self.sizes) - self.sizes)

    def take(self, indices: ArrayLike | slice) -> Mixture:
        """Some of the frames, in the order of `indices`."""
        chosen = np.arange(len(self))[indices] if isinstance(indices, slice) else np.asarray(indices, np.int64)
        atoms = spans(self.starts[chosen], self.sizes[chosen])
        return Mixture(
            self.sizes[chosen], self.numbers[atoms], self.positions[atoms], self.energies[chosen], self.forces[atoms],
            tuple(self.names[index] for index in chosen),
        )  # fmt: skip

    @property
    def has_forces(self) -> bool:
        """Whether there are forces, not energies only."""
        return not bool(np.isnan(self.forces).any())

    @cached_property
    def digest(self) -> str:
        """Sha256 (64 hex digits) of the content, on the grids of `Frames.digest`.

        Over little-endian int64: F, N, sizes, atomic numbers, positions, energies and forces.
        """
        digest = hashlib.sha256()
        for values, grid in (
            (np.array([len(self), len(self.numbers)]), 1),
            (self.sizes, 1),
            (self.numbers, 1),
            (self.positions, POSITION_GRID),
            (self.energies, LABEL_GRID),
            (self.forces if self.has_forces else np.zeros(0), LABEL_GRID),
        ):
            digest.update(np.rint(values * grid).astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def formula(self) -> str:
        """For people: the three most frequent molecules."""
        names = list(dict.fromkeys(self.names[frames[0]] for frames in self.alike))
        return " + ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    @cached_property
    def alike(self) -> list[np.ndarray]:
        """Frames that have the same atoms in the same order, and one name; the most frequent come first."""
        groups: dict[tuple[str, bytes], list[int]] = {}
        for frame, (name, start, size) in enumerate(zip(self.names, self.starts, self.sizes, strict=True)):
            groups.setdefault((name, self.numbers[start : start + size].tobytes()), []).append(frame)
        return [np.array(frames) for frames in sorted(groups.values(), key=len, reverse=True)]

    def molecule(self, frames: np.ndarray) -> Frames:
        """Frames that are `alike` by themselves."""
        atoms = self.starts[frames][:, None] + np.arange(self.sizes[frames[0]])
        numbers = self.numbers[atoms[0]]
        return Frames(
            numbers, self.positions[atoms], self.energies[frames], self.forces[atoms], 0, int(numbers.sum() % 2)
        )

    def molecules(self, most: int | None = None) -> list[Frames]:
        """Each molecule's frames by themselves, at most so many of the most frequent ones."""
        return [self.molecule(frames) for frames in self.alike[:most]]

    def nearest(self) -> np.ndarray:
        """Distance (F,) of the nearest two atoms of each frame."""
        nearest = np.empty(len(self))
        for frames in self.alike:
            nearest[frames] = self.molecule(frames).nearest()
        return nearest

    def keys(self) -> list[bytes]:
        """Atoms and positions of each frame, for a comparison."""
        keys = np.rint(self.positions * POSITION_GRID).astype(np.int64)
        return [
            self.numbers[start : start + size].tobytes() + keys[start : start + size].tobytes()
            for start, size in zip(self.starts, self.sizes, strict=True)
        ]

    def within(self, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ordered pairs of atoms nearer than `cutoff`: how many each frame has (F,), their receivers and senders (E,).

        Atoms are counted within their frame, and a frame's receivers ascend.
        """
        found = []
        for frames in self.alike:
            molecule = self.molecule(frames)
            row, pair = np.nonzero(molecule.within(cutoff))
            found.append((frames[row], *(atoms[pair].astype(np.int32) for atoms in molecule.pairs())))
        frame, receivers, senders = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(frame, kind="stable")
        return np.bincount(frame, minlength=len(self)), receivers[order], senders[order]

    @staticmethod
    def of(molecules: Sequence[Frames], names: Sequence[str] | None = None) -> Mixture:
        """One molecule's frames after another's.

        Args:
            molecules: neutral ones, with the fewest unpaired electrons.
            names: of the molecules; by default their formulas.
        """
        names = names or [molecule.formula for molecule in molecules]
        return Mixture(
            np.concatenate([np.full(len(each), len(each.numbers)) for each in molecules]),
            np.concatenate([np.tile(each.numbers, len(each)) for each in molecules]),
            np.concatenate([each.positions.reshape(-1, 3) for each in molecules]),
            np.concatenate([each.energies for each in molecules]),
            np.concatenate([each.forces.reshape(-1, 3) for each in molecules]),
            tuple(name for name, each in zip(names, molecules, strict=True) for _ in range(len(each))),
        )

    @staticmethod
    def joined(mixtures: Sequence[Mixture]) -> Mixture:
        """One after another."""
        sizes, numbers, positions, energies, forces = (
            np.concatenate([getattr(mixture, column) for mixture in mixtures])
            for column in ("sizes", "numbers", "positions", "energies", "forces")
        )
        names = tuple(name for mixture in mixtures for name in mixture.names)
        return Mixture(sizes, numbers, positions, energies, forces, names)

    @staticmethod
    def checked(
        sizes: np.ndarray, numbers: np.ndarray, positions: np.ndarray, energies: np.ndarray, forces: np.ndarray | None,
        origin: str, energy_scale: float = 1.0, length_scale: float = 1.0, force_scale: float | None = None,
    ) -> Mixture:  # fmt: skip
        """A mixture from arrays of the right shapes, in any units; the last four are those of `Frames.checked`.

        Raises:
            UserError: a frame of less than two atoms, no atomic numbers, or values that are not finite, with the first
                such frame.
        """
        few = np.flatnonzero(sizes < 2)
        if len(few):
            raise UserError(
                f"a molecule must have at least two atoms, frame {few[0]} of {origin} has {sizes[few[0]]}; remove such "
                f"frames ({len(few)} of {len(sizes)})"
            )
        whole = numbers.astype(np.int64)
        if (whole != numbers).any() or ((whole < 1) | (whole > 118)).any():
            raise UserError(
                f"atomic numbers must be whole numbers from 1 to 118, {origin} has values from {numbers.min()} to "
                f"{numbers.max()}; correct the file"
            )
        ends = np.cumsum(sizes)
        mixture = Mixture(
            sizes, whole, positions.astype(np.float64) * length_scale, energies.astype(np.float64) * energy_scale,
            np.full(positions.shape, np.nan) if forces is None
            else forces.astype(np.float64) * (force_scale or energy_scale / length_scale),
            tuple(formula_of(whole[end - size : end]) for end, size in zip(ends, sizes, strict=True)),
        )  # fmt: skip
        frame_N = np.repeat(np.arange(len(sizes)), sizes)
        for name in ("positions", "energies", *(["forces"] if forces is not None else [])):
            values = getattr(mixture, name)
            check_finite(name, values, np.arange(len(sizes)) if values.ndim == 1 else frame_N, len(sizes), origin)
        return mixture


FrameSet = Frames | Mixture


def as_mixture(frames: FrameSet) -> Mixture:
    """The frames as a mixture, be it of one molecule."""
    return frames if isinstance(frames, Mixture) else Mixture.of([frames])
