"""The physical checks pass for a sound potential and catch each way of being unsound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from chemscale_bench.evaluation.physics import across_the_cutoff, check
from chemscale_bench.models.potential import Graph, Potential

NUMBERS = np.array([6, 8, 1, 1])
POSITIONS = np.array([[0.0, 0, 0], [1.2, 0.1, 0], [-0.5, 0.9, 0.2], [-0.6, -0.9, 2.4]])


class Toy(Potential):
    """Gaussians of the distance times a cutoff function, and a flaw."""

    def __init__(self, flaw: Callable[[Graph, Tensor], Tensor] = lambda graph, energy_A: energy_A) -> None:
        super().__init__(cutoff=2.5)
        self.flaw = flaw

    def atomic_energies(self, graph: Graph) -> Tensor:
        distance_E = graph.displacements().norm(dim=1)
        smooth_E = 0.5 * (1 + torch.cos(torch.pi * distance_E / self.cutoff))
        energy_E = torch.exp(-(distance_E**2)) * smooth_E * graph.numbers_A[graph.senders_E]
        energy_A = energy_E.new_zeros(len(graph.numbers_A)).index_add(0, graph.receivers_E, energy_E)
        return self.flaw(graph, energy_A)


def test_a_sound_potential_passes() -> None:
    found = check(Toy(), NUMBERS, POSITIONS)
    assert all(found[f"check/{name}"] < 1e-8 for name in ("rotation", "translation", "permutation"))
    assert found["check/force_is_gradient"] < 1e-2  # of the finite difference
    assert found["check/cutoff_jump"] < 1


@pytest.mark.parametrize(
    ("name", "flaw"),
    [
        ("rotation", lambda graph, energy: energy * (1 + 0.1 * graph.positions_A3[:, 0] ** 2)),
        ("translation", lambda graph, energy: energy + graph.positions_A3[:, 0] ** 2),
        ("permutation", lambda graph, energy: energy * torch.arange(len(energy))),
        ("force_is_gradient", lambda graph, energy: energy + graph.positions_A3.detach()[:, 0] ** 2),
        ("cutoff_jump", lambda graph, energy: energy * graph.receivers_E.bincount(minlength=len(energy))),
    ],
)
def test_each_flaw_is_caught(name: str, flaw: Callable[[Graph, Tensor], Tensor]) -> None:
    sound = check(Toy(), NUMBERS, POSITIONS)
    flawed = check(Toy(flaw), NUMBERS, POSITIONS)
    assert flawed[f"check/{name}"] > 10
    assert flawed[f"check/{name}"] > 100 * sound[f"check/{name}"]


def test_the_pair_nearest_to_the_cutoff_is_moved_across_it() -> None:
    inside, outside = across_the_cutoff(POSITIONS, 2.5)
    changed = np.flatnonzero((inside != POSITIONS).any(1))
    assert len(changed) == 1

    def distances(positions: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.norm(positions[:, None] - positions[None], axis=-1))

    crossed = (distances(inside) < 2.5) & (distances(outside) > 2.5)
    assert crossed.sum() == 2
