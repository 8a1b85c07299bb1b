"""Molecules written token by token: the same logits as of whole molecules, whatever shares a step with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sequences import SIZE, START, random_sequences

from chemscale_bench.models import key_values
from chemscale_bench.models.key_values import KeyValues
from chemscale_bench.models.packed import Growing, LanguageModel
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.training.language import pack

LENGTHS = [5, 17, 1, 70, 300, 2, 40]


def model_of(name: str) -> LanguageModel:
    """Far from the start, so that every weight matters."""
    family = LANGUAGE_MODELS.family(name)
    model: LanguageModel = family.build(family.config_for(30_000, SIZE), 0).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def grown(model: LanguageModel, sequences: list[np.ndarray], rows: int) -> list[torch.Tensor]:
    """Logits (T, V) of each sequence, fed token by token; a row whose molecule has ended begins the next."""
    memory, waiting = model.memory(rows), list(range(len(sequences)))
    logits: list[list[torch.Tensor]] = [[] for _ in sequences]
    at = [(waiting.pop(0), 0) for _ in range(rows)]
    while True:
        fed = [int(sequences[m][place - 1]) if place else START for m, place in at]
        places = torch.tensor([place for _, place in at])
        with torch.inference_mode():
            found = model.logits(Growing(torch.tensor(fed), places, memory))
        for row, (m, place) in enumerate(at):
            if place < len(sequences[m]):
                logits[m].append(found[row])
                at[row] = m, place + 1
            if at[row][1] == len(sequences[m]):
                if not waiting:
                    at[row] = m, len(sequences[m]) - 1  # goes on with its last token, unheeded
                    logits[m] = logits[m][: len(sequences[m])]
                else:
                    at[row] = waiting.pop(0), 0
        if all(len(found) >= len(sequence) for found, sequence in zip(logits, sequences, strict=True)):
            return [torch.stack(found[: len(sequence)]) for found, sequence in zip(logits, sequences, strict=True)]


@pytest.mark.parametrize("name", LANGUAGE_MODELS.modules)
@pytest.mark.parametrize("rows", [1, 3])
def test_the_logits_are_those_of_whole_molecules(name: str, rows: int) -> None:
    model, sequences = model_of(name), random_sequences(LENGTHS)
    with torch.no_grad():
        whole = model.logits(pack(sequences, START))
    torch.testing.assert_close(torch.cat(grown(model, sequences, rows)), whole, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("window", [None, 8])
def test_both_ways_to_attend_agree(window: int | None) -> None:
    """That of a GPU, also taken in bf16, and the compiled one."""
    generator = torch.Generator().manual_seed(0)
    fed = torch.randn(150, 4, 3 * 24, generator=generator)
    compiled, plain = KeyValues(1, 4), KeyValues(1, 4)
    for step, qkv in enumerate(fed):
        positions = torch.tensor([step, step % 7, max(0, step - 80), step % 50])
        ours = compiled.attend(qkv, positions, 3, 0.3, window)
        theirs = plain.attend(qkv.bfloat16(), positions, 3, 0.3, window).float()
        torch.testing.assert_close(ours, theirs, atol=3e-2, rtol=3e-2)
    assert compiled.room == key_values.ROOM * 4
