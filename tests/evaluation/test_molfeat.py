"""The plug-in for molfeat, found by molfeat itself, and its vectors beside those of molfeat's own transformer."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import selfies
from rdkit import Chem
from transformers import AutoModelForCausalLM, AutoTokenizer

from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import Featurizer
from chemscale_bench.models.registry import LANGUAGE_MODELS

pytest.importorskip("molfeat")

from molfeat.plugins import load_registered_plugins
from molfeat.trans.pretrained import PretrainedHFTransformer
from molfeat.trans.pretrained.hf_transformers import HFModel

SMILES = [Chem.CanonSmiles(text) for text in ("CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O", "CC#N")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    symbols = {symbol for text in SMILES for symbol in selfies.split_selfies(selfies.encoder(text))}
    vocabulary = Vocabulary.build(dict.fromkeys(sorted(symbols), 1), selfies_version="2")
    family, path = LANGUAGE_MODELS.family("chemgpt"), tmp_path_factory.mktemp("model")
    network = family.build(family.config_for(10_000, vocabulary.size), 0)
    family.save_pretrained(network, path, vocabulary.start_id, vocabulary.end_id, vocabulary.pad_id)
    vocabulary.save_pretrained(path)
    return path


def test_vectors_are_those_of_molfeat(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = HFModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder).eval(), tokenizer, model_name="own")
    theirs = PretrainedHFTransformer(kind=model, notation="selfies", pooling="mean", max_length=512)(SMILES)
    ours = Featurizer(folder, pooling="molfeat")(SMILES)
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-5, rtol=1e-5)


def test_molfeat_finds_the_plugin_by_name(folder: Path) -> None:
    import molfeat.trans.pretrained

    load_registered_plugins(groups=["molfeat.trans.pretrained"])
    transformer = molfeat.trans.pretrained.ChemscaleTransformer(folder, pooling="last", dtype=np.float32)
    expected = Featurizer(folder, pooling="last")(SMILES)
    np.testing.assert_allclose(transformer([Chem.MolFromSmiles(text) for text in SMILES]), expected, atol=1e-6)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(transformer))(SMILES), expected, atol=1e-6)
    vectors, kept = transformer([*SMILES, "[Xe]"], ignore_errors=True)
    assert kept == list(range(len(SMILES)))
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    with pytest.raises(UserError, match="pooling must be one of"):
        molfeat.trans.pretrained.ChemscaleTransformer(folder, pooling="sum")
