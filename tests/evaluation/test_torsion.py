"""Turning bonds: which can be, what stays as it is, and a barrier in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from chemscale_bench.data.frames import EMBEDDED
from chemscale_bench.evaluation.distances import find_bonds
from chemscale_bench.evaluation.motion import Bonds
from chemscale_bench.evaluation.torsion import ANGLES, turn, turned
from chemscale_bench.models.potential import Graph, Potential

PEROXIDE = np.array([1, 8, 8, 1])
POSITIONS = np.array([[0.8, 0.5, 0.0], [0, 0, 0], [0, 0, 1.4], [0.9, 0.2, 1.7]])  # Angstrom


class Ends(Potential):
    """0.3 eV per square Angstrom between hydrogens."""

    def __init__(self) -> None:
        super().__init__(cutoff=20.0)

    def atomic_energies(self, graph: Graph) -> Tensor:
        ends_E = (graph.numbers_A[graph.receivers_E] == 1) & (graph.numbers_A[graph.senders_E] == 1)
        energy_E = ends_E * (0.15 * graph.displacements().square().sum(1))  # an edge in each direction
        return energy_E.new_zeros(len(graph.numbers_A)).index_add(0, graph.receivers_E, energy_E)


def chain(*pairs: tuple[int, int]) -> Bonds:
    first, second = np.array(pairs).T
    return Bonds(first, second, np.ones(len(pairs)))


def test_the_barrier_is_that_of_the_potential() -> None:
    """The squared distance of two points that turn about an axis changes by 4 times the product of their arms."""
    found = turn(Ends().double(), PEROXIDE, POSITIONS, chain((0, 1), (1, 2), (2, 3)))
    assert found.names == ["O1-O2"]
    arms = np.hypot(*POSITIONS[0, :2]), np.hypot(*POSITIONS[3, :2])
    between = np.arctan2(*POSITIONS[3, 1::-1]) - np.arctan2(*POSITIONS[0, 1::-1])
    expected = 0.3 * 2 * arms[0] * arms[1] * (1 - np.cos(between + np.deg2rad(ANGLES)))
    assert found.energy_TN[0] == pytest.approx(expected - expected.min(), abs=1e-9)
    assert found.metrics == {"torsion/barrier_ev/O1-O2": pytest.approx(0.3 * 4 * arms[0] * arms[1], rel=0.01)}


def test_lengths_and_angles_stay() -> None:
    made = turned(POSITIONS, 1, 2, [2, 3])
    assert made[-1] == pytest.approx(made[0])
    for pair in ((0, 1), (1, 2), (2, 3), (0, 2), (1, 3)):
        apart = np.linalg.norm(made[:, pair[0]] - made[:, pair[1]], axis=1)
        assert apart == pytest.approx(np.full(len(ANGLES), apart[0]))
    assert np.ptp(np.linalg.norm(made[:, 0] - made[:, 3], axis=1)) > 0.5


def test_of_ethanol_two_bonds_turn_and_of_rings_those_outside() -> None:
    with np.load(EMBEDDED) as frames:
        numbers, positions = frames["ethanol_numbers"], frames["ethanol_positions"]
    bonds = find_bonds(numbers, positions[:50])
    found = turn(Ends().double(), numbers, positions[0], bonds)
    assert len(found.names) == 2
    assert all(name.count("H") == 0 for name in found.names)
    ring = chain((0, 1), (1, 2), (2, 0), (2, 3), (3, 4))
    numbers, positions = np.full(5, 6), np.random.default_rng(0).normal(size=(5, 3))
    assert turn(Ends().double(), numbers, positions, ring).names == ["C2-C3"]
    nitrile = np.array([[0.0, 0, 0], [0, 0, 1.4], [0, 0, 2.6], [1, 0, -0.4], [2, 0, -0.4]])
    assert turn(Ends().double(), numbers, nitrile, chain((0, 1), (1, 2), (0, 3), (3, 4))).names == ["C0-C3"]
    loose = chain((0, 1), (1, 2), (2, 3))  # and an atom that nothing holds
    assert turn(Ends().double(), numbers, positions, loose).names == []
    assert turn(Ends().double(), numbers[:3], positions[:3], chain((0, 1), (1, 2), (2, 0))).metrics == {}
