"""How good generated molecules are: the metrics of MOSES (Polykovskiy et al. 2020, arXiv 1811.12823), to its digits.

Denominators are those of the package molsets 0.3.1: *valid* is of all drawn; *unique* of the first k valid; *novelty*
of the distinct valid; everything else of all valid, repeated ones included. Two things are our own: raw validity,
since SELFIES are valid by construction, and the training set that novelty is measured against: that of the run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Never

import numpy as np
from scipy.stats import wasserstein_distance
from tqdm import tqdm

from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.chemistry import PROPERTIES, Features, in_parallel, measure, measure_reference
from chemscale_bench.evaluation.similarity import similarities
from chemscale_bench.progress import progress_bar

UNIQUE_AT = (1_000, 10_000)


@dataclass(frozen=True)
class Distribution:
    """Features of a set of molecules."""

    fingerprints: np.ndarray
    """uint64 [N, 16]."""
    fragments: Counter[str]
    """How often each BRICS fragment occurs."""
    scaffolds: Counter[str]
    """How often each Murcko scaffold of two rings or more occurs."""
    properties: np.ndarray
    """float64 [N, 4], those of `chemistry.PROPERTIES`."""
    passes: float
    """Share that passes MOSES' filters; of a reference nothing is known."""

    @classmethod
    def of(cls, smiles: list[str], name: str, work: Callable[[list[str]], list[Features]] = measure) -> Distribution:
        """Measure valid molecules; `name` says on the progress bar which."""
        with molecule_bar(f"measuring {name}", len(smiles)) as bar:
            found = in_parallel(work, smiles, bar.update)
        fragments, scaffolds = Counter[str](), Counter[str]()
        for each in found:
            fragments.update(each.fragments)
            scaffolds.update([each.scaffold] if each.scaffold else [])
        return cls(
            np.stack([each.fingerprint for each in found]), fragments, scaffolds,
            np.array([each.properties for each in found]), float(np.mean([each.passes for each in found])),
        )  # fmt: skip

    @classmethod
    def of_reference(cls, smiles: list[str], name: str) -> Distribution:
        """Measure molecules that others are compared with."""
        return cls.of(smiles, name, measure_reference)


def molecule_bar(what: str, total: int) -> tqdm[Never]:
    """A progress bar of molecules. Below another bar it does not stay."""
    return progress_bar(desc=what, total=total, unit="mol", leave=None)


def unique(smiles: list[str], first: int) -> float:
    """Share of distinct molecules among the first so many valid ones, or among all where there are fewer."""
    return len(set(smiles[:first])) / len(smiles[:first])


def novelty(smiles: Iterable[Hashable], training: Iterable[Hashable]) -> float:
    """Share of the distinct molecules that are not in the training set.

    Args:
        smiles: canonical, valid.
        training: canonical in the same way, or anything else that says which molecule it is, in both.

    Raises:
        UserError: if the training set is empty.
    """
    new, known = set(smiles), 0
    count = len(new)
    for known, each in enumerate(training, 1):  # noqa: B007
        new.discard(each)
    if not known:
        raise UserError("the training set must hold molecules for novelty, got none; name the task that was trained on")
    return len(new) / count


def cosine(generated: Counter[str], reference: Counter[str]) -> float:
    """Cosine similarity of two counts; NaN if one of them is empty."""
    if not generated or not reference:
        return math.nan
    product = sum(count * reference[key] for key, count in generated.items())
    lengths = [math.sqrt(sum(count * count for count in counts.values())) for counts in (generated, reference)]
    return product / lengths[0] / lengths[1]


def own_metrics(smiles: list[str], distribution: Distribution) -> dict[str, float]:
    """Metrics of generated molecules by themselves.

    Args:
        smiles: canonical, valid, in the order in which they were drawn.
        distribution: their features.
    """
    found = {f"unique_at_{first // 1000}k": unique(smiles, first) for first in UNIQUE_AT}
    fingerprints = distribution.fingerprints
    with molecule_bar("internal diversity", len(fingerprints)) as bar:
        _, mean, squares = similarities(fingerprints, fingerprints, bar.update).T
    # MOSES takes the root molecule by molecule, where its paper takes that of the mean.
    diversity = {"internal_diversity_1": 1 - mean.mean(), "internal_diversity_2": 1 - np.sqrt(squares).mean()}
    return found | {key: float(value) for key, value in diversity.items()} | {"filters": distribution.passes}


def metrics_against(generated: Distribution, reference: Distribution, name: str) -> dict[str, float]:
    """How alike generated molecules are to a reference of that name, such as a test set.

    Returns:
        Similarities to the nearest neighbour (`snn`), of fragments and scaffolds, and the Wasserstein distances of
        logP, synthetic accessibility, drug-likeness and weight (g/mol).
    """
    with molecule_bar(f"nearest neighbours, {name}", len(generated.fingerprints)) as bar:
        nearest = similarities(generated.fingerprints, reference.fingerprints, bar.update)[:, 0]
    found = {
        "snn": float(nearest.mean()),
        "fragments": cosine(generated.fragments, reference.fragments),
        "scaffolds": cosine(generated.scaffolds, reference.scaffolds),
    }
    for column, what in enumerate(PROPERTIES):
        distance = wasserstein_distance(generated.properties[:, column], reference.properties[:, column])
        found[f"wasserstein_{what}"] = float(distance)
    return {f"{key}_{name}": value for key, value in found.items()}
