"""From a number of parameters to the shape of a transformer.

Two ladders. `chemgpt` is the paper's: 24 layers, 16 heads, only the width changes. `balanced` lets the aspect ratio
(width / layers) grow slowly with size, since 24 layers are far too deep for a small model; the rule was chosen by
measurement, see benchmarks/shapes.md.
"""

from __future__ import annotations

from functools import cache
from math import log
from typing import Literal, NamedTuple

from chemscale_bench.models.registry import TOLERANCE, check_size

Ladder = Literal["balanced", "chemgpt"]

ASPECT_AT_1E5, ASPECT_EXPONENT = 12.0, 0.2  # width / layers = 12 (N / 1e5)^0.2
SHALLOWEST = 2.0  # times this aspect ratio; deeper than it costs less, see the same file


class Shape(NamedTuple):
    """Layers, width (channels of the residual stream) and attention heads of a transformer."""

    layers: int
    width: int
    heads: int

    @property
    def non_embedding_params(self) -> int:
        """Parameters outside the token and position embeddings: L (12 h^2 + 10 h) + 2 h for GPT-Neo."""
        return self.layers * (12 * self.width**2 + 10 * self.width) + 2 * self.width


def heads_for(width: int, even: bool = False) -> int:
    """Heads of the balanced ladder, of about sqrt(2 width) channels each: 8 of 16 at 128, 32 of 64 at 2,048.

    From width 96 on a head's channels are a multiple of 8, as kernels want them; below they are even if asked for.
    """
    step = 8 if width % 8 == 0 and width >= 96 else 1 + even
    sizes = [size for size in range(step, width + 1, step) if width % size == 0]
    return width // min(sizes, key=lambda size: (abs(log(size / (2 * width) ** 0.5)), -size))


@cache
def balanced_shapes() -> list[Shape]:
    """Every shape that the balanced ladder may choose."""
    widths = [*range(16, 96, 4), *range(96, 512, 32), *range(512, 8193, 64)]
    return [Shape(layers, width, heads) for width in widths for heads in [heads_for(width)] for layers in range(2, 97)]


def shape_for(params: int, ladder: Ladder = "balanced") -> Shape:
    """The shape whose non-embedding parameters are within 5 % of `params`.

    Args:
        params: requested number of non-embedding parameters.
        ladder: `balanced`, or `chemgpt` for the paper's 24 layers and 16 heads.

    Raises:
        UserError: if no shape of the ladder comes within 5 %; the message names the nearest sizes.
    """
    candidates = [Shape(24, width, 16) for width in range(16, 8193, 16)] if ladder == "chemgpt" else balanced_shapes()
    sizes = [shape.non_embedding_params for shape in candidates]
    if ladder == "chemgpt":
        check_size(params, sizes, "the chemgpt ladder")
        return min(candidates, key=lambda shape: abs(shape.non_embedding_params - params))
    return balanced(params, candidates, sizes, "the balanced ladder")


def balanced(params: int, candidates: list[Shape], sizes: list[int], who: str) -> Shape:
    """The shape of about the wanted size whose aspect ratio is nearest to the balanced ladder's.

    Args:
        params: requested number of non-embedding parameters.
        candidates: all shapes that there are.
        sizes: their numbers of non-embedding parameters.
        who: has these shapes, for the error.

    Raises:
        UserError: if no shape comes within 5 %; the message names the nearest sizes.
    """
    check_size(params, sizes, who)
    near = [pair for pair in zip(candidates, sizes, strict=True) if abs(pair[1] / params - 1) <= TOLERANCE]
    aspect: float = ASPECT_AT_1E5 * (params / 1e5) ** ASPECT_EXPONENT

    def misfit(pair: tuple[Shape, int]) -> tuple[bool, float]:
        (layers, width, _), size = pair
        ratio = width / layers / aspect
        return ratio > SHALLOWEST, max(ratio, 1 / ratio) + 2 * abs(size / params - 1)

    return min(near, key=misfit)[0]
