"""MOSES' own test sets, by the statistics of them that its package carries: what published rows are compared with."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import NamedTuple

import numpy as np

from chemscale_bench.data.sources import WHEELS
from chemscale_bench.evaluation.chemnet import Gaussian
from chemscale_bench.evaluation.generation import Distribution

SETS = ("test", "test_scaffolds")


class ReferenceSet(NamedTuple):
    """A test set: of MOSES the whole 176,074 molecules, or 176,225 whose scaffolds are in no other set."""

    distribution: Distribution
    gaussian: Gaussian | None
    """What ChemNet makes of it; nothing without its package."""


def pinned() -> list[str]:
    """The sha256 of the statistics of each of `SETS`."""
    return [WHEELS["moses"].members[f"{name}_stats.npz"][1] for name in SETS]


def reference(name: str) -> ReferenceSet:
    """One of `SETS`, downloaded from the package index unless it is in the cache.

    The file holds pickled Python, which is unpickled because its sha256 is pinned.

    Raises:
        UserError: if it could not be had.
    """
    file = WHEELS["moses"].file(f"{name}_stats.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, about an older NumPy that wrote it
        stats = np.load(file, allow_pickle=True)["stats"].item()
    bits = np.packbits(stats["SNN"]["fps"].astype(bool), axis=1, bitorder="little")
    properties = np.stack([stats[key]["values"] for key in ("logP", "SA", "QED", "weight")], axis=1)
    distribution = Distribution(
        bits.view(np.uint64), Counter(stats["Frag"]["frag"]), Counter(stats["Scaf"]["scaf"]), properties, np.nan
    )
    return ReferenceSet(distribution, Gaussian(stats["FCD"]["mu"], stats["FCD"]["sigma"]))
