"""MOSES' statistics of its test sets are read as our own of the same molecules."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from chemscale_bench.data.sources import WHEELS
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import generation, moses
from chemscale_bench.evaluation.generation import Distribution
from chemscale_bench.runs.generation import beside_published

SMILES = ["CCO", "Cc1ccccc1-c1ccncc1", "CC(=O)Nc1ccc(O)cc1", "O=C(NCc1ccccc1)c1ccco1"]


@pytest.fixture
def statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distribution:
    """A file as molsets' `compute_intermediate_statistics` writes it, with RDKit's own bit vectors, in the cache."""
    ours = Distribution.of_reference(SMILES, "four")
    bits = [AllChem.GetMorganFingerprintAsBitVect(Chem.MolFromSmiles(each), 2, 1024) for each in SMILES]
    stats = {
        "SNN": {"fps": np.array([[int(bit) for bit in one.ToBitString()] for one in bits], np.uint8)},
        "Frag": {"frag": ours.fragments}, "Scaf": {"scaf": ours.scaffolds},
        "FCD": {"mu": np.zeros(512), "sigma": np.eye(512)},
    }  # fmt: skip
    stats |= {
        name: {"values": ours.properties[:, i].tolist()} for i, name in enumerate(("logP", "SA", "QED", "weight"))
    }
    monkeypatch.setenv("CHEMSCALE_HOME", str(tmp_path / "home"))
    file = WHEELS["moses"].folder / "test_stats.npz"
    file.parent.mkdir(parents=True)
    np.savez(file, stats=np.array(stats, dtype=object))
    monkeypatch.setitem(WHEELS["moses"].members, file.name, ("", hashlib.sha256(file.read_bytes()).hexdigest()))
    return ours


def test_a_set_is_exactly_as_near_to_itself_as_can_be(statistics: Distribution) -> None:
    found = generation.metrics_against(statistics, moses.reference("test").distribution, "test")
    assert found["snn_test"] == 1
    assert found["fragments_test"] == pytest.approx(1)
    assert found["scaffolds_test"] == pytest.approx(1)
    assert all(value == 0 for name, value in found.items() if "wasserstein" in name)


def test_what_is_not_the_published_file_is_never_unpickled(
    statistics: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WHEELS["moses"].members, "test_stats.npz", ("", "0" * 64))
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(UserError, match="delete it to download it again"):
        moses.reference("test")


def test_our_row_stands_above_the_published_ones() -> None:
    header, ours, *published = beside_published("llama", {"valid": 1.0, "fcd_test": 0.5, "novelty": 0.9})
    assert header.split()[:2] == ["model", "valid"]
    assert ours.split() == ["llama", "(this", "run)", "1.0000", "0.5000", "0.9000"]
    assert any(row.split()[:2] == ["CharRNN", "0.9748"] for row in published)
