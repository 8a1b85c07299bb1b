"""Probes: splits that share no scaffold, scores that find what is there, refusals of what cannot be measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import probe_report, probes

RINGS = [
    "c1ccccc1",
    "C1CCCCC1",
    "c1ccncc1",
    "C1CCNCC1",
    "c1ccoc1",
    "c1ccsc1",
    "C1CC1",
    "C1CCC1",
    "c1ccc2ccccc2c1",
    "C1CCOC1",
]
SMILES = [f"{'C' * length}{ring}" for ring in RINGS for length in range(1, 9)]
GROUPS = probes.scaffolds(SMILES)


def test_scaffolds_are_those_of_the_rings() -> None:
    assert len(set(GROUPS.tolist())) == len(RINGS)
    assert len(set(probes.scaffolds(["CC", "CCO", "c1ccccc1", "Cc1ccccc1CC"]).tolist())) == 2
    assert len(set(probes.scaffolds(["CC1CCCCC1", "C[CH:1]1[CH2:2]CCCC1"]).tolist())) == 1  # one molecule, mapped


@pytest.mark.parametrize("seed", range(5))
def test_a_split_keeps_scaffolds_apart_and_loses_nobody(seed: int) -> None:
    train, test = probes.split(GROUPS, seed)
    assert not set(GROUPS[train]) & set(GROUPS[test])
    assert sorted([*train, *test]) == list(range(len(SMILES)))
    assert len(test) == 16  # a fifth
    again = probes.split(GROUPS, seed)
    assert np.array_equal(again.test, test)


def test_a_scaffold_too_large_to_test_on_is_trained_on() -> None:
    groups = np.array([0] * 60 + list(range(1, 41)))
    for seed in range(5):
        assert set(range(60)) <= set(probes.split(groups, seed).train.tolist())


def test_a_linear_property_is_found_and_noise_is_not() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(len(SMILES), 5))
    made = probes.splits(GROUPS, X[:, 0], 3)
    found = probes.worth(X, 3 * X[:, 0] + 1, made)
    assert found.linear.mean < 0.2
    assert found.linear.low <= found.linear.mean <= found.linear.high
    assert found.linear.mean < found.neighbours.mean
    classes = (X[:, 0] > 0).astype(float)
    assert probes.kind_of(classes) == "classification"
    assert probes.worth(X, classes, made).linear.mean > 0.95
    assert probes.worth(X, random.permutation(classes), made).linear.mean < 0.8


def test_scores_are_those_of_the_model_written_out() -> None:
    """Ridge of scikit-learn on features scaled by hand, at the penalty that was chosen."""
    random = np.random.default_rng(1)
    X = random.normal(size=(len(SMILES), 3)) * [1, 10, 100]
    y = X @ [1, 0.1, 0.01] + random.normal(size=len(SMILES))
    (made,) = probes.splits(GROUPS, y, 1)
    (linear, _) = next(iter(probes.errors(X, y, [made])))
    Z = (X - X[made.train].mean(0)) / X[made.train].std(0)
    head = probes.heads("regression")[0].fit(Z[made.train], y[made.train])
    predicted = Ridge(head.alpha_).fit(Z[made.train], y[made.train]).predict(Z[made.test])
    assert linear == pytest.approx(np.sqrt(np.mean((predicted - y[made.test]) ** 2)), rel=1e-6)


def test_baselines_have_a_finite_row_for_every_molecule() -> None:
    for features in probes.BASELINES.values():
        rows = features(["CCO", "[Na+].[Cl-]", "c1ccccc1"])
        assert len(rows) == 3
        assert np.isfinite(rows).all()


@pytest.mark.parametrize(
    ("groups", "values", "message"),
    [
        (np.arange(20), np.arange(20.0), "data must have at least 50 molecules with features and a value, got 20"),
        (np.arange(60), np.ones(60), "target must differ between molecules, all 60 have 1"),
        (np.zeros(60, int), np.arange(60.0), "data must have enough scaffolds to test on 20% of 60 molecules"),
        (
            np.arange(60),
            np.eye(60)[0],
            r"every split must have both classes on both sides, the \w+ set of split \d has",
        ),
    ],
)
def test_what_cannot_be_measured(groups: np.ndarray, values: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        probes.splits(groups, values, 5)


def test_a_rank_correlation_has_its_interval() -> None:
    table = pd.DataFrame({"kind": "trained", "loss_nats_per_token": np.linspace(1, 2, 12)})
    table["non_embedding_params"] = [10, 20] * 6
    for place, name in enumerate(probe_report.FOUND):
        table[name] = np.linspace(1, 2, 12) if place == 0 else np.cos(7.0 * np.arange(12) * place)
    found = probe_report.correlations(table).set_index(["found", "against"])
    perfect = found.loc[("linear", "loss_nats_per_token")]
    assert perfect[["runs", "spearman", "low", "high"]].tolist() == [12, 1, 1, 1]
    other = found.loc[("rogi", "loss_nats_per_token")]
    assert other["low"] < other["spearman"] < other["high"]
    assert not len(probe_report.correlations(table[:3]))
