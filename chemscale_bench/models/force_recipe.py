"""How a force field is trained where its settings say `auto`: quickly, or as the paper of its model did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from chemscale_bench.errors import UserError
from chemscale_bench.models.registry import FORCE_FIELDS
from chemscale_bench.settings.base import Auto
from chemscale_bench.settings.forcefield import ForceFieldSettings

RECIPES = ("quick", "paper")
LEAST_WARMUP = 20  # steps, unless there are fewer than twice as many, or no warm-up is wanted at all
SHORT = 5_000
"""Steps up to which the rates of short runs hold."""


class Recipe(NamedTuple):
    """What `auto` stands for; these are those of `recipe=quick`."""

    network: Mapping[str, Any] = MappingProxyType({})
    """Fields of the model's `Config`, where its size is not typed either; what is not there is the default."""
    steps: int | Auto = "auto"
    """`auto` is the task's number."""
    batch_frames: int = 10
    learning_rate: float | Auto = "auto"
    """`auto` is what short runs preferred, by width and length: `rate_factor`."""
    cutoff: float = 5.0
    """Angstrom."""
    force_weight: float = 0.99
    energy_weight: float = 0.01
    average: float = 0.99
    source: str = ""
    """Which paper, or whose code."""

    @property
    def numbers(self) -> dict[str, float]:
        """Those that a run's parameters hold, whether they were typed or not."""
        names = "batch_frames", "cutoff", "force_weight", "energy_weight", "average"
        return {name: getattr(self, name) for name in names}

    def told(self, steps: int, learning_rate: float) -> str:
        """What a run says of a paper's: what it trains with, typed or not."""
        return (
            f"recipe: {steps:,} steps of {self.batch_frames}, cutoff {self.cutoff:g}, learning rate {learning_rate:.2g}"
            f", weights of energy and force {self.energy_weight:.2g} and {self.force_weight:.3g}; the rest is that of "
            f"{self.source}"
        )

    def changes(self, sized: bool, depth: int | Auto) -> dict[str, Any]:
        """Fields of the model's `Config`.

        Args:
            sized: whether the number of parameters is given, from which its width follows.
            depth: of the settings.
        """
        network = {name: value for name, value in self.network.items() if not (sized and name == "width")}
        return network | {"cutoff": self.cutoff} | ({} if depth == "auto" else {"layers": depth})


def recipe_called(name: str, model: str) -> Recipe:
    """A recipe by name.

    Raises:
        UserError: if that of the paper is not known of a model.
    """
    if name == "quick":
        return Recipe()
    paper: dict[str, Any] | None = getattr(FORCE_FIELDS.family(model), "PAPER", None)
    if paper is None:
        known = [other for other, module in FORCE_FIELDS.ours().items() if hasattr(module, "PAPER")]
        raise UserError(f"recipe=paper is known of {', '.join(known)}, got model={model}; its module can declare PAPER")
    return Recipe(**paper)


def recipe_of(settings: ForceFieldSettings) -> Recipe:
    """The recipe that settings name, with what they say themselves."""
    recipe = recipe_called(settings.recipe, settings.model)
    said = {name: getattr(settings, name) for name in recipe._fields if name in type(settings).model_fields}
    return recipe._replace(**{name: value for name, value in said.items() if value != "auto"})


def warmup_share(settings: ForceFieldSettings, steps: int) -> float:
    """The share of the steps spent on warm-up, at least `LEAST_WARMUP` of them.

    Random weights of some models give forces far too large, and full rates at once would throw them off.
    """
    return max(settings.warmup, min(LEAST_WARMUP / steps, 0.5)) if settings.warmup else 0.0


MOST_FACTOR = 3.0
"""Of a narrow network's rate over that of the width it was found at: what was measured, and a little."""


def rate_factor(model: str, width: int, steps: int) -> float:
    """What a model's `PEAK_RATE` is multiplied by.

    Wider networks learn at less, narrower ones at more, with the square root of the width, unless their weights have
    unit variance at every width: at one rate for all sizes narrow ones would look worse than they are, and exponents
    along parameters too large. Longer runs learn at less, with the square root of their steps: at the rates of short
    ones PaiNN and SchNet diverged after 12,000 and 16,000 of 100,000 steps (benchmarks/force_fields.md).
    """
    tuned_at: int | None = FORCE_FIELDS.family(model).PEAK_RATE[1]
    of_width = min(MOST_FACTOR, math.sqrt(tuned_at / width)) if tuned_at else 1.0
    return of_width * min(1, math.sqrt(SHORT / steps))
