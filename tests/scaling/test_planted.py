"""Planted laws are what they say."""

import numpy as np
import pytest

from chemscale_bench.scaling.planted import KINDS, Points, plant


@pytest.mark.parametrize("points", ["few", "many"])
@pytest.mark.parametrize("kind", list(KINDS)[:4])
def test_without_noise_the_truth_is_found(kind: str, points: Points) -> None:
    for seed in range(2):
        planted = plant(kind, points, np.random.default_rng(seed), noise=0.0)
        assert planted.loss == pytest.approx(planted.curve(*planted.sizes))
        law = planted.law.set_params(on_flat="ignore").fit(*planted.sizes, planted.loss)
        for name, value in planted.truth.items():
            assert law.parameters_[name] == pytest.approx(value, rel=0.02), name


def test_noise_is_relative() -> None:
    ratios = []
    for seed in range(60):
        planted = plant("power law", "many", np.random.default_rng(seed), noise=0.05)
        ratios += np.log(planted.loss / planted.curve(*planted.sizes)).tolist()
    assert np.std(ratios) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize(
    ("kind", "few", "many", "span"),
    [
        ("power law", (4, 7), (8, 19), (2, 4)),
        ("power law with floor", (6, 8), (9, 19), (2, 4)),
        ("broken law", (12, 15), (18, 29), (4, 5)),
        ("broken law, 2 breaks", (12, 15), (18, 29), (4, 5)),
    ],
)
def test_how_many_sizes_over_how_many_decades(
    kind: str, few: tuple[int, int], many: tuple[int, int], span: tuple[int, int]
) -> None:
    for points, (least, most) in (("few", few), ("many", many)):
        for seed in range(60):
            (sizes,) = plant(kind, points, np.random.default_rng(seed)).sizes  # type: ignore[arg-type]
            assert least <= len(np.unique(sizes)) <= most
            assert len(sizes) in (len(np.unique(sizes)) * seeds for seeds in (1, 2, 3))
            assert sizes.min() == pytest.approx(1e4 if "broken" in kind else 1e6)
            assert span[0] <= np.log10(sizes.max() / sizes.min()) <= span[1]


def test_breaks_change_the_exponent_by_a_fifth_to_two_fifths_there_and_back() -> None:
    truths = [plant("broken law, 2 breaks", "few", np.random.default_rng(seed)).truth for seed in range(40)]
    first, second = (np.array([truth[name] for truth in truths]) for name in ("change_1", "change_2"))
    for changes in (first, -second):
        assert 0.2 < changes.min() < 0.23
        assert 0.37 < changes.max() < 0.4


def test_curves_fall_and_a_joint_law_has_a_grid() -> None:
    for kind in KINDS:
        for seed in range(20):
            planted = plant(kind, "many", np.random.default_rng(seed), noise=0.0)
            assert 0.01 < planted.loss.min() < planted.loss.max() < 150, kind
            assert planted.loss[np.argmax(planted.sizes[0])] < planted.loss[np.argmin(planted.sizes[0])]
    joint = plant("joint law", "few", np.random.default_rng(0))
    assert [len(np.unique(column)) for column in joint.sizes] == [4, 5]
    assert len(joint.loss) == 20
