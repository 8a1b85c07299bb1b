import numpy as np
import pytest
import torch

from chemscale_bench.models.parametrization import BASE_WIDTH, Parametrization, build, parameter_groups
from chemscale_bench.models.sizes import Shape
from chemscale_bench.training.language import pack

WIDTHS = (64, 128, 256, 512)


def coordinates(parametrization: Parametrization, width: int, steps: int = 4) -> float:
    """Mean change of the logits after a few optimizer steps on one batch."""
    model = build(Shape(2, width, width // 32), 40, parametrization, seed=0)
    optimizer = torch.optim.AdamW(parameter_groups(model, parametrization, 2**-8, 0.0))
    rng = np.random.default_rng(0)
    batch = pack([np.append(rng.integers(5, 40, 30), 3).astype(np.uint16) for _ in range(8)], 2)
    before = model.logits(batch).detach()
    for _ in range(steps):
        optimizer.zero_grad()
        (model(batch) / len(batch.targets)).backward()
        optimizer.step()
    return float((model.logits(batch).detach() - before).abs().mean())


@pytest.mark.parametrize(("parametrization", "most"), [("standard", 2.5), ("mutransfer", 2.0)])
def test_a_step_changes_the_logits_alike_at_every_width(parametrization: Parametrization, most: float) -> None:
    """MuTransfer's promise is a flat line over widths 64 to 512; `standard` rises a little."""
    changes = [coordinates(parametrization, width) for width in WIDTHS]
    assert max(changes) / min(changes) < most, changes


def test_without_scaling_the_change_grows_with_the_width() -> None:
    """The check above can fail: one learning rate for every width makes wide models move more."""

    def change(width: int) -> float:
        model = build(Shape(2, width, width // 32), 40, "standard", seed=0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2**-8, weight_decay=0)
        rng = np.random.default_rng(0)
        batch = pack([np.append(rng.integers(5, 40, 30), 3).astype(np.uint16) for _ in range(8)], 2)
        before = model.logits(batch).detach()
        for _ in range(4):
            optimizer.zero_grad()
            (model(batch) / len(batch.targets)).backward()
            optimizer.step()
        return float((model.logits(batch).detach() - before).abs().mean())

    assert change(512) / change(64) > 2.5


@pytest.mark.parametrize("parametrization", ["standard", "mutransfer"])
def test_learning_rate_and_decay_of_hidden_matrices_balance(parametrization: Parametrization) -> None:
    products = set()
    for width in WIDTHS:
        hidden, others = parameter_groups(build(Shape(2, width, 2), 40, parametrization, 0), parametrization, 0.01, 0.1)
        products.add(round(hidden["lr"] * hidden["weight_decay"], 12))
        assert hidden["lr"] == pytest.approx(0.01 * BASE_WIDTH / width)
        assert others["weight_decay"] == 0
    assert products == {0.001}


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = (build(Shape(2, 64, 4), 40, "standard", seed) for seed in (0, 0, 1))
    for a, b, c in zip(first.parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.ndim < 2 or not torch.equal(a, c)
