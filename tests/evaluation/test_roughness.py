"""Roughness: equal to its authors' package, and what the papers say of smooth and rough landscapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from chemscale_bench.data.codec import Codec
from chemscale_bench.data.listing import labelled
from chemscale_bench.data.properties import SETS
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import Featurizer
from chemscale_bench.evaluation.probes import BASELINES, scale
from chemscale_bench.evaluation.roughness import roughness
from chemscale_bench.models import chemgpt

# Of the package `rogi` 0.1: RoughnessIndex(y, X=X, metric="euclidean").compute_index(), and, from its clusters and
# moments, their integral over 1 - log(clusters) / log(molecules).
GOLDEN = [
    (0.32188628563962984, 0.20024894612640676),
    (0.27174989421566487, 0.21639354735426353),
    (0.4149929386629094, 0.3721352275888723),
    (0.2515315188865794, 0.25637642739588873),
    (0.3137354704365587, 0.3385395630604904),
]


def made(case: int) -> tuple[np.ndarray, np.ndarray]:
    """60 to 300 points of 3 to 23 features, and a value that some of these decide; of case 2 two classes."""
    point, channel = np.arange(60 * (case + 1))[:, None], np.arange(3 + 5 * case)[None, :]
    X = np.sin((point + 1) * (channel + 2) * 0.7 + case) * (channel + 1)
    return X, (X[:, 0] > 0).astype(float) if case == 2 else np.cos(3.1 * X[:, 0]) + 0.3 * X[:, 1] ** 2


@pytest.mark.parametrize("case", range(5))
def test_equals_the_package_of_its_authors(case: int) -> None:
    assert tuple(roughness(*made(case))) == pytest.approx(GOLDEN[case], abs=1e-9)


# Of the same package, on Morgan fingerprints of 300 molecules of each set.
REAL = {
    "esol": ("ESOL_delaney-processed.csv", 0.23396497695465185),
    "freesolv": ("FreeSolv_SAMPL.csv", 0.21749012336997225),
    "lipophilicity": ("Lipophilicity.csv", 0.31876202448099256),
    "bbbp": ("BBBP.csv", 0.6789248654650385),
    "bace": ("bace.csv", 0.7694469807102582),
}


def real(name: str, folder: Path, most: int) -> tuple[list[str], np.ndarray]:
    """Molecules spread over one of these sets, and their values."""
    table = labelled(folder / "moleculenet" / REAL[name][0], SETS[name].target)
    pairs = [pair for pair in zip(table.smiles, table.values, strict=True) if Chem.MolFromSmiles(pair[0])]
    smiles, values = zip(*pairs[:: max(1, len(pairs) // most)][:most], strict=True)
    return list(smiles), np.array(values)


@pytest.mark.parametrize("name", REAL)
def test_equals_the_package_on_real_molecules(name: str, shared_data: Path) -> None:
    smiles, values = real(name, shared_data, 300)
    vectors = BASELINES["Morgan fingerprints"](smiles)
    assert roughness(vectors, values).rogi == pytest.approx(REAL[name][1], abs=1e-9)


@pytest.mark.parametrize("name", REAL)
def test_equals_the_package_on_features_of_a_network(name: str, shared_data: Path, tmp_path: Path) -> None:
    """Of 1,000 molecules, or all. The network is untrained: its vectors only have to be the same on both sides."""
    package = pytest.importorskip("rogi", reason="the package rogi, of the group dev, is not installed")
    smiles, values = real(name, shared_data, 1_000)
    codec = Codec()
    codec.encode([Chem.CanonSmiles(text) for text in smiles])
    vocabulary = Vocabulary.build(dict.fromkeys(codec.symbols, 1), selfies_version="2")
    network = chemgpt.build(chemgpt.config_for(10_000, vocabulary.size), 0)
    chemgpt.save_pretrained(network, tmp_path, vocabulary.start_id, vocabulary.end_id, vocabulary.pad_id)
    vocabulary.save_pretrained(tmp_path)
    vectors = Featurizer(tmp_path).featurize(smiles).vectors
    fine = np.isfinite(vectors).all(1)
    assert fine.mean() > 0.99
    features = scale().fit_transform(vectors[fine].astype(float))
    theirs = package.RoughnessIndex(values[fine], X=features, metric="euclidean", verbose=False).compute_index()
    assert roughness(features, values[fine]).rogi == pytest.approx(theirs, abs=1e-9)


def test_a_value_that_neighbours_share_is_smoother_than_a_shuffled_one() -> None:
    X, _ = made(1)
    smooth, rough = roughness(X, X[:, -1]), roughness(X, np.random.default_rng(0).permutation(X[:, -1]))
    assert smooth.rogi < rough.rogi
    assert smooth.rogi_xd < rough.rogi_xd


def test_units_do_not_matter() -> None:
    X, y = made(0)
    assert tuple(roughness(3 * X + 7, 100 * y - 5)) == pytest.approx(tuple(roughness(X, y)), abs=1e-9)


@pytest.mark.parametrize("values", [np.ones(60), np.arange(2.0)])
def test_nothing_that_differs_is_refused(values: np.ndarray) -> None:
    with pytest.raises(UserError, match="roughness needs at least three molecules that differ"):
        roughness(made(0)[0][: len(values)], values)
