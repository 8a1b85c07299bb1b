"""A trained model from its folder: losses of molecules in their order, and what is no model is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import selfies
import torch

from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.chemistry import READERS
from chemscale_bench.evaluation.loaded import TrainedLanguageModel, load
from chemscale_bench.evaluation.sampling import sample
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.training.language import pack

VOCABULARY = Vocabulary.build(dict.fromkeys(("[C]", "[=C]", "[O]", "[Ring1]", "[=Branch1]"), 1), selfies.__version__)


def saved(folder: Path, model: str) -> TrainedLanguageModel:
    family = LANGUAGE_MODELS.family(model)
    network = family.build(family.config_for(10_000, VOCABULARY.size), seed=0)
    family.save_pretrained(network, folder, VOCABULARY.start_id, VOCABULARY.end_id, VOCABULARY.pad_id)
    VOCABULARY.save_pretrained(folder)
    found = load(folder)
    assert isinstance(found, TrainedLanguageModel)
    assert type(found.network) is type(network)
    return found


@pytest.mark.parametrize("model", LANGUAGE_MODELS.modules)
def test_losses_are_the_networks_in_the_order_of_the_molecules(tmp_path: Path, model: str) -> None:
    trained = saved(tmp_path, model)
    canonical = ["CCO", "C", "c1ccccc1", "CCCCCCO", "CO"]
    written = ["OCC", "[CH4:7]", "C1=CC=CC=C1", "C(CO)CCCC", "CO"]
    for smiles, loss in zip(canonical, trained.loss(written), strict=True):
        ids = np.append(VOCABULARY.encode(selfies.encoder(smiles)), VOCABULARY.end_id).astype(np.uint16)
        with torch.no_grad():
            alone = trained.network(pack([ids], VOCABULARY.start_id))
        assert loss == pytest.approx(float(alone), rel=1e-5)


def test_what_cannot_be_read_or_spelled_is_nan(tmp_path: Path) -> None:
    trained = saved(tmp_path, "llama")
    cases = ["CO", "", "not one", None, 5.0, "CN", "C" * 600, "C" * 20_000, "*", "OC"]
    assert repr(trained).endswith("parameters: loss(smiles), sample(n), embed(smiles)>")
    losses = trained.loss(cases)  # type: ignore[arg-type]
    assert np.flatnonzero(np.isfinite(losses)).tolist() == [0, 9]
    assert losses[0] == losses[9]
    assert trained.loss([]).shape == (0,)
    assert np.isnan(trained.loss(["not one"])).all()
    with pytest.raises(UserError, match="smiles must be a list of molecules, got the text 'CCO'"):
        trained.loss("CCO")


def test_it_draws_molecules_and_turns_them_into_vectors(tmp_path: Path) -> None:
    trained = saved(tmp_path, "lstm")
    drawn = trained.sample(5, seed=1)
    assert drawn
    assert drawn == trained.sample(5, seed=1)
    assert trained.sample(5, seed=2) != drawn
    vectors = trained.embed(["CO", "not one"])
    assert vectors.shape == (2, trained.network.config.sizes["width"])
    assert np.isfinite(vectors).all(axis=1).tolist() == [True, False]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "a model must be a folder with config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "a model must be a folder with config.json"),
        (lambda folder: (folder / "config.json").write_text("5"), "a model must be a folder with config.json"),
        (lambda folder: (folder / "config.json").write_text('{"a": 1}'), "give one of chemgpt, llama, lstm"),
        (lambda folder: (folder / "config.json").write_text(json.dumps({"elements": 1})), "a force field must be"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "must come with the tokenizer.json of its vocabulary"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "model.safetensors"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, spoil: object, message: str) -> None:
    saved(tmp_path, "llama")
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_model_of_smiles_reads_and_writes_smiles(tmp_path: Path) -> None:
    vocabulary = Vocabulary.build(dict.fromkeys(("C", "O", "=", "(", ")", "1"), 1), selfies.__version__, "smiles")
    family = LANGUAGE_MODELS.family("llama")
    network = family.build(family.config_for(10_000, vocabulary.size), seed=0)
    family.save_pretrained(network, tmp_path, vocabulary.start_id, vocabulary.end_id, vocabulary.pad_id)
    vocabulary.save_pretrained(tmp_path)
    trained = load(tmp_path)
    assert isinstance(trained, TrainedLanguageModel)
    ids = np.append(vocabulary.encode("C=CCO"), vocabulary.end_id).astype(np.uint16)
    with torch.no_grad():
        alone = trained.network(pack([ids], vocabulary.start_id))
    assert trained.loss(["OCC=C", "CN"]) == pytest.approx([float(alone), np.nan], rel=1e-5, nan_ok=True)
    drawn = sample(trained.network, vocabulary, 200)
    read = READERS["smiles"](drawn.strings)
    assert [each.raw_valid for each in read] == [bool(each.smiles) for each in read]
    assert 0 < sum(each.raw_valid for each in read) < len(read), "an untrained model writes most of them wrong"
    assert trained.sample(200) == [each.smiles for each in read if each.smiles]
    assert np.isfinite(trained.embed(["CCO"])).all()
