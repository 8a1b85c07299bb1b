"""The metrics are those of MOSES: golden numbers of its own code, on molecules that RDKit carries."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from chemscale_bench.data.embedded import files
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import generation
from chemscale_bench.evaluation.chemistry import Read, canonical, read_selfies
from chemscale_bench.evaluation.generation import Distribution
from chemscale_bench.evaluation.similarity import similarities

# Of `get_all_metrics` in molsets 0.3.1 with fcd_torch 1.0.7, RDKit 2026.9.1, on the molecules below and two texts that
# are none. On a Python of today it needs `rdkit.six`, `np.NaN`, `DataFrame.append` and `sqrtm(disp=)` put back.
OWN = {"internal_diversity_1": 0.8859702883377548, "internal_diversity_2": 0.8579931817133166,
       "filters": 0.6863636363636364}  # fmt: skip
UNIQUE = {100: 1.0, 1000: 0.9090909090909091}
NOVELTY = 0.7
AGAINST_TEST = {
    "snn_test": 0.27070274527438665, "fragments_test": 0.7435226293848409, "scaffolds_test": 0.07850531639900393,
    "wasserstein_logp_test": 0.5177762272727274, "wasserstein_sa_test": 0.12464294837969768,
    "wasserstein_qed_test": 0.142552074348644, "wasserstein_weight_test": 81.44984893939399,
}  # fmt: skip
AGAINST_SCAFFOLDS = {"snn_sf": 0.19822370143268597, "fragments_sf": 0.6216182827962096,
                     "scaffolds_sf": 0.09604407782435176}  # fmt: skip
FCD = {"test": 24.155818607688992, "sf": 80.39452988772297}


def molecules(file: Path, start: int, stop: int) -> list[str]:
    """Canonical SMILES of some lines, whatever stands beside them."""
    lines = [line.replace('"', "").replace(",", " ").split()[0] for line in file.read_text().splitlines()[start:stop]]
    return [found for line in lines if (found := canonical(line))]


@pytest.fixture(scope="module")
def sets() -> dict[str, list[str]]:
    nci, wehi, chembl = files()
    return {
        "generated": molecules(nci, 0, 350) + molecules(chembl, 0, 50) + molecules(nci, 0, 40),
        "test": molecules(wehi, 0, 300), "sf": molecules(chembl, 50, 150), "training": molecules(nci, 0, 120),
    }  # fmt: skip


@pytest.fixture(scope="module")
def generated(sets: dict[str, list[str]]) -> Distribution:
    return Distribution.of(sets["generated"], "generated")


def test_golden_numbers_of_moses(sets: dict[str, list[str]], generated: Distribution) -> None:
    smiles = sets["generated"]
    found = generation.own_metrics(smiles, generated)
    assert {key: found[key] for key in OWN} == pytest.approx(OWN, abs=1e-6)
    assert {first: generation.unique(smiles, first) for first in UNIQUE} == pytest.approx(UNIQUE)
    assert generation.novelty(smiles, sets["training"]) == pytest.approx(NOVELTY)
    against = generation.metrics_against(generated, Distribution.of_reference(sets["test"], "test"), "test")
    assert against == pytest.approx(AGAINST_TEST, abs=1e-6)
    scaffolds = generation.metrics_against(generated, Distribution.of_reference(sets["sf"], "sf"), "sf")
    assert {key: scaffolds[key] for key in AGAINST_SCAFFOLDS} == pytest.approx(AGAINST_SCAFFOLDS, abs=1e-6)


def test_novelty_needs_a_training_set() -> None:
    with pytest.raises(UserError, match="the training set must hold molecules for novelty, got none"):
        generation.novelty(["CCO"], [])
    assert generation.novelty(["CCO", "C", "C"], iter(["C"])) == 0.5


def test_counts_without_a_key_have_no_similarity() -> None:
    assert math.isnan(generation.cosine(Counter(), Counter("a")))
    assert generation.cosine(Counter("aab"), Counter("aab")) == pytest.approx(1)


def test_similarities_are_those_of_rdkit() -> None:
    bits = np.random.default_rng(0).random((300, 1024)) < 0.05
    bits[:2] = False
    words = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
    found = similarities(words[:280], words)
    common = bits[:280].astype(int) @ bits.T.astype(int)
    either = bits[:280].sum(1)[:, None] + bits.sum(1) - common
    expected = np.where(either > 0, common / np.maximum(either, 1), 1.0)
    np.testing.assert_allclose(found.T, [expected.max(1), expected.mean(1), (expected**2).mean(1)], rtol=1e-12)


def test_selfies_are_valid_by_construction_and_raw_validity_is_not() -> None:
    read = read_selfies(["[C][C][O]", "[C][=F][C]", "[F][C][F][F]", "[Ring1]", "", "[C][O][C]"])
    assert read == [
        Read("CCO", True), Read("CF", False), Read("FCF", False), Read("", False), Read("", False), Read("COC", True),
    ]  # fmt: skip
    assert read_selfies(["[C][=F][C]"])[0].smiles == "CF", "the limits of valences are back"
    assert Chem.MolFromSmiles(read[0].smiles) is not None
