"""Drawn molecules: from the model's own distribution, the same for a seed, only of what decodes."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from chemscale_bench.data.vocabulary import SPECIAL, Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.sampling import Drawing, Samples, allowed_tokens, sample
from chemscale_bench.models.packed import LanguageModel
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.training.language import pack

SYMBOLS = ("[C]", "[=C]", "[O]", "[N]", "[Branch1]", "[Ring1]", ".")
NEVER = ("[IH4]", "Br", "[C][C]", "C", "[")
VOCABULARY = Vocabulary((*SPECIAL, *SYMBOLS, *NEVER), "2.2.0")


def model_of(name: str = "chemgpt") -> LanguageModel:
    """Untrained, with a mind of its own."""
    family = LANGUAGE_MODELS.family(name)
    model: LanguageModel = family.build(family.config_for(30_000, VOCABULARY.size), 0).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def drawn(model: LanguageModel, molecules: int = 64, **settings: object) -> Samples:
    return sample(model, VOCABULARY, molecules, longest=60, threads=1, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LANGUAGE_MODELS.modules)
def test_nats_are_those_of_the_loss_that_training_and_validation_measure(name: str) -> None:
    model = model_of(name)
    found = drawn(model, drawing=Drawing(temperature=1.3, top_p=0.95))
    assert len(found.strings) + found.unfinished == 64
    whole = [np.append(VOCABULARY.encode(text), VOCABULARY.end_id).astype(np.uint16) for text in found.strings]
    assert found.tokens == sum(map(len, whole))
    with torch.no_grad():
        losses = model.token_losses(pack(whole, VOCABULARY.start_id)).split([len(each) for each in whole])
    assert [float(loss.sum()) for loss in losses] == pytest.approx(found.nats, rel=1e-4)


def test_a_seed_decides_and_nothing_else() -> None:
    model = model_of()
    alone = drawn(model, 40, rows=7)
    for again in (drawn(model, 40, rows=40), sample(model, VOCABULARY, 40, longest=60, rows=5, threads=2)):
        assert again.strings == alone.strings
        assert again.nats == pytest.approx(
            alone.nats, rel=1e-5
        )  # sums of as many numbers, on some processors by others
    more = drawn(model, 64)
    assert more.strings[: len(alone.strings)] == alone.strings
    assert drawn(model, 40, seed=1).strings != alone.strings


def test_tokens_that_are_no_symbol_or_do_not_decode_are_never_drawn() -> None:
    allowed = allowed_tokens(VOCABULARY, VOCABULARY.size)
    assert {VOCABULARY.symbols[token] for token in np.flatnonzero(allowed)} == {SPECIAL[VOCABULARY.end_id], *SYMBOLS}
    for text in drawn(model_of(), 200, drawing=Drawing(temperature=5.0)).strings:
        assert set(re.findall(r"\[.*?\]|\.|[^\[.]+", text)) <= set(SYMBOLS)


def frequencies(drawing: Drawing, logits: list[float], allowed: list[float], count: int = 40_000) -> np.ndarray:
    """How often each token is drawn, at equally spaced places of the unit interval."""
    uniform = ((torch.arange(count) + 0.5) / count).unsqueeze(-1)
    tokens = drawing.draw(torch.tensor([logits]).expand(count, -1), torch.tensor(allowed), uniform)
    return np.bincount(tokens.numpy(), minlength=len(logits)) / count


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        (Drawing(), [0.5, 0.3, 0.2, 0]),
        (Drawing(temperature=0.5), [0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38, 0]),
        (Drawing(top_k=1), [1, 0, 0, 0]),
        (Drawing(top_k=2), [0.625, 0.375, 0, 0]),
        (Drawing(top_k=9), [0.5, 0.3, 0.2, 0]),
        (Drawing(top_p=0.6), [0.625, 0.375, 0, 0]),
        (Drawing(top_p=0.4), [1, 0, 0, 0]),
    ],
)
def test_the_distribution(drawing: Drawing, expected: list[float]) -> None:
    logits = [math.log(0.25), math.log(0.15), math.log(0.1), math.log(0.5)]  # the likeliest is not allowed
    np.testing.assert_allclose(frequencies(drawing, logits, [1, 1, 1, 0]), expected, atol=1e-3)


def test_the_last_random_number_draws_an_allowed_token() -> None:
    almost = torch.tensor([[1 - 2**-24]])
    assert Drawing().draw(torch.zeros(1, 50), torch.tensor([1.0] * 40 + [0.0] * 10), almost).item() == 39


def test_hardly_any_temperature_draws_the_likeliest_token() -> None:
    logits, allowed = torch.tensor([[9.0, 1.0, 2.0]]), torch.tensor([0.0, 1.0, 1.0])
    assert Drawing(temperature=1e-38).draw(logits, allowed, torch.tensor([[0.5]])).item() == 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"drawing": Drawing(temperature=0)}, "temperature must be above 0, got 0; top_k=1"),
        ({"drawing": Drawing(temperature=math.nan)}, "temperature must be above 0, got nan"),
        ({"drawing": Drawing(top_k=-1)}, "top_k must be at least 0, got -1"),
        ({"drawing": Drawing(top_p=0)}, "top_p must be above 0 and at most 1, got 0"),
        ({"molecules": 0}, "molecules must be at least 1, got 0"),
    ],
)
def test_bad_input(settings: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        drawn(model_of(), **settings)


def test_a_vocabulary_of_another_model() -> None:
    with pytest.raises(UserError, match=r"the tokenizer must have as many tokens as the model, 17, got 6"):
        sample(model_of(), Vocabulary((*SPECIAL, "[C]"), "2.2.0"), 1)


@pytest.mark.parametrize("name", ["chemgpt", "llama"])
def test_a_checkpoint_turns_the_defaults_of_hugging_face_off(name: str, tmp_path: Path) -> None:
    """Without generation_config.json it would take the 50 likeliest tokens, and stop after 20."""
    LANGUAGE_MODELS.family(name).save_pretrained(model_of(name), tmp_path, 2, 3, 1)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    chosen = theirs.generation_config
    assert (chosen.do_sample, chosen.temperature, chosen.top_k, chosen.top_p) == (True, 1.0, 0, 1.0)
    assert (chosen.bos_token_id, chosen.eos_token_id, chosen.pad_token_id, chosen.max_length) == (2, 3, 1, 512)
