"""What the verbs `embed` and `probe` have in common: which model, and how a molecule becomes a vector."""

from __future__ import annotations

from typing import Literal

from chemscale_bench.settings.base import Settings


class FeatureSettings(Settings):
    """How molecules become vectors."""

    column: str = ""
    """Column of your file that holds the molecules, by the name in its header; left out, it is found."""
    pooling: Literal["mean", "last", "max", "molfeat"] = "mean"
    """Over which states of a molecule: `mean` and `max` take start and all symbols, `last` the last symbol, `molfeat`
    the mean over start, symbols and end, as molfeat does."""
    layer: int = -1
    """Layer whose states are taken: 0 is the embedding, 1 the first, -1 the last one behind the final norm."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; `auto` takes a GPU if there is one."""
