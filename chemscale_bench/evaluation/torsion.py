"""What it costs to turn a molecule about its bonds while all else stays: an upper bound of its barriers.

Shapes: T bonds that can be turned, N angles, A atoms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase.data import chemical_symbols

from chemscale_bench.evaluation.motion import Bonds
from chemscale_bench.evaluation.stretching import energies_of
from chemscale_bench.models.potential import Potential

ANGLES = np.arange(0, 361, 10)
"""Degrees from where the molecule rests; the last is the first again."""


class Turned(NamedTuple):
    """The bonds whose ends can be turned, each turned while lengths and angles stay as they are at rest."""

    names: list[str]  # C0-C1: atoms are numbered from 0
    energy_TN: np.ndarray  # eV above the lowest

    @property
    def metrics(self) -> dict[str, float]:
        """`torsion/barrier_ev/C0-C1` of each bond: from its lowest to its highest energy."""
        barriers = self.energy_TN.max(1, initial=0)
        return {f"torsion/barrier_ev/{name}": float(up) for name, up in zip(self.names, barriers, strict=True)}


def turn(
    potential: Potential, numbers: np.ndarray, positions_A3: np.ndarray, bonds: Bonds, charge: int = 0,
    unpaired: int = 0,
) -> Turned:  # fmt: skip
    """Turn one side of each bond that is in no ring and has atoms at both ends, those off its axis.

    Nothing is turned of a molecule that its bonds do not hold together, as where a proton moves from atom to atom.

    Args:
        potential: on any device.
        numbers: atomic numbers (A,).
        positions_A3: of the molecule at rest, in Angstrom.
        bonds: of the molecule.
        charge: of the molecule in e.
        unpaired: electrons without a partner.
    """
    pairs = [(int(first), int(second)) for first, second, _ in zip(*bonds, strict=True)]
    names, moved = [], []
    pairs = pairs if len(reached(0, pairs)) == len(numbers) else []
    for first, second in pairs:
        others = [pair for pair in pairs if pair != (first, second)]
        side = reached(second, others)
        ends = side, reached(first, others)
        if first in side or any(on_axis(positions_A3, first, second, sorted(end)) for end in ends):
            continue
        names.append("-".join(f"{chemical_symbols[numbers[atom]]}{atom}" for atom in (first, second)))
        moved.append(turned(positions_A3, first, second, sorted(side)))
    if not moved:
        return Turned([], np.zeros((0, len(ANGLES))))
    energy_TN = energies_of(potential, numbers, np.concatenate(moved), charge, unpaired).reshape(len(names), -1)
    return Turned(names, energy_TN - energy_TN.min(1, keepdims=True))


def reached(atom: int, pairs: list[tuple[int, int]]) -> set[int]:
    """The atoms that bonds connect with one, itself included."""
    found, look = {atom}, [atom]
    while look:
        here = look.pop()
        for pair in pairs:
            if here in pair and not found.issuperset(pair):
                look += set(pair) - found
                found |= set(pair)
    return found


def on_axis(positions_A3: np.ndarray, first: int, second: int, side: list[int]) -> bool:
    """Whether all atoms of a side lie on the line through a bond, within a few degrees."""
    axis_3 = positions_A3[second] - positions_A3[first]
    return bool((np.linalg.norm(np.cross(axis_3, positions_A3[side] - positions_A3[first]), axis=1) < 0.1).all())


def turned(positions_A3: np.ndarray, first: int, second: int, side: list[int]) -> np.ndarray:
    """Positions (N, A, 3) with the atoms of a side turned about the bond by each angle (Rodrigues' formula)."""
    axis_3 = positions_A3[second] - positions_A3[first]
    axis_3 = axis_3 / np.linalg.norm(axis_3)
    arm_S3 = positions_A3[side] - positions_A3[second]
    along_S3 = (arm_S3 @ axis_3)[:, None] * axis_3
    angle_N11 = np.deg2rad(ANGLES)[:, None, None]
    arms_NS3 = np.cos(angle_N11) * (arm_S3 - along_S3) + np.sin(angle_N11) * np.cross(axis_3, arm_S3) + along_S3
    positions_NA3 = np.repeat(positions_A3[None], len(ANGLES), 0)
    positions_NA3[:, side] = positions_A3[second] + arms_NS3
    return positions_NA3
