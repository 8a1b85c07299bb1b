"""Bonds, distributions of distances, and the energy of pulling a hydrogen off, against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule as ase_molecule
from torch import Tensor

from chemscale_bench.data.frames import prepare_frames
from chemscale_bench.data.structures import Frames
from chemscale_bench.evaluation.distances import (
    BIN,
    ReferenceFrames,
    bond_errors,
    bond_kinds,
    bond_lengths,
    distance_histogram,
    find_bonds,
    halves,
    histogram_mae,
    of_one_isomer,
)
from chemscale_bench.evaluation.stretching import STRETCHES, stretch
from chemscale_bench.models.potential import Graph, Potential

NUMBERS = np.array([8, 1, 1])
WATER = np.array([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
LENGTH = float(np.hypot(0.76, 0.6))


def frames(noise: float, count: int = 400) -> np.ndarray:
    return WATER + noise * np.random.default_rng(0).normal(size=(count, 3, 3))


def test_of_isomers_those_of_the_first_frame_are_kept_and_of_one_molecule_all() -> None:
    ethanol = molecule("CH3CH2OH", "embedded")
    ether = molecule("CH3OCH3")
    both = Frames(ethanol.numbers, np.concatenate([ethanol.positions[:5], ether.positions, ethanol.positions[5:]]),
                  np.zeros(60), np.zeros((60, 9, 3)))  # fmt: skip
    assert np.array_equal(of_one_isomer(both).positions, ethanol.positions)
    assert len(find_bonds(both.numbers, of_one_isomer(both).positions).first_B) == 8
    assert len(of_one_isomer(ethanol)) == len(ethanol) == 30
    broken = ethanol.positions.copy()
    broken[:15, -1] += 3  # an atom that half of the frames have lost
    assert len(of_one_isomer(replace(ethanol, positions=broken))) == 30


def molecule(name: str, data: str = "") -> Frames:
    """30 frames, elements in the order of their numbers: of the package's trajectory, or of ASE's and noise."""
    if data:
        split = prepare_frames(data, molecule="ethanol", split=1, train_size=5, validation_frames=5, test_frames=30)
        numbers, positions = split.test.numbers, split.test.positions
    else:
        atoms = ase_molecule(name)
        numbers = atoms.numbers
        positions = atoms.positions + 0.03 * np.random.default_rng(0).normal(size=(30, len(atoms), 3))
    order = np.argsort(numbers, kind="stable")
    return Frames(numbers[order], positions[:, order], np.zeros(30), np.zeros(positions.shape))


def test_the_bonds_of_ethanol() -> None:
    split = prepare_frames("embedded", molecule="ethanol", split=1, train_size=5, validation_frames=5, test_frames=300)
    bonds = find_bonds(split.test.numbers, split.test.positions)
    kinds = bond_kinds(split.test.numbers, bonds)
    assert sorted(kinds) == ["C-C", "C-H", "C-H", "C-H", "C-H", "C-H", "C-O", "H-O"]
    assert bonds.length_B[kinds.index("C-O")] == pytest.approx(1.42, abs=0.02)


def test_a_bond_that_the_reference_breaks_decides_nothing() -> None:
    hops = frames(0.02)
    hops[:40, 1] *= 2.0
    assert len(find_bonds(NUMBERS, frames(0.02)).length_B) == 2
    assert find_bonds(NUMBERS, hops).second_B.tolist() == [2]


def test_distributions_of_distances() -> None:
    near, far = distance_histogram(frames(0.02)), distance_histogram(3 * frames(0.02))
    assert near.sum() * BIN == pytest.approx(1)
    assert histogram_mae(near, near) == 0
    assert histogram_mae(near, far) == pytest.approx(2)
    assert distance_histogram(1e6 * frames(0.02)).sum() * BIN == pytest.approx(1)  # exploded, and counted
    half, other = halves(401)
    assert sorted([*half, *other]) == list(range(401))


def test_the_error_of_lengths_is_how_far_they_are_moved() -> None:
    bonds, longer = find_bonds(NUMBERS, frames(0.02)), 1.01 * frames(0.02)
    found = bond_errors(bond_lengths(NUMBERS, bonds, longer), bond_lengths(NUMBERS, bonds, frames(0.02)))
    assert found == {"H-O": pytest.approx(10 * LENGTH, rel=0.02)}


def test_the_halves_of_a_reference_differ_the_less_the_more_frames_it_has() -> None:
    few, many = (ReferenceFrames.of(NUMBERS, frames(0.05, count)) for count in (40, 1600))
    assert 0 < many.histogram_halves < few.histogram_halves / 3
    assert 0 < many.bond_halves["H-O"] < few.bond_halves["H-O"]
    assert np.isnan(ReferenceFrames.of(NUMBERS, frames(0.05, 1)).histogram_halves)


class Morse(Potential):
    """Oxygen and hydrogen bound by a Morse potential; without `holds`, a hill of 0.3 eV that falls again."""

    def __init__(self, holds: bool) -> None:
        super().__init__(cutoff=20.0)
        self.holds = holds

    def atomic_energies(self, graph: Graph) -> Tensor:
        apart_E = graph.displacements().norm(dim=1) - LENGTH
        bond_E = graph.numbers_A[graph.receivers_E] != graph.numbers_A[graph.senders_E]
        morse_E = 4.0 * (1 - torch.exp(-2 * apart_E)).square()
        hill_E = 0.3 * torch.sin(torch.pi * apart_E.clamp(0, 1.5)).square() + 9 * apart_E.clamp(max=0).square()
        energy_E = 0.5 * bond_E * (morse_E if self.holds else hill_E)  # an edge in each direction
        return energy_E.new_zeros(len(graph.numbers_A)).index_add(0, graph.receivers_E, energy_E)


def test_a_bond_costs_what_its_potential_says() -> None:
    bonds = find_bonds(NUMBERS, np.repeat(WATER[None], 3, 0))
    found = stretch(Morse(holds=True).double(), NUMBERS, WATER, bonds)
    assert found.names == ["H1 from O0", "H2 from O0"]
    assert found.barrier_B == pytest.approx(2 * [4.0 * (1 - np.exp(-2 * STRETCHES[-1])) ** 2], abs=1e-6)
    assert found.metrics == {"check/bond_break_ev": pytest.approx(found.barrier_B[0])}
    assert found.warning == ""


def test_a_bond_that_breaks_without_a_barrier_is_told_in_one_line() -> None:
    bonds = find_bonds(NUMBERS, np.repeat(WATER[None], 3, 0))
    found = stretch(Morse(holds=False).double(), NUMBERS, WATER, bonds)
    assert found.barrier_B == pytest.approx([0.3, 0.3], abs=1e-6)
    assert "more than 1.1 eV to break, H1 from O0 leaves over 0.3 eV" in found.warning
    assert "\n" not in found.warning


def test_a_molecule_without_hydrogen_has_no_such_bond() -> None:
    bonds = find_bonds(np.array([8, 8]), np.array([[[0, 0, 0], [0, 0, 1.2]]]))
    assert len(bonds.length_B) == 1
    found = stretch(Morse(holds=True).double(), np.array([8, 8]), np.array([[0, 0, 0], [0, 0, 1.2]]), bonds)
    assert (found.metrics, found.warning) == ({}, "")
