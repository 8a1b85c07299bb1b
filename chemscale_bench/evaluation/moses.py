"""MOSES' own test sets, by the statistics of them that its package carries: what published rows are compared with."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import NamedTuple

import numpy as np

from chemscale_bench.data.download import fetch
from chemscale_bench.data.wheel import InWheel
from chemscale_bench.evaluation.chemnet import Gaussian
from chemscale_bench.evaluation.generation import Distribution

REQUIREMENT = "molsets==0.3.1"
SETS = {
    "test": "ded25073225a895d4ed17bf1d4223d27560e87ff4cb85786346ca1cc8efa03d3",
    "test_scaffolds": "7b7aba6c1474634a019bebf16f389d554cb9dd1021dfc8c1d1e54430a9f0e7f8",
}
"""sha256 of the statistics. They hold pickled Python, which is unpickled because its content is known."""


class Reference(NamedTuple):
    """A whole test set: 176,074 molecules, or 176,225 whose scaffolds are in no other set."""

    distribution: Distribution
    gaussian: Gaussian
    """What ChemNet makes of it."""


def reference(name: str) -> Reference:
    """One of `SETS`, downloaded from the package index unless it is in the cache.

    Raises:
        UserError: if it could not be had.
    """
    member = f"moses/dataset/data/{name}_stats.npz"
    file = fetch(f"moses_{name}_stats.npz", (InWheel(REQUIREMENT, member, bytes),), SETS[name], "name another task")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy, about an older NumPy that wrote it
        stats = np.load(file, allow_pickle=True)["stats"].item()
    bits = np.packbits(stats["SNN"]["fps"].astype(bool), axis=1, bitorder="little")
    properties = np.stack([stats[key]["values"] for key in ("logP", "SA", "QED", "weight")], axis=1)
    distribution = Distribution(
        bits.view(np.uint64), Counter(stats["Frag"]["frag"]), Counter(stats["Scaf"]["scaf"]), properties, np.nan
    )
    return Reference(distribution, Gaussian(stats["FCD"]["mu"], stats["FCD"]["sigma"]))
