"""What one learning rate for all sizes rests on, and that the rates are those that the paper's table asks for."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from sequences import END, PAD, START, SYMBOLS, learnable_sequences, spread

from chemscale_bench.evaluation.coordinates import Coordinates, coordinates
from chemscale_bench.models.chemgpt import build_shape, parameter_groups
from chemscale_bench.models.language_models import load_trainable, rated_groups
from chemscale_bench.models.parametrization import LEARNING_RATE, MUON_RATE, Optimizer, Parametrization, multipliers
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.models.sizes import Shape
from chemscale_bench.training.language import pack

LADDERS = {
    "width": [Shape(3, width, width // 32) for width in (64, 128, 256, 512)],
    "depth": [Shape(layers, 64, 2) for layers in (3, 6, 12, 24)],
    "paper": [Shape(24, width, 16) for width in (64, 128, 256)],
    "head size": [Shape(3, 128, heads) for heads in (32, 16, 8, 4, 2)],
}
FLAT, SLOPED = 2.2, 5.0  # largest over smallest coordinate of a ladder


@cache
def check(parametrization: Parametrization, shape: Shape) -> Coordinates:
    """Of a shape, some of which stand on two ladders."""
    model = build_shape(shape, SYMBOLS, parametrization, seed=0)
    groups = parameter_groups(model, LEARNING_RATE[parametrization], 0.0, parametrization=parametrization)
    batches = (pack(learnable_sequences(4, seed), 2) for seed in range(1, 9))
    return coordinates(
        model, torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True), batches, pack(learnable_sequences(16, 0), 2)
    )


@pytest.mark.parametrize(
    ("shape", "attention", "output"),
    [(Shape(5, 128, 2), 0.25, 4), (Shape(5, 64, 4), 0.5, 4), (Shape(20, 512, 8), 0.25, 1), (Shape(5, 100, 1), 0.2, 4)],
)
def test_multipliers_are_2_over_the_root_of_the_head_size_and_4_up_to_the_base(
    shape: Shape, attention: float, output: float
) -> None:
    assert multipliers(shape, "mutransfer") == (pytest.approx(attention), output)
    assert multipliers(shape, "standard") == (1, 1)


def test_the_tuned_rate_is_a_1024th() -> None:
    assert LEARNING_RATE == {"mutransfer": 1 / 1024, "standard": 1 / 1024}


def test_rates_and_initial_weights_are_those_of_the_table() -> None:
    shape = Shape(20, 512, 16)  # a quarter of the base's rate in the width, a quarter in the depth
    model = build_shape(shape, SYMBOLS, "mutransfer", seed=0)
    rates = {
        id(parameter): group["lr"]
        for group in parameter_groups(model, 1.0, 0.1, parametrization="mutransfer")
        for parameter in group["params"]
    }
    expected = {
        "token_embedding.weight": (1, 0.03), "position_embedding.weight": (1, 0.03), "norm_out.weight": (1, 0),
        "blocks.3.query_key_value.weight": (1 / 8, 0.025), "blocks.3.mlp_in.weight": (1 / 8, 0.025),
        "blocks.3.mlp_in.bias": (1 / 2, 0), "blocks.3.norm_mlp.weight": (1 / 2, 0),
        "blocks.3.attention_out.weight": (1 / 16, 0.0125), "blocks.3.mlp_out.weight": (1 / 16, 0.0125),
        "blocks.3.mlp_out.bias": (1 / 4, 0),
    }  # fmt: skip
    parameters = dict(model.named_parameters())
    for name, (rate, std) in expected.items():
        assert rates[id(parameters[name])] == pytest.approx(rate), name
        assert float(parameters[name].detach().std()) == pytest.approx(std, rel=0.02, abs=1e-9), name
    assert len(rates) == len(parameters)
    assert model.config.attention_scale == pytest.approx(2 / 32**0.5)
    assert model.config.output_scale == pytest.approx(1)
    narrow = build_shape(Shape(5, 64, 2), SYMBOLS, "mutransfer", seed=0)
    assert narrow.config.output_scale == 4
    assert float(narrow.blocks[0].mlp_out.weight.detach().std()) == pytest.approx(0.05 * 2**0.5, rel=0.03)
    shallow = build_shape(
        Shape(2, 128, 8), SYMBOLS, "mutransfer", seed=0
    )  # a layer of it adds no more than one of the base
    assert float(shallow.blocks[0].mlp_out.weight.detach().std()) == pytest.approx(0.05, rel=0.03)
    assert (
        parameter_groups(narrow, 1.0, 0.1, parametrization="mutransfer")[0]["lr"] == 2
    )  # embeddings move the logits as at the base


@pytest.mark.parametrize(
    ("parametrization", "given", "expected"),
    [  # the rates of the table without s = 1/2 where Muon's step is as large at every width; d = 1/4, sqrt(d) = 1/2
        ("mutransfer", "auto", {"reader": 0.005, "writer": 0.0025, "embedding": 2**-10, "bias": 2**-12}),
        ("mutransfer", 0.03, {"reader": 0.015, "writer": 0.0075, "embedding": 3 * 2**-10, "bias": 3 * 2**-12}),
        ("standard", "auto", {"reader": 0.01, "writer": 0.01, "embedding": 2**-10, "bias": 2**-10}),
    ],
)
def test_muon_has_a_rate_of_its_own_that_no_width_changes_and_sees_each_matrix(
    parametrization: Parametrization, given: Any, expected: dict[str, float]
) -> None:
    names = {
        "blocks.3.query_key_value.weight": ("reader", 3), "blocks.3.mlp_in.weight": ("reader", 1),
        "blocks.3.mlp_out.weight": ("writer", 1), "token_embedding.weight": ("embedding", None),
        "blocks.3.mlp_out.bias": ("bias", None),
    }  # fmt: skip
    assert MUON_RATE == 0.01
    model = build_shape(Shape(20, 256, 8), SYMBOLS, parametrization, seed=0)
    groups = parameter_groups(model, given, 0.1, optimizer="muon", parametrization=parametrization)
    group_of = {id(parameter): group for group in groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        if name in names:
            kind, parts = names.pop(name)
            group = group_of[id(parameter)]
            assert (group["lr"], group.get("parts")) == (pytest.approx(expected[kind]), parts), name
            rate = MUON_RATE if given == "auto" else given
            assert group["lr"] * group["weight_decay"] == pytest.approx(0.1 * rate if parts else 0), name
    assert not names


@pytest.mark.parametrize(
    ("model", "optimizer", "given", "warmup", "expected"),
    [
        ("chemgpt", "adamw", "auto", 0, 2**-10),
        ("chemgpt", "adamw", "auto", 9_000, 2**-10),
        ("chemgpt", "adamw", "auto", 90_000, 10**0.25 * 2**-10),
        ("chemgpt", "adamw", "auto", 144_000, 2**-9),
        ("chemgpt", "adamw", "auto", 3_000_000, 2**-9),
        ("chemgpt", "adamw", 0.003, 3_000_000, 0.003),
        ("chemgpt", "muon", "auto", 3_000_000, 0.01),
        ("llama", "adamw", "auto", 3_000_000, 2**-9),
        ("llama", "muon", "auto", 3_000_000, 0.01),
        ("lstm", "adamw", "auto", 3_000_000, 2**-7),
    ],
)
def test_a_longer_warm_up_bears_a_higher_rate(
    model: str, optimizer: Optimizer, given: float | Literal["auto"], warmup: int, expected: float
) -> None:
    family = LANGUAGE_MODELS.family(model)
    built = family.build(family.config_for(10_000, SYMBOLS), 0)
    groups, rate = rated_groups(model, built, given, 0.1, warmup, optimizer)
    assert rate == pytest.approx(expected, rel=1e-12)
    usual = family.parameter_groups(built, rate, 0.1, optimizer=optimizer)
    for group, other in zip(groups, usual, strict=True):
        assert (group["lr"], group["weight_decay"]) == pytest.approx((other["lr"], other["weight_decay"]), rel=1e-9)
        assert [id(each) for each in group["params"]] == [id(each) for each in other["params"]]


def test_standard_is_gpt_neo_with_one_rate() -> None:
    model = build_shape(Shape(2, 256, 4), SYMBOLS, "standard", seed=0)
    assert rated_groups("chemgpt", model, "auto", 0.1, 3_000_000, "adamw", parametrization="standard")[1] == 2**-10
    assert (model.config.attention_scale, model.config.output_scale) == (1, 1)
    assert {group["lr"] for group in parameter_groups(model, 0.01, 0.1, parametrization="standard")} == {0.01}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.03), name


@pytest.mark.parametrize("parametrization", ["mutransfer", "standard"])
@pytest.mark.parametrize("shape", [Shape(3, 64, 2), Shape(12, 256, 8)])
def test_what_weight_decay_takes_off_matrices_in_a_step_is_the_same(
    parametrization: Parametrization, shape: Shape
) -> None:
    groups = parameter_groups(build_shape(shape, 40, parametrization, 0), 0.01, 0.1, parametrization=parametrization)
    products = {round(group["lr"] * group["weight_decay"], 12): group["params"] for group in groups}
    assert set(products) == {0.0, 0.001}
    decayed = sum(len(group["params"]) for group in groups if group["weight_decay"])
    assert decayed == 4 * shape.layers


@pytest.mark.parametrize("parametrization", ["mutransfer", "standard"])
@pytest.mark.parametrize("name", ["chemgpt", "llama"])
def test_a_checkpoint_is_trained_on_as_its_run_would(
    tmp_path: Path, name: str, parametrization: Parametrization
) -> None:
    family, batch = LANGUAGE_MODELS.family(name), pack(learnable_sequences(16, 0), START)
    config = family.config_of(Shape(2, 256, 4), SYMBOLS, parametrization)
    model = family.build(config, 0, parametrization=parametrization)
    family.save_pretrained(model, tmp_path, START, END, PAD)
    loaded = load_trainable(name, tmp_path, parametrization=parametrization)
    torch.testing.assert_close(loaded.logits(batch), model.logits(batch), atol=1e-4, rtol=0)
    moves = []
    for each in (model, loaded):
        groups, _ = rated_groups(name, each, 0.01, 0.0, 0, "adamw", parametrization=parametrization)
        before = {key: value.clone() for key, value in each.state_dict().items()}
        each(batch).div(16 * 40).backward()
        torch.optim.AdamW(groups).step()
        moves.append({key: float((value - before[key]).norm()) for key, value in each.state_dict().items()})
    assert moves[1] == pytest.approx(moves[0], rel=0.01)
    torch.testing.assert_close(loaded.logits(batch), model.logits(batch), atol=1e-2, rtol=0)


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = (build_shape(Shape(2, 64, 4), 40, "mutransfer", seed) for seed in (0, 0, 1))
    for a, b, c in zip(first.parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.ndim < 2 or not torch.equal(a, c)


@pytest.mark.parametrize("ladder", LADDERS)
def test_activations_and_what_a_step_changes_stay_the_same_over_a_ladder(ladder: str) -> None:
    """The coordinate check; logits may start smaller in wide models, as muTransfer has it, but not move differently."""
    found = [check("mutransfer", shape) for shape in LADDERS[ladder]]
    for name in Coordinates._fields:
        if name != "logits":
            assert spread([getattr(each, name) for each in found]) < FLAT, (name, found)


@pytest.mark.parametrize("ladder", LADDERS)
def test_the_check_fails_for_the_usual_parametrization(ladder: str) -> None:
    found = [check("standard", shape) for shape in (LADDERS[ladder][0], LADDERS[ladder][-1])]
    assert max(spread([getattr(each, name) for each in found]) for name in Coordinates._fields) > SLOPED
