"""Features of molecules: equal to Hugging Face's hidden states, whole, in order, and a scikit-learn transformer."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import selfies
import torch
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator
from transformers import AutoModelForCausalLM, AutoTokenizer

from chemscale_bench.data.codec import Codec
from chemscale_bench.data.spelling import spell
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import Featurizer
from chemscale_bench.models.registry import LANGUAGE_MODELS

SMILES = ["CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "C", "CN1CCC[C@H]1c1cccnc1", "C" * 60, "O=C(N)c1ccc(F)cc1"]
SYMBOLS = sorted({s for text in SMILES for s in selfies.split_selfies(selfies.encoder(text))} | {"[F]", "[=Branch1]"})
VOCABULARY = Vocabulary.build(dict.fromkeys(SYMBOLS, 1), selfies_version="2")


def save(model: str, folder: Path, seed: int = 0) -> Path:
    """A checkpoint whose weights are far from their start."""
    family = LANGUAGE_MODELS.family(model)
    network = family.build(family.config_for(20_000 if model == "lstm" else 30_000, VOCABULARY.size), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    family.save_pretrained(network, folder, VOCABULARY.start_id, VOCABULARY.end_id, VOCABULARY.pad_id)
    VOCABULARY.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {model: save(model, tmp_path_factory.mktemp(model)) for model in LANGUAGE_MODELS.modules}


def molfeat(folder: Path, strings: list[str], layer: int = -1) -> np.ndarray:
    """What molfeat.trans.pretrained.PretrainedHFTransformer computes with pooling="mean", by its source.

    Padded batch, hidden states of a layer, mean over all tokens that are no padding, [CLS] and [SEP] included.
    """
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = "[PAD]"
    inputs = tokenizer(strings, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states[layer]
    mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
    pooled: np.ndarray = ((states * mask).sum(1) / mask.sum(1)).numpy()
    return pooled


def canonical_selfies() -> list[str]:
    spelled = spell(SMILES, VOCABULARY, Codec())
    parts = np.split(spelled.ids, np.cumsum(spelled.lengths)[:-1])
    return [VOCABULARY.decode(part) for part in parts]


@pytest.mark.parametrize("layer", [-1, 0, 1])
@pytest.mark.parametrize("model", ["chemgpt", "llama"])
def test_equals_hidden_states_of_hugging_face_pooled_as_molfeat_does(
    model: str, layer: int, folders: dict[str, Path]
) -> None:
    ours = Featurizer(folders[model], pooling="molfeat", layer=layer)(SMILES)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, molfeat(folders[model], canonical_selfies(), layer), atol=1e-5, rtol=1e-5)


def test_reads_the_released_layout(folders: dict[str, Path], tmp_path: Path) -> None:
    """SELFIES 1.x spelling, weights of 2022, nothing that says so: as `ncfrey/ChemGPT-4.7M` is."""
    old = {"[=Branch1]": "[Branch1_2]", "[Branch1]": "[Branch1_1]", "[C@@H1]": "[C@@Hexpl]", "[C@H1]": "[C@Hexpl]"}
    symbols = tuple(old.get(symbol, symbol) for symbol in VOCABULARY.symbols)
    assert symbols != VOCABULARY.symbols
    Vocabulary(symbols, "1.0.4").save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    hugging_face = AutoModelForCausalLM.from_pretrained(folders["chemgpt"])
    (tmp_path / "config.json").write_text((folders["chemgpt"] / "config.json").read_text())
    torch.save(hugging_face.state_dict(), tmp_path / "pytorch_model.bin")
    strings = canonical_selfies()
    for new, was in old.items():
        strings = [text.replace(new, was) for text in strings]
    ours = Featurizer(tmp_path, pooling="molfeat")(SMILES)
    untrained = Featurizer(tmp_path, pooling="molfeat", untrained=True)(SMILES)
    assert np.isfinite(untrained).all()
    assert not np.allclose(untrained, ours, atol=1e-2)
    hugging_face.save_pretrained(tmp_path)
    np.testing.assert_allclose(ours, molfeat(tmp_path, strings), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model", LANGUAGE_MODELS.modules)
def test_the_last_states_are_those_that_logits_are_made_of(model: str, folders: dict[str, Path]) -> None:
    from chemscale_bench.training.language import pack

    network = LANGUAGE_MODELS.family(model).load_pretrained(folders[model]).eval()
    batch = pack([np.array([5, 6, 7, 3], np.uint16), np.array([8, 3], np.uint16)], VOCABULARY.start_id)
    with torch.no_grad():
        *before, last = network.states(batch)
        head = network.head if model == "lstm" else lambda states: states @ network.token_embedding.weight.mT
        torch.testing.assert_close(head(last), network.logits(batch), atol=1e-6, rtol=1e-6)
    assert len(before) == network.config.sizes["layers"]


@pytest.mark.parametrize("pooling", ["mean", "last", "max", "molfeat"])
@pytest.mark.parametrize("model", LANGUAGE_MODELS.modules)
def test_a_molecule_has_its_features_whoever_is_beside_it(model: str, pooling: str, folders: dict[str, Path]) -> None:
    featurizer = Featurizer(folders[model], pooling=pooling, layer=1)
    together, alone = featurizer(SMILES), np.concatenate([featurizer([one]) for one in SMILES])
    assert together.shape == (len(SMILES), len(featurizer.get_feature_names_out()))
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=1e-5)
    again = featurizer(["OCC", "C1=CC=CC=C1"])  # other spellings of the first two
    np.testing.assert_allclose(again, together[:2], atol=1e-5, rtol=1e-5)


def test_poolings_differ_in_the_tokens_they_take(folders: dict[str, Path]) -> None:
    rows = {pooling: Featurizer(folders["llama"], pooling=pooling)(SMILES) for pooling in ("mean", "last", "max")}
    assert not np.allclose(rows["mean"], rows["last"], atol=1e-2)
    assert (rows["max"] >= rows["mean"] - 1e-6).all()
    ends = Featurizer(folders["llama"], pooling="molfeat")(SMILES)
    assert not np.allclose(ends, rows["mean"], atol=1e-3)


def test_what_has_no_features_is_a_row_of_nan_and_counted(folders: dict[str, Path]) -> None:
    given = ["CCO", "C(", "", pd.NA, "[Xe]", "CC" * 400, float("nan"), "CCO"]
    with pytest.warns(UserWarning, match=r"6 of 8 molecules .*\(3 empty, 1 too_long, 1 unknown_symbol, 1 unparsable\)"):
        vectors = Featurizer(folders["llama"])(given)
    assert np.isnan(vectors).all(1).tolist() == [False, True, True, True, True, True, True, False]
    assert np.array_equal(vectors[0], vectors[-1])
    reasons = Featurizer(folders["llama"]).featurize(given).reasons
    assert reasons == ["", "unparsable", "empty", "empty", "unknown_symbol", "too_long", "empty", ""]
    assert Featurizer(folders["llama"]).featurize([]).vectors.shape[0] == 0


def test_untrained_is_the_same_network_with_its_first_weights(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        trained, untrained = (Featurizer(folder, untrained=flag).fit() for flag in (False, True))
        sizes = [each.checkpoint_.network.config.sizes for each in (trained, untrained)]
        assert sizes[0] == sizes[1]
        assert not np.allclose(trained(SMILES), untrained(SMILES), atol=1e-2)
        assert np.array_equal(untrained(SMILES), Featurizer(folder, untrained=True)(SMILES))


def test_in_a_pipeline_and_cloned(folders: dict[str, Path]) -> None:
    pipeline = make_pipeline(Featurizer(folders["lstm"]), Ridge())
    target = np.arange(len(SMILES), dtype=float)
    predicted = pipeline.fit(SMILES, target).predict(SMILES)
    assert np.array_equal(clone(pipeline).fit(SMILES, target).predict(SMILES), predicted)
    changed = pipeline.set_params(featurizer__pooling="last").fit(SMILES, target)
    assert not np.allclose(changed.predict(SMILES), predicted)
    other = pipeline[0].set_params(run=folders["llama"])
    assert np.array_equal(other.transform(SMILES), Featurizer(folders["llama"], pooling="last")(SMILES))


def test_scikit_learns_own_checks(folders: dict[str, Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        warnings.filterwarnings("ignore", message="Can't test estimator")
        check_estimator(Featurizer(str(folders["llama"])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "sum"}, "pooling must be one of mean, last, max, molfeat, got 'sum'; choose"),
        ({"layer": 9}, "layer must be from 0, the embedding, to .* got 9; -1 is the last"),
        ({"run": ""}, "run must be the id of a run or the folder of a checkpoint, got nothing"),
        ({"run": "NOTHING"}, "run must have a checkpoint of a language model, got .* without a readable config.json"),
        ({"run": "OTHER"}, "run must have a checkpoint with model_type gpt_neo or qwen3 or .*, got 'bert' in"),
        ({"run": "LIST"}, r"run must have a checkpoint with model_type .*, got \['bert'\] in"),
        ({"run": "WITHOUT"}, "a checkpoint must come with the tokenizer.json of its vocabulary, .*WITHOUT has none"),
    ],
)
def test_bad_parameters(changes: dict[str, Any], message: str, folders: dict[str, Path], tmp_path: Path) -> None:
    types = {"OTHER": "bert", "LIST": ["bert"], "WITHOUT": "qwen3"}
    for name, model_type in types.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": model_type}))
    (tmp_path / "NOTHING").mkdir()
    given = {"run": folders["llama"]} | changes
    if given["run"] in ("NOTHING", *types):
        given["run"] = tmp_path / given["run"]
    with pytest.raises(UserError, match=message):
        Featurizer(**given)(SMILES)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("CCO", "smiles must be a list of SMILES, got the one text 'CCO'; put it into a list"),
        ([1, 2], "smiles must be texts, got 1 of type int"),
        (np.array([["C", "N"]]), r"got an array of shape \(1, 2\)"),
    ],
)
def test_bad_molecules(smiles: Any, message: str, folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=message):
        Featurizer(folders["llama"])(smiles)


def test_a_run_that_is_not_there(tracking_uri: str) -> None:
    with pytest.raises(UserError, match=r"run must be .* or the id of a run of this store, got 'a{32}'; check it"):
        Featurizer("a" * 32)(SMILES)
