"""How force fields are trained: quickly, or as in their papers, and how fast they learn, by width and length."""

from __future__ import annotations

from dataclasses import fields

import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.models import force_fields, painn
from chemscale_bench.models.force_recipe import Recipe, rate_factor, recipe_called, recipe_of
from chemscale_bench.models.registry import FORCE_FIELDS
from chemscale_bench.settings.forcefield import ForceFieldSettings


def recipe(**settings: object) -> Recipe:
    return recipe_of(ForceFieldSettings.model_validate(settings))


def test_the_quick_one_is_the_default() -> None:
    assert recipe() == Recipe()
    assert Recipe().numbers == {
        "batch_frames": 10, "cutoff": 5.0, "force_weight": 0.99, "energy_weight": 0.01, "average": 0.99,
    }  # fmt: skip


@pytest.mark.parametrize("model", FORCE_FIELDS.modules)
def test_those_of_papers_can_be_trained(model: str) -> None:
    paper = recipe(model=model, recipe="paper")
    config = force_fields.default_config(model, **paper.changes(sized=False, depth="auto"))
    assert set(paper.network) <= {field.name for field in fields(config)}
    assert (config.width, config.cutoff) == (paper.network["width"], paper.cutoff)
    assert paper.steps == 1000 * 950 / paper.batch_frames
    assert paper.force_weight + paper.energy_weight == pytest.approx(1)
    assert paper.source
    assert paper.told(paper.steps, 0.01).endswith(paper.source)


def test_what_is_typed_holds() -> None:
    typed = {"batch_frames": 7, "cutoff": 6.0, "steps": 10, "learning_rate": 0.5, "average": 0.0}
    mace = recipe(model="mace", recipe="paper", **typed)
    assert {name: getattr(mace, name) for name in typed} == typed
    assert mace.force_weight == pytest.approx(1000 / 1001)
    assert mace.changes(sized=True, depth=3) == {"layers": 3, "cutoff": 6.0}, "the width follows from params"
    assert mace.changes(sized=False, depth="auto") == {"layers": 2, "width": 256, "cutoff": 6.0}


def test_degrees_have_the_paper_of_their_model() -> None:
    assert recipe_called("paper", "nequip-l2") == recipe_called("paper", "nequip")


def test_a_model_without_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(painn, "PAPER")
    with pytest.raises(UserError, match=r"recipe=paper is known of schnet, .*, got model=painn; its module can"):
        recipe(model="painn", recipe="paper")


@pytest.mark.parametrize(
    ("width", "steps", "factor"),
    [
        (52, 1, 1),
        (52, 5_000, 1),
        (52, 20_000, 0.5),
        (52, 500_000, 0.1),
        (13, 5_000, 2),
        (4, 5_000, 3),
        (208, 5_000, 0.5),
        (208, 20_000, 0.25),
    ],
)
def test_wide_and_long_runs_learn_slower(width: int, steps: int, factor: float) -> None:
    assert painn.PEAK_RATE[1] == 52
    assert rate_factor("painn", width, steps) == pytest.approx(factor)


@pytest.mark.parametrize("model", ["nequip-l2", "allegro", "mace-l1"])
def test_weights_of_unit_variance_learn_alike_at_every_width(model: str) -> None:
    assert rate_factor(model, 8, 100) == rate_factor(model, 256, 5_000) == 1
    assert rate_factor(model, 256, 20_000) == 0.5


def test_quadrupoles_learn_slower() -> None:
    rates = [FORCE_FIELDS.family(f"nequip-l{degree}").PEAK_RATE[0] for degree in range(3)]
    assert rates == [0.08, 0.08, 0.04]
