"""Does a potential obey the symmetries and the calculus that it should? Checked in float64, so that rounding is out.

A force field that breaks one of these can still have a small error on a test split, and ruin every simulation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np

from chemscale_bench.data.structures import all_pairs, pair_distances
from chemscale_bench.models.potential import Potential, energy_and_forces, molecule_graph

STEP = 1e-4  # Angstrom, of the finite differences
EDGE = 1e-6  # Angstrom, on both sides of the cutoff


def random_rotation(generator: np.random.Generator) -> np.ndarray:
    """A rotation, half of the time with a reflection (3, 3)."""
    q, r = np.linalg.qr(generator.normal(size=(3, 3)))
    return np.asarray(q * np.sign(np.diag(r)))


def check(
    potential: Potential, numbers: np.ndarray, positions: np.ndarray, seed: int = 0, charge: int = 0, unpaired: int = 0
) -> dict[str, float]:
    """Largest violations on one molecule; all should be tiny.

    Args:
        potential: on any device, in any precision.
        numbers: atomic numbers (A,).
        positions: in Angstrom (A, 3).
        seed: of the rotation, the shift and the order that are tried.
        charge: of the molecule in e.
        unpaired: electrons without a partner.

    Returns:
        `check/rotation`, `check/translation`, `check/permutation`: largest error of the forces against the transformed
        ones, in meV/Angstrom; `check/force_is_gradient`: largest difference between force and finite difference, in
        meV/Angstrom; `check/cutoff_jump`: change of the forces across 2e-6 Angstrom around the cutoff, in
        meV/Angstrom.
    """
    exact = copy.deepcopy(potential).double().eval()
    generator = np.random.default_rng(seed)
    like = exact.scale

    def evaluate(numbers: np.ndarray, positions: np.ndarray) -> tuple[float, np.ndarray]:
        graph = molecule_graph(numbers, positions, exact.cutoff, like, charge, unpaired)
        energy, forces = energy_and_forces(exact, graph, differentiable=False)
        return float(energy), forces.cpu().numpy()

    _, forces = evaluate(numbers, positions)
    rotation, order = random_rotation(generator), generator.permutation(len(numbers))
    found = {
        "check/rotation": evaluate(numbers, positions @ rotation.T)[1] - forces @ rotation.T,
        "check/translation": evaluate(numbers, positions + generator.normal(size=3))[1] - forces,
        "check/permutation": evaluate(numbers[order], positions[order])[1] - forces[order],
        "check/force_is_gradient": finite_difference(lambda moved: evaluate(numbers, moved)[0], positions) - forces,
    }
    inside, outside = across_the_cutoff(positions, exact.cutoff)
    found["check/cutoff_jump"] = evaluate(numbers, outside)[1] - evaluate(numbers, inside)[1]
    return {name: 1000 * float(np.abs(error).max()) for name, error in found.items()}


def finite_difference(energy: Callable[[np.ndarray], float], positions: np.ndarray) -> np.ndarray:
    """Forces (A, 3) as the negative central difference of the energy."""
    forces = np.empty_like(positions)
    for index in np.ndindex(*positions.shape):
        step = np.zeros_like(positions)
        step[index] = STEP
        forces[index] = -(energy(positions + step) - energy(positions - step)) / (2 * STEP)
    return forces


def across_the_cutoff(positions: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """The molecule with the pair that is nearest to the cutoff moved just inside and just outside of it."""
    (distance_P,) = pair_distances(positions[None])
    nearest = np.argmin(np.abs(distance_P - cutoff))
    i, j = (atoms_P[nearest] for atoms_P in all_pairs(len(positions)))
    direction = (positions[j] - positions[i]) / distance_P[nearest]
    moved = []
    for distance in (cutoff - EDGE, cutoff + EDGE):
        moved.append(positions.copy())
        moved[-1][j] = positions[i] + distance * direction
    return moved[0], moved[1]
