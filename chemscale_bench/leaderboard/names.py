"""What a study is called on the board, by what its runs were trained with."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from chemscale_bench.leaderboard.entry import Run

Settings = Mapping[str, str]
"""Of a run, as they were logged."""


def titled(model: str, runs: Sequence[Run]) -> str:
    """A model's name, which tells of an optimizer that is not AdamW, and of forces beside the energy."""
    optimizers = sorted({optimizer_of(run.settings) for run in runs})
    labels = [] if optimizers == ["adamw"] else [" and ".join(optimizers)]
    if any(run.settings.get("forces") == "predicted" for run in runs):
        labels.append("forces predicted")
    return f"{model} ({', '.join(labels)})" if labels else model


def optimizer_of(settings: Settings) -> str:
    """What changed the weights of a run; before there was a choice it was AdamW."""
    return settings.get("optimizer", "adamw")


def tell_if_mixed(runs: Sequence[Settings]) -> None:
    """Say which models' runs have several optimizers, so that their losses need not lie on one curve."""
    used: dict[str, Counter[str]] = defaultdict(Counter)
    for settings in runs:
        used[settings.get("model", "")][optimizer_of(settings)] += 1
    for model, optimizers in used.items():
        if len(optimizers) > 1:
            told = " and ".join(f"{number} by {name}" for name, number in sorted(optimizers.items()))
            print(f"note: of the runs of {model} {told}: their losses need not lie on one curve", file=sys.stderr)
