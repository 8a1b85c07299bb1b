"""The figure of compared models holds their losses, the best of them, and how early small runs rank them."""

from __future__ import annotations

import pandas as pd
import pytest

from chemscale_bench.scaling.decisions import decisions
from chemscale_bench.scaling.figures_models import figure_models

COLUMNS = ["model", "params", "data", "seed", "loss"]
RUNS = pd.DataFrame(
    [
        ("one", 10, 10, 0, 1.0), ("one", 10, 10, 1, 1.2), ("one", 10, 100, 0, 0.8), ("one", 20, 50, 0, 0.9),
        ("one", 100, 100, 0, 0.7), ("two", 10, 10, 0, 1.3), ("two", 10, 100, 0, 0.7), ("two", 100, 100, 0, 0.6),
        ("three", 10, 10, 0, 2.0), ("three", 100, 100, 0, 0.65),
    ],
    columns=COLUMNS,
)  # fmt: skip


def test_losses_are_means_over_seeds_with_a_line_through_the_best_of_each_compute() -> None:
    figure = figure_models(RUNS, [], "loss (meV)", "frames")
    points, best, *others = figure.data
    assert sorted(zip(points.x, points.y, strict=True)) == [
        (100, pytest.approx(1.1)), (1000, 0.8), (1000, 0.9), (10_000, 0.7),
    ]  # fmt: skip
    assert list(zip(best.x, best.y, strict=True)) == [(100, pytest.approx(1.1)), (1000, 0.8), (10_000, 0.7)]
    assert [trace.name for trace in figure.data] == ["one", "one, best", "two", "two, best", "three", "three, best"]
    assert {(trace.xaxis, trace.yaxis) for trace in figure.data} == {("x", "y")}
    assert [trace.mode for trace in figure.data] == ["markers", "lines"] * 3
    assert [trace.showlegend for trace in figure.data] == [None, False] * 3, "a model has one entry"
    for line, marked in zip([best, *others[1::2]], [points, *others[::2]], strict=True):
        assert line.line.color == marked.marker.color, "a model has one colour"
    assert len({trace.marker.color for trace in (points, *others[::2])}) == 3
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("params x frames", "loss (meV)")
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")


def test_shares_of_pairs_stand_on_the_right_on_an_axis_of_their_own() -> None:
    found = decisions(RUNS)
    figure = figure_models(RUNS, found, "loss", "tokens")
    right = figure.data[6:]
    assert [trace.name for trace in right] == ["two before one", "three before one", "two before three"]
    for trace, decision in zip(right, found, strict=True):
        assert list(trace.x) == decision.smaller["share"].tolist()
        assert list(trace.y) == decision.smaller["agree"].tolist()
        assert (trace.xaxis, trace.yaxis) == ("x2", "y2")
    for looks in zip(
        *((trace.marker.color, trace.marker.symbol) for trace in (*figure.data[:6:2], *right)), strict=True
    ):
        assert len(set(looks)) == 6, "models and pairs are told apart, in grey too"
    axis = figure.layout.yaxis2
    assert (axis.type, axis.title.text, axis.tickvals) == ("linear", "pairs ranked as there", None)
    low, high = axis.range
    assert low < 0 < 1 < high, "none and all are seen"
    assert figure.layout.yaxis.tickvals is not None, "losses that span less than a decade have plain numbers"
    assert figure.layout.xaxis2.title.text == "share of the largest common compute"
    assert "xaxis3" not in figure.layout
