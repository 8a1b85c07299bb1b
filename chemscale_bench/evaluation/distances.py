"""Which atoms are bonded, and how distances between atoms are distributed in simulated and in reference frames.

Shapes: F frames, A atoms, B bonds. Units: Angstrom.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from ase.data import chemical_symbols, covalent_radii

from chemscale_bench.data.structures import Frames, all_pairs, pair_distances
from chemscale_bench.evaluation.motion import BROKEN, Bonds

FRAMES = 2_000  # of the reference, at most
REACH = 1.25  # times the sum of two covalent radii is the longest bond
HOPPING = 2  # pairs of atoms at most that are bonded in some frames of one molecule and not in others
BIN = 0.05  # Angstrom, of h(r)
FARTHEST = 20.0  # Angstrom; what is farther counts there


def find_bonds(numbers: np.ndarray, positions_FA3: np.ndarray) -> Bonds:
    """The bonds of a molecule, by the median distances in reference frames, which are their lengths at equilibrium.

    A bond that the reference itself breaks, such as one of a proton that hops, says nothing on stability and is no
    part of it.
    """
    receivers_P, senders_P = all_pairs(len(numbers))
    distance_FP = pair_distances(positions_FA3[:FRAMES])
    median_P = np.median(distance_FP, axis=0)
    longest_P = longest_bonds(numbers)
    kept_P = np.abs(distance_FP - median_P).max(0) <= BROKEN
    chosen = np.flatnonzero((receivers_P < senders_P) & (median_P < longest_P) & kept_P)
    return Bonds(receivers_P[chosen], senders_P[chosen], median_P[chosen])


def longest_bonds(numbers: np.ndarray) -> np.ndarray:
    """How far apart two bonded atoms may be, for all pairs (P,)."""
    receivers_P, senders_P = all_pairs(len(numbers))
    return np.asarray(REACH * (covalent_radii[numbers[receivers_P]] + covalent_radii[numbers[senders_P]]))


def of_one_isomer(frames: Frames) -> Frames:
    """Those that are bonded as the first frame, where one formula holds several molecules, as in ANI-1x.

    A few pairs that are bonded in some frames only are a proton that hops or a bond that breaks: then all are kept.
    """
    receivers_P, senders_P = frames.pairs()
    bonded_FP = (pair_distances(frames.positions) < longest_bonds(frames.numbers))[:, receivers_P < senders_P]
    share_P = bonded_FP.mean(0)
    if ((share_P > 0.1) & (share_P < 0.9)).sum() <= HOPPING:
        return frames
    return frames.take(np.flatnonzero((bonded_FP == bonded_FP[0]).all(1)))


def bond_kinds(numbers: np.ndarray, bonds: Bonds) -> list[str]:
    """The two elements of each bond, such as C-H, in alphabetical order."""
    ends = [numbers[bonds.first_B], numbers[bonds.second_B]]
    return ["-".join(sorted(chemical_symbols[end] for end in pair)) for pair in zip(*ends, strict=True)]


def distance_histogram(positions_FA3: np.ndarray) -> np.ndarray:
    """h(r), the density of distances between any two atoms in bins of 0.05 Angstrom; sums to 1 over r."""
    bins = np.arange(0, FARTHEST + BIN, BIN)
    distances = np.minimum(pair_distances(positions_FA3), FARTHEST - BIN / 2)
    counts, _ = np.histogram(distances, bins)
    return np.asarray(counts / counts.sum() / BIN)


def histogram_mae(one: np.ndarray, other: np.ndarray) -> float:
    """The integral of |h(r) - h'(r)| over r (Fu et al. 2023): no unit, 0 for equal ones and 2 for disjoint ones."""
    return float(np.abs(one - other).sum() * BIN)


def bond_lengths(numbers: np.ndarray, bonds: Bonds, positions_FA3: np.ndarray) -> dict[str, np.ndarray]:
    """All lengths of the bonds of each kind, in Angstrom."""
    length_FB = bonds.lengths(torch.as_tensor(positions_FA3, dtype=torch.float64)).numpy()
    kinds = np.array(bond_kinds(numbers, bonds))
    return {str(kind): length_FB[:, kinds == kind].ravel() for kind in np.unique(kinds)}


def bond_errors(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, float]:
    """Wasserstein distance of the lengths of each kind of bond, in milli-Angstrom."""
    from scipy.stats import wasserstein_distance  # it takes long to load

    return {kind: 1000 * float(wasserstein_distance(one[kind], other[kind])) for kind in one}


def halves(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Two random halves of so many frames."""
    order = np.random.default_rng(0).permutation(frames)
    return order[: frames // 2], order[frames // 2 :]


class ReferenceFrames(NamedTuple):
    """What simulations are compared with: frames of the test set, and how far their two halves are apart."""

    numbers: np.ndarray  # (A,)
    bonds: Bonds
    histogram: np.ndarray  # h(r)
    lengths: dict[str, np.ndarray]  # Angstrom, by kind of bond
    histogram_halves: float  # MAE of h(r) of one random half of the frames to the other
    bond_halves: dict[str, float]  # milli-Angstrom, likewise

    @classmethod
    def of(cls, numbers: np.ndarray, positions_FA3: np.ndarray) -> ReferenceFrames:
        """Measure reference frames."""
        positions_FA3 = positions_FA3[:FRAMES]
        bonds = find_bonds(numbers, positions_FA3)
        apart, distances = math.nan, dict[str, float]()
        if len(positions_FA3) > 1:
            parts = [positions_FA3[half] for half in halves(len(positions_FA3))]
            apart = histogram_mae(*(distance_histogram(part) for part in parts))
            distances = bond_errors(*(bond_lengths(numbers, bonds, part) for part in parts))
        lengths = bond_lengths(numbers, bonds, positions_FA3)
        return cls(numbers, bonds, distance_histogram(positions_FA3), lengths, apart, distances)
