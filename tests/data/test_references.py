"""Energies of elements by least squares: planted ones are recovered, and what is open is told."""

from __future__ import annotations

import numpy as np
import pytest

from chemscale_bench.data.mixtures import Mixture, as_mixture
from chemscale_bench.data.references import ReferenceEnergies, fit_reference
from chemscale_bench.data.structures import Frames

MOLECULES = [[8, 1, 1], [6, 8, 8], [6, 1, 1, 1, 1], [8, 6, 1, 1], [7, 1, 1, 1]]


def of(numbers: list[int], energies: np.ndarray) -> Frames:
    positions = np.random.default_rng(0).normal(size=(len(energies), len(numbers), 3))
    return Frames(np.array(numbers), positions, energies, np.zeros_like(positions))


def mixture(molecules: list[list[int]], planted: dict[int, float], noise: float = 0.0) -> Mixture:
    rng = np.random.default_rng(0)
    return Mixture.of([of(n, sum(planted[z] for z in n) + noise * rng.normal(size=200)) for n in molecules])


@pytest.mark.parametrize("planted", [{1: -13.6, 6: -1030.0, 7: -1485.0, 8: -2041.0}, {1: 0.3, 6: -5.0, 7: 2, 8: -1.0}])
def test_planted_energies_are_recovered(planted: dict[int, float]) -> None:
    reference, notes = fit_reference(mixture(MOLECULES, planted, noise=0.1))
    assert reference.atomic_ev == pytest.approx(planted, abs=0.02)
    assert reference.constant_ev == 0
    assert notes == ()


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_what_is_left_open_is_near_to_free_atoms_or_to_zero(scale: float) -> None:
    """Water and methanol, of three elements: the fit is exact, and benzene is no combination of them."""
    planted = {1: -13.6 * scale, 6: -1030.0 * scale, 8: -2041.0 * scale}
    molecules = [[8, 1, 1], [8, 6, 1, 1, 1, 1]]
    reference, notes = fit_reference(mixture(molecules, planted))
    for numbers in molecules:
        assert reference.of(numbers) == pytest.approx(sum(planted[z] for z in numbers), abs=1e-9)
    assert "3 elements in 2 independent compositions" in notes[0]
    benzene, truth = reference.of([6] * 6 + [1] * 6), 6 * (planted[6] + planted[1])
    if scale == 1:
        assert benzene == pytest.approx(truth, rel=0.02)
    else:
        compositions = np.array([[2, 0, 1], [4, 1, 1]])
        expected = np.linalg.pinv(compositions) @ [reference.of(numbers) for numbers in molecules]
        assert list(reference.atomic_ev.values()) == pytest.approx(expected)


def test_one_molecule_has_its_mean_and_a_mixture_of_one_the_same_energies() -> None:
    water = of([8, 1, 1], np.random.default_rng(0).normal(-2080, 1, 50))
    alone, notes = fit_reference(water)
    assert (alone.constant_ev, alone.atomic_ev, notes) == (float(water.energies.mean()), {}, ())
    mixed, _ = fit_reference(as_mixture(water))
    assert mixed.energies(as_mixture(water)) == pytest.approx(alone.energies(water), abs=1e-9)


@pytest.mark.parametrize("reference", [ReferenceEnergies(-2000.5), ReferenceEnergies(0.0, {1: -13.6, 8: -2041.0})])
def test_a_checkpoint_keeps_it(reference: ReferenceEnergies) -> None:
    assert ReferenceEnergies.from_record(reference.record()) == reference
    assert ("atomic_reference_ev" in reference.record()) == bool(reference.atomic_ev)
