"""The Frechet ChemNet distance (Preuer et al. 2018, arXiv 1803.09518), with the network of the package fcd_torch.

The distance itself is computed here: that of the package asks SciPy for what it no longer has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
import torch

from chemscale_bench.errors import UserError

BATCH = 512
ENOUGH = 4_000  # molecules for an extrapolation: its smallest samples, of a quarter, have to fix 512 variances
SAMPLES = 12


class Gaussian(NamedTuple):
    """What ChemNet's last but one layer makes of a set of molecules."""

    mean: np.ndarray
    """float64 [512]."""
    covariance: np.ndarray
    """float64 [512, 512]."""

    @classmethod
    def of(cls, activations: np.ndarray) -> Self:
        """Of at least two molecules, what `activations_of` gives."""
        return cls(activations.mean(0), np.cov(activations.T))


def check_installed() -> None:
    """Refuse to go on without the network.

    Raises:
        UserError: if the package is not there.
    """
    try:
        import fcd_torch  # noqa: F401
    except ImportError:
        raise UserError(
            "the Frechet ChemNet distance needs the package fcd_torch, which is not installed; "
            "pip install 'chemscale-bench[generation]'"
        ) from None


def activations_of(
    smiles: list[str], device: torch.device, progress: Callable[[int], object] = lambda count: None
) -> np.ndarray:
    """ChemNet's view of molecules: float32 [N, 512].

    Args:
        smiles: canonical, valid.
        device: where the network runs.
        progress: told how many more are done.

    Raises:
        UserError: if the package is not there.
    """
    check_installed()
    from fcd_torch import FCD
    from fcd_torch.utils import SmilesDataset

    network, data = FCD().model.to(device).eval(), SmilesDataset(smiles, canonize=False)
    parts = []
    for start in range(0, len(smiles), BATCH):
        one_hot = np.stack([data[i] for i in range(start, min(start + BATCH, len(smiles)))])
        with torch.inference_mode():
            found = network(torch.from_numpy(one_hot).transpose(1, 2).float().to(device))
        parts.append(found.numpy(force=True))
        progress(len(one_hot))
    return np.concatenate(parts)


def frechet_distance(ours: Gaussian, theirs: Gaussian) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), the root by the eigenvalues of the like S1^(1/2) S2 S1^(1/2)."""
    values, vectors = np.linalg.eigh(ours.covariance)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ theirs.covariance @ root).clip(0)).sum()
    apart = ours.mean - theirs.mean
    return float(apart @ apart + np.trace(ours.covariance) + np.trace(theirs.covariance) - 2 * shared)


def extrapolated_distance(activations: np.ndarray, theirs: Gaussian) -> float:
    """The distance that infinitely many molecules would have: too few seem further away, by about so much over N.

    The intercept of a straight line in 1/N through random subsets of a quarter to all of them (Chong and Forsyth 2020,
    arXiv 1911.07023).

    Args:
        activations: of `ENOUGH` molecules or more, float [N, 512].
        theirs: of the reference, as it is.
    """
    count = len(activations)
    sizes = np.linspace(count / 4, count, SAMPLES).astype(int)
    rng = np.random.default_rng(0)
    subsets = [activations[rng.permutation(count)[:size]] for size in sizes]
    distances = [frechet_distance(Gaussian.of(subset), theirs) for subset in subsets]
    return max(0.0, float(np.polyfit(1 / sizes, distances, 1)[1]))
