"""What features are worth: simple models on frozen features, on molecules whose scaffolds they have not seen.

Legend: M molecules, C features.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors, rdFingerprintGenerator
from rdkit.Chem.Scaffolds import MurckoScaffold
from scipy.stats import t as student
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import roc_auc_score, root_mean_squared_error
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from chemscale_bench.data.worker import parse
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.roughness import Roughness, roughness
from chemscale_bench.progress import progress_bar

TEST_SHARE = 0.2
LEVEL = 0.9  # of the intervals
LEAST_MOLECULES = 50
NEIGHBOURS = 5
MOST_DEVIATIONS = 6.0  # a feature further off its mean is cut there: a line through such a point predicts anything
ROUGHNESS_MOLECULES = 3_000  # distances between all pairs have to fit into memory

Kind = Literal["regression", "classification"]


class Split(NamedTuple):
    """Places of molecules."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


class Score(NamedTuple):
    """Mean over the splits, and its interval by Student's t, which takes them for independent."""

    mean: float
    low: float
    high: float


class Worth(NamedTuple):
    """What some features are worth: root mean squared errors, or areas under the ROC curve."""

    linear: Score
    """Of ridge or logistic regression, its penalty chosen on the training molecules."""
    neighbours: Score
    """Of the five nearest neighbours, weighted by 1 / distance."""
    rough: Roughness


def kind_of(values: NDArray[np.float64]) -> Kind:
    """Two classes if all values are 0 or 1."""
    return "classification" if set(np.unique(values).tolist()) <= {0.0, 1.0} else "regression"


def scaffolds(smiles: Sequence[str]) -> NDArray[np.int64]:
    """The number (M,) of each molecule's Bemis-Murcko scaffold; molecules without a ring share one."""
    with rdBase.BlockLogs():  # read as training reads them, without atom-map numbers
        found = [MurckoScaffold.MurckoScaffoldSmiles(mol=parse(text, is_selfies=False)) for text in smiles]
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def split(groups: NDArray[np.int64], seed: int) -> Split:
    """Whole groups drawn at random for testing, up to a fifth of the molecules.

    A group larger than half of that is always trained on: one that large would be most of the test.

    Args:
        groups: number (M,) of each molecule's group.
        seed: of the draw.
    """
    wanted, sizes = TEST_SHARE * len(groups), np.bincount(groups)
    test, taken = [], 0
    for group in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        if sizes[group] <= wanted / 2 and taken + sizes[group] <= wanted:
            test.append(group)
            taken += int(sizes[group])
    tested = np.isin(groups, test)
    return Split(np.flatnonzero(~tested), np.flatnonzero(tested))


def splits(groups: NDArray[np.int64], values: NDArray[np.float64], number: int) -> list[Split]:
    """Splits by seeds 0, 1, ..., each fit to train on and to test with.

    Raises:
        UserError: if there are few molecules or scaffolds, or a split has one class only.
    """
    if len(groups) < LEAST_MOLECULES:
        raise UserError(
            f"data must have at least {LEAST_MOLECULES} molecules with features and a value, got {len(groups)}; "
            "give more molecules"
        )
    if not np.ptp(values):
        raise UserError(f"target must differ between molecules, all {len(values)} have {values[0]:g}; choose another")
    made = [split(groups, seed) for seed in range(number)]
    for seed, one in enumerate(made):
        if len(one.test) < 0.5 * TEST_SHARE * len(groups):
            raise UserError(
                f"data must have enough scaffolds to test on {TEST_SHARE:.0%} of {len(groups)} molecules, split {seed} "
                f"has only {len(one.test)} of them outside its largest scaffolds; give more diverse molecules"
            )
        for name, places in one._asdict().items():
            if kind_of(values) == "classification" and not np.ptp(values[places]):
                raise UserError(
                    f"every split must have both classes on both sides, the {name} set of split {seed} has only class "
                    f"{values[places][0]:g} in {len(places)} molecules; give more of the rarer class, or fewer splits"
                )
    return made


def morgan(smiles: Sequence[str]) -> NDArray[np.float64]:
    """Counts (M, 2048) of Morgan fragments of radius 2."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    rows = [generator.GetCountFingerprintAsNumPy(Chem.MolFromSmiles(text)) for text in smiles]
    return np.array(rows, np.float64)


def descriptors(smiles: Sequence[str]) -> NDArray[np.float64]:
    """All descriptors of RDKit (M, about 200); one that is not defined for a molecule counts as 0."""
    with rdBase.BlockLogs():
        rows = [
            list(Descriptors.CalcMolDescriptors(Chem.MolFromSmiles(text), missingVal=0.0).values())
            for text in progress_bar(smiles, desc="descriptors", unit="mol", leave=False)
        ]
    return np.clip(np.nan_to_num(np.array(rows, np.float64)), -1e6, 1e6)


BASELINES = {"Morgan fingerprints": morgan, "RDKit descriptors": descriptors}


def scale() -> Pipeline:
    """Every feature to mean 0 and deviation 1, far values cut."""
    cut = FunctionTransformer(np.clip, kw_args={"a_min": -MOST_DEVIATIONS, "a_max": MOST_DEVIATIONS})
    return make_pipeline(StandardScaler(), cut)


def heads(kind: Kind) -> list[Any]:
    """The linear model and the one by neighbours."""
    if kind == "regression":
        return [RidgeCV(np.logspace(-1, 5, 13)), KNeighborsRegressor(NEIGHBOURS, weights="distance")]
    logistic = LogisticRegressionCV(Cs=np.logspace(-4, 1, 6).tolist(), cv=3, scoring="roc_auc", max_iter=300)
    return [logistic, KNeighborsClassifier(NEIGHBOURS, weights="distance")]


def errors(
    features: NDArray[Any], values: NDArray[np.float64], made: Sequence[Split]
) -> Iterator[tuple[float, float]]:  # fmt: skip
    """Of each split, what the linear model and the neighbours reach on the test molecules."""
    kind = kind_of(values)
    for train, test in made:
        scaler = scale().fit(features[train])
        inside, outside = scaler.transform(features[train]), scaler.transform(features[test])
        reached = []
        for head in heads(kind):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                warnings.simplefilter("ignore", FutureWarning)
                head.fit(inside, values[train])
            if kind == "regression":
                reached.append(float(root_mean_squared_error(values[test], head.predict(outside))))
            else:
                reached.append(float(roc_auc_score(values[test], head.predict_proba(outside)[:, 1])))
        yield reached[0], reached[1]


def worth(features: NDArray[Any], values: NDArray[np.float64], made: Sequence[Split]) -> Worth:
    """What features (M, C) say of values (M,), on some splits; roughness is that of at most 3,000 random molecules."""
    features = np.asarray(features, np.float64)
    linear, neighbours = zip(*errors(features, values, made), strict=True)
    chosen = np.random.default_rng(0).permutation(len(values))[:ROUGHNESS_MOLECULES]
    rough = roughness(scale().fit_transform(features[chosen]), values[chosen])
    return Worth(score(linear), score(neighbours), rough)


def score(values: Sequence[float]) -> Score:
    """The mean of what the splits gave, with its interval; without one (NaN) for a single split."""
    mean, number = float(np.mean(values)), len(values)
    if number < 2:
        return Score(mean, float("nan"), float("nan"))
    half = float(student.ppf((1 + LEVEL) / 2, number - 1) * np.std(values, ddof=1) / np.sqrt(number))
    return Score(mean, mean - half, mean + half)
