"""Llama: equal to Qwen3 of `transformers`, molecules by themselves, one rate for every size."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sequences import END, PAD, SIZE, START, SYMBOLS, learnable_sequences, random_sequences, spread
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.coordinates import Coordinates, coordinates
from chemscale_bench.models import llama
from chemscale_bench.models.llama_network import Llama
from chemscale_bench.models.parametrization import Optimizer, Parametrization
from chemscale_bench.models.sizes import Shape
from chemscale_bench.training.language import pack
from chemscale_bench.training.muon import optimizer_of
from chemscale_bench.training.stacked_layers import stacked_module

LADDERS = {
    "width": [Shape(3, width, width // 32) for width in (64, 128, 256)],
    "depth": [Shape(layers, 64, 2) for layers in (5, 10, 20)],
    "head size": [Shape(3, 128, heads) for heads in (32, 8, 2)],
}
FLAT, SLOPED = 2.6, 5.0  # largest over smallest coordinate of a ladder


def model_of(shape: Shape, parametrization: Parametrization = "mutransfer", seed: int = 0, size: int = SIZE) -> Llama:
    return llama.build(llama.config_of(shape, size, parametrization), seed, parametrization=parametrization)


def moved(model: Llama) -> Llama:
    """Far from the start, so that every weight matters."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def theirs_on(model: Qwen3ForCausalLM, sequences: list[np.ndarray]) -> torch.Tensor:
    """The logits of `transformers`, molecule by molecule, without padding."""
    inputs = [torch.tensor([[START, *sequence[:-1].tolist()]]) for sequence in sequences]
    return torch.cat([model(input_ids=each, use_cache=False).logits[0] for each in inputs])


@pytest.mark.parametrize("parametrization", ["standard", "mutransfer"])
@pytest.mark.parametrize("shape", [Shape(1, 96, 3), Shape(3, 32, 8)])
def test_our_checkpoint_has_the_same_logits_in_transformers_and_here(
    tmp_path: Path, parametrization: Parametrization, shape: Shape
) -> None:
    model = moved(model_of(shape, parametrization))
    llama.save_pretrained(model, tmp_path, START, END, PAD)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, Qwen3ForCausalLM)
    batch = pack(random_sequences([5, 17, 1, 300]), START)
    ours = model.logits(batch)
    torch.testing.assert_close(ours, theirs_on(loaded, random_sequences([5, 17, 1, 300])), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(llama.load_pretrained(tmp_path).logits(batch), ours, atol=1e-4, rtol=1e-5)
    record = json.loads((tmp_path / "config.json").read_text())
    assert set(record) == llama.CONFIG_KEYS
    assert llama.sizes_of(record) == model.config.sizes
    spare = (tmp_path / "model.safetensors").stat().st_size - llama.weight_bytes(llama.stated(model.config.sizes))
    assert 0 <= spare < 10_000


def hugging_face_qwen3(**other: Any) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": SIZE, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 12}
    sizes |= {"num_key_value_heads": 4, "intermediate_size": 128, "tie_word_embeddings": True}
    sizes |= {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}
    return Qwen3ForCausalLM(Qwen3Config(**(sizes | other), initializer_range=0.2)).eval()


def test_a_hugging_face_checkpoint_loads_with_equal_logits(tmp_path: Path) -> None:
    theirs = hugging_face_qwen3()
    theirs.save_pretrained(tmp_path)
    sequences = random_sequences([3, 60, 280])
    ours = llama.load_pretrained(tmp_path).logits(pack(sequences, START))
    torch.testing.assert_close(ours, theirs_on(theirs, sequences), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"num_key_value_heads": 2}, "num_key_value_heads=4"),
        ({"intermediate_size": 192}, "intermediate_size=128"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=True"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, r"rope_theta=100\.0 .* got 10000\.0"),
    ],
)
def test_another_network_is_refused(tmp_path: Path, other: dict[str, Any], message: str) -> None:
    hugging_face_qwen3(**other).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=message):
        llama.load_pretrained(tmp_path)


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, "[]"])
def test_a_broken_checkpoint_is_refused_in_one_line(tmp_path: Path, broken: str, content: str | None) -> None:
    hugging_face_qwen3().save_pretrained(tmp_path)
    if content is None:
        (tmp_path / broken).unlink()
    else:
        (tmp_path / broken).write_text(content)
    with pytest.raises(UserError, match=r"config.json and model.safetensors"):
        llama.load_pretrained(tmp_path)


def test_packed_losses_equal_those_of_each_molecule_alone() -> None:
    model = moved(model_of(Shape(2, 64, 4)))
    sequences = random_sequences([30, 2, 11, 11, 270])
    together = model.token_losses(pack(sequences, START))
    alone = torch.cat([model.token_losses(pack([sequence], START)) for sequence in sequences])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_molecule_never_sees_its_neighbour_nor_its_future() -> None:
    model = moved(model_of(Shape(2, 64, 4)))
    first, second, other = random_sequences([20, 20, 20])
    before = model.token_losses(pack([first, second], START))
    after = model.token_losses(pack([first, np.append(second[:10], other[10:])], START))
    assert torch.equal(before[:30], after[:30])
    assert not torch.equal(before[30:], after[30:])


def test_a_stack_computes_what_each_member_does() -> None:
    members = [moved(model_of(Shape(2, 32, 4), seed=seed)) for seed in range(2)]
    names = [name for name, _ in members[0].named_parameters()]
    states = [dict(member.named_parameters()) for member in members]
    parameters = {name: torch.nn.Parameter(torch.stack([state[name] for state in states])) for name in names}
    own = [random_sequences([9, 21]), random_sequences([14, 16])]  # equally many tokens
    batch = pack(own[0] + own[1], START)
    rows = {name: getattr(batch, name).view(2, -1) for name in ("inputs", "targets", "positions")}
    together = stacked_module(members[0], parameters)(batch._replace(**rows))
    alone = torch.stack([member(pack(each, START)) for member, each in zip(members, own, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("asked", [10_000, 30_000, *(round(10 ** (exponent / 4)) for exponent in range(20, 40))])
def test_sizes_are_met_within_5_percent_by_heads_that_can_be_turned(asked: int) -> None:
    config = llama.config_for(asked, SIZE)
    assert config.non_embedding_params == pytest.approx(asked, rel=0.05)
    assert config.head_channels % 2 == 0
    assert config.head_channels * config.shape.heads == config.shape.width


def test_a_size_between_two_rungs_is_refused() -> None:
    with pytest.raises(UserError, match=r"params must be within 5 % of a size that Llama has, got 11,000; the nearest"):
        llama.config_for(11_000, SIZE)


def test_parameters_and_flops_are_those_that_torch_counts() -> None:
    """Forward and backward of one molecule of 40 tokens, which attends to all 40."""
    from torch.utils.flop_counter import FlopCounterMode

    model = model_of(Shape(3, 64, 4), size=50)
    counted = sum(p.numel() for name, p in model.named_parameters() if "embedding" not in name)
    assert counted == model.config.non_embedding_params
    with FlopCounterMode(display=False) as counter:
        model(pack([np.arange(40, dtype=np.uint16) % 45 + 4], START)).backward()
    assert counter.get_total_flops() == pytest.approx(model.config.flops_per_token(40) * 40, rel=0.01)


def check(parametrization: Parametrization, shape: Shape, optimizer: Optimizer = "adamw") -> Coordinates:
    model = model_of(shape, parametrization, size=SYMBOLS)
    groups = llama.parameter_groups(model, "auto", 0.0, optimizer=optimizer, parametrization=parametrization)
    batches = (pack(learnable_sequences(4, seed), START) for seed in range(1, 9))
    probe = pack(learnable_sequences(16, 0), START)
    return coordinates(model, optimizer_of(optimizer, groups), batches, probe)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("ladder", LADDERS)
def test_activations_and_what_a_step_changes_stay_the_same_over_a_ladder(ladder: str, optimizer: Optimizer) -> None:
    """The coordinate check; logits may start smaller in wide models, as muTransfer has it, but not move differently."""
    found = [check("mutransfer", shape, optimizer) for shape in LADDERS[ladder]]
    for name in Coordinates._fields:
        if name != "logits":
            assert spread([getattr(each, name) for each in found]) < FLAT, (name, found)


@pytest.mark.parametrize("ladder", ["width", "depth"])
def test_the_check_fails_for_the_usual_parametrization(ladder: str) -> None:
    found = [check("standard", shape) for shape in LADDERS[ladder]]
    assert spread([each.residual_change for each in found]) > SLOPED
