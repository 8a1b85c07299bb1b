import numpy as np
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.models.sizes import ASPECT_AT_1E5, ASPECT_EXPONENT, Shape, heads_for, shape_for


@pytest.mark.parametrize(
    ("asked", "width", "params"),
    [(1_195_136, 64, 1_195_136), (4.7e6, 128, 4_749_568), (1.9e7, 256, 18_936_320), (1.2e9, 2048, 1_208_455_168)],
)
def test_the_paper_s_ladder_gives_the_published_models(asked: float, width: int, params: int) -> None:
    shape = shape_for(int(asked), "chemgpt")
    assert shape == Shape(24, width, 16)
    assert shape.non_embedding_params == params


@pytest.mark.parametrize("asked", np.geomspace(2.2e4, 2e10, 60).astype(int).tolist())
def test_every_size_is_met_within_five_percent_and_has_whole_heads(asked: int) -> None:
    shape = shape_for(asked)
    assert abs(shape.non_embedding_params / asked - 1) <= 0.05
    assert shape.width % shape.heads == 0
    assert 4 <= shape.width / shape.layers < 200


@pytest.mark.parametrize("model", ["chemgpt", "llama"])
def test_no_size_is_far_shallower_than_its_neighbours(model: str) -> None:
    """Llama had 2 x 64 at 1e5 between 4 x 36 and 4 x 64, and lost to the smaller one of these at every budget."""
    for asked in np.geomspace(2.6e4, 1e9, 150):
        layers, width, _ = LANGUAGE_MODELS.family(model).config_for(int(asked), 30).shape
        assert width / layers <= 2 * ASPECT_AT_1E5 * (asked / 1e5) ** ASPECT_EXPONENT


@pytest.mark.parametrize(("asked", "ladder"), [(11_000, "balanced"), (100_000, "chemgpt"), (10**15, "balanced")])
def test_a_size_out_of_reach_names_the_nearest(asked: int, ladder: str) -> None:
    with pytest.raises(UserError, match=r"within 5 %.*got [\d,]+; the nearest are [\d,]+ and [\d,]+"):
        shape_for(asked, ladder)  # type: ignore[arg-type]


def test_a_head_s_channels_grow_with_the_root_of_the_width() -> None:
    for width in (shape_for(int(size)).width for size in np.geomspace(2.2e4, 2e10, 60)):
        assert width % heads_for(width) == 0
        assert 0.6 <= width / heads_for(width) / (2 * width) ** 0.5 <= 1.75
        assert width < 96 or width // heads_for(width) % 8 == 0
    assert [width // heads_for(width) for width in (32, 128, 512, 2048)] == [8, 16, 32, 64]
