"""CharRNN: molecules by themselves, whatever the padding; sizes, rates and checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sequences import END, PAD, SIZE, START, SYMBOLS, learnable_sequences, random_sequences, spread
from torch import nn

from chemscale_bench.errors import UserError
from chemscale_bench.models import lstm
from chemscale_bench.models.lstm import CharRNN, CharRNNConfig
from chemscale_bench.training.language import pack, pack_on_device


def model_of(width: int, size: int = SIZE) -> CharRNN:
    return lstm.build(CharRNNConfig(width, size), seed=0)


def test_packed_losses_equal_those_of_each_molecule_alone() -> None:
    model = model_of(32)
    sequences = random_sequences([30, 2, 11, 11, 170])
    together = model.token_losses(pack(sequences, START))
    alone = torch.cat([model.token_losses(pack([sequence], START)) for sequence in sequences])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_logits_are_those_of_the_layers_applied_to_one_molecule() -> None:
    """By hand: the equations of an LSTM (gates: input, forget, cell, output), token by token."""
    model = model_of(16)
    (sequence,) = random_sequences([12])
    weights = model.lstm
    states = [(torch.zeros(16), torch.zeros(16)) for _ in range(lstm.LAYERS)]
    expected = []
    for symbol in [START, *sequence[:-1].tolist()]:
        x = model.embedding.weight[symbol]
        for layer, (hidden, cell) in enumerate(states):
            reads, remembers, *biases = (
                getattr(weights, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            let_in, forget, new, out = (reads @ x + remembers @ hidden + sum(biases)).chunk(4)
            cell = forget.sigmoid() * cell + let_in.sigmoid() * new.tanh()
            x = out.sigmoid() * cell.tanh()
            states[layer] = (x, cell)
        expected.append(model.head(x))
    torch.testing.assert_close(model.logits(pack([sequence], START)), torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_a_batch_as_a_gpu_has_it_gives_the_same_losses() -> None:
    """No groups, padding behind the molecules, and empty ones at the end, which cost no row."""
    model, rows = model_of(32), []
    model.lstm.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    sequences = random_sequences([30, 2, 11, 64])
    lengths = [len(each) for each in sequences]
    tokens = torch.from_numpy(np.concatenate(sequences).view(np.int16))
    items = np.array([*zip(np.cumsum([0, *lengths[:-1]]), lengths, strict=True), (-64, 21)])
    there = pack_on_device(tokens, items, START)
    assert not there.groups
    assert len(there.offsets) - 1 > len(items)
    losses = model.token_losses(there)
    assert rows == [len(items)]
    here = model.token_losses(pack(sequences, START))
    torch.testing.assert_close(losses[: len(here)], here, atol=1e-5, rtol=1e-5)
    assert not losses[len(here) :].any()


def test_a_molecule_never_sees_its_neighbour_nor_its_future() -> None:
    model = model_of(32)
    first, second, other = random_sequences([20, 20, 20])
    before = model.token_losses(pack([first, second], START))
    after = model.token_losses(pack([first, np.append(second[:10], other[10:])], START))
    assert torch.equal(before[:30], after[:30])
    assert not torch.equal(before[30:], after[30:])


def test_bf16_leaves_the_recurrence_in_fp32() -> None:
    model, batch = model_of(32), pack(random_sequences([30, 11]), START)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.token_losses(batch)
    torch.testing.assert_close(rounded, model.token_losses(batch), atol=0.05, rtol=0.02)


@pytest.mark.parametrize("asked", [10_000, 30_000, *(round(10 ** (exponent / 4)) for exponent in range(20, 40))])
def test_sizes_are_met_within_5_percent(asked: int) -> None:
    assert lstm.config_for(asked, SIZE).non_embedding_params == pytest.approx(asked, rel=0.05)


def test_a_size_beyond_the_ladder_is_refused() -> None:
    with pytest.raises(UserError, match=r"within 5 % of a size that CharRNN has, got 1,000; the nearest are 6,528"):
        lstm.config_for(1_000, SIZE)


def test_parameters_and_flops_are_those_that_are_there() -> None:
    model = model_of(24)
    tables = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("lstm."))
    assert sum(p.numel() for p in model.lstm.parameters()) == model.config.non_embedding_params
    assert lstm.weight_bytes(model.config) == 4 * (model.config.non_embedding_params + tables)
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and name != "embedding.weight"]
    assert model.config.flops_per_token(40) == 6 * sum(p.numel() for p in matrices)
    assert model.config == CharRNNConfig.from_plain(json.loads(json.dumps(model.config.plain())))
    assert model.config == lstm.stated(model.config.sizes)


def test_what_a_step_changes_stays_the_same_over_widths() -> None:
    """The coordinate check of the states behind the last layer and of the logits; the usual single rate fails it."""

    def changes(width: int, scaled: bool) -> tuple[float, float]:
        model = model_of(width, SYMBOLS)
        groups = lstm.parameter_groups(model, 2.0**-11, 0.0)
        groups = groups if scaled else [group | {"lr": 2.0**-11} for group in groups]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
        probe = pack(learnable_sequences(16, 0), START)

        def activations() -> list[torch.Tensor]:
            with torch.no_grad():
                return [model.run(model.lstm, model.embedding(probe.inputs), probe), model.logits(probe)]

        before = activations()
        for seed in range(1, 4):
            batch = pack(learnable_sequences(16, seed), START)
            optimizer.zero_grad()
            (model(batch) / len(batch.targets)).backward()
            optimizer.step()
        hidden, logits = ((b - a).square().mean().sqrt() for a, b in zip(before, activations(), strict=True))
        return float(hidden), float(logits)

    scaled, plain = ([changes(width, way) for width in (32, 64, 128, 256)] for way in (True, False))
    assert all(spread(list(values)) < 1.6 for values in zip(*scaled, strict=True)), scaled
    assert max(spread(list(values)) for values in zip(*plain, strict=True)) > 2.5, plain


def test_every_parameter_learns_at_its_rate() -> None:
    model = model_of(32)
    groups = lstm.parameter_groups(model, 0.01, 0.1)
    rates = {id(p): (group["lr"], group["lr"] * group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim == 2 and not name.startswith("embedding.")
        assert rates[id(parameter)] == pytest.approx((0.04 if matrix else 0.01, 0.001 * name.startswith("lstm.weight")))


def test_muon_changes_gates_by_themselves_at_one_rate_for_every_width() -> None:
    for width in (32, 256):
        model = model_of(width)
        hidden, head, rest = lstm.parameter_groups(model, "auto", 0.1, optimizer="muon")
        assert (hidden["lr"], hidden["weight_decay"], hidden["parts"]) == (lstm.MUON_RATE, 0.1, 4)
        assert len(hidden["params"]) == 2 * lstm.LAYERS
        assert (head["lr"], rest["lr"]) == pytest.approx((lstm.LEARNING_RATE * 128 / width, lstm.LEARNING_RATE))
    halved = lstm.parameter_groups(model, lstm.MUON_RATE / 2, 0.1, optimizer="muon")
    assert [group["lr"] for group in halved] == pytest.approx([group["lr"] / 2 for group in (hidden, head, rest)])


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    model = model_of(16)
    lstm.save_pretrained(model, tmp_path, START, END, PAD)
    for name, value in lstm.load_pretrained(tmp_path).state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
    record = json.loads((tmp_path / "config.json").read_text())
    assert set(record) == lstm.CONFIG_KEYS
    assert lstm.sizes_of(record) == model.config.sizes


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "config.json and model.safetensors"),
        ("config.json", "[]", "config.json and model.safetensors"),
        ("config.json", '{"model_type": "gpt2", "width": 16, "vocabulary_size": 40}', "model_type='chemscale_char"),
        ("config.json", '{"model_type": "chemscale_char_rnn", "width": 17, "vocabulary_size": 40}', "every weight"),
        ("model.safetensors", "x" * 100, "config.json and model.safetensors"),
    ],
)  # fmt: skip
def test_a_broken_checkpoint_is_refused_in_one_line(
    tmp_path: Path, file: str, content: str | None, message: str
) -> None:
    lstm.save_pretrained(model_of(16), tmp_path, START, END, PAD)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=message) as refused:
        lstm.load_pretrained(tmp_path)
    assert "\n" not in str(refused.value)


def test_it_cannot_be_stacked_as_its_family_says() -> None:
    from chemscale_bench.training.stacked_layers import stacked_module

    assert not lstm.STACKED
    with pytest.raises(TypeError, match="LSTM cannot be stacked"):
        stacked_module(nn.Sequential(model_of(16).lstm), {})
