"""The Frechet ChemNet distance: its formula, and, where its network is installed, golden numbers of MOSES."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from test_generation import FCD, molecules

from chemscale_bench.data.embedded import files
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.chemnet import (
    Gaussian,
    activations_of,
    check_installed,
    extrapolated_distance,
    frechet_distance,
)

CPU = torch.device("cpu")


def gaussian(seed: int, samples: int = 60) -> Gaussian:
    """Of 20 channels."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(samples, 20)) @ rng.normal(size=(20, 20))
    return Gaussian.of(points)


def test_the_distance_is_that_of_the_paper() -> None:
    ours, theirs = gaussian(0), gaussian(1)
    # The trace of a root is the sum of the roots of the eigenvalues of S1 S2.
    root = np.sqrt(np.linalg.eigvals(ours.covariance @ theirs.covariance).real.clip(0)).sum()
    apart = ours.mean - theirs.mean
    expected = apart @ apart + np.trace(ours.covariance) + np.trace(theirs.covariance) - 2 * root
    assert frechet_distance(ours, theirs) == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(ours, theirs) == pytest.approx(frechet_distance(theirs, ours), rel=1e-5)
    for same in (ours, gaussian(0, samples=5)):  # with and without an inverse
        assert frechet_distance(same, same) == pytest.approx(0, abs=1e-4)


def test_the_extrapolation_is_nearer_to_the_distance_of_infinitely_many() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(64, 64)) / 8
    theirs, shift = Gaussian(np.zeros(64), root @ root.T), np.full(64, 0.03)
    true = frechet_distance(Gaussian(shift, 1.1 * root @ root.T), theirs)
    drawn = rng.normal(size=(4_000, 64)) @ root.T * 1.1**0.5 + shift
    biased = frechet_distance(Gaussian.of(drawn), theirs)
    assert biased > 1.1 * true
    assert abs(extrapolated_distance(drawn, theirs) - true) < 0.3 * (biased - true)
    assert extrapolated_distance(drawn, theirs) == extrapolated_distance(drawn, theirs)


def test_without_the_network_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcd_torch", None)  # what Python takes for not installed
    with pytest.raises(UserError, match=r"needs the package fcd_torch, which is not installed; pip install"):
        check_installed()


def test_golden_numbers_of_moses() -> None:
    nci, wehi, chembl = files()
    drawn = molecules(nci, 0, 350) + molecules(chembl, 0, 50) + molecules(nci, 0, 40)
    generated = Gaussian.of(activations_of(drawn, CPU))
    for name, file, start, stop in (("test", wehi, 0, 300), ("sf", chembl, 50, 150)):
        distance = frechet_distance(generated, Gaussian.of(activations_of(molecules(file, start, stop), CPU)))
        assert distance == pytest.approx(FCD[name], rel=1e-6)
