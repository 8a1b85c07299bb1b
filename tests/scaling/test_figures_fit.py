"""Figures of a fit hold what they promise: bands, ends of intervals, axes with units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from chemscale_bench.scaling import Forecast, JointLaw, compute_optimal, isoflop, plan
from chemscale_bench.scaling.figures_fit import figure_foretold, figure_frontier, figure_residuals, figure_sizes
from chemscale_bench.scaling.isoflop import IsoFlop
from chemscale_bench.tracking.figures import to_html


def test_figures_of_published_runs_open_without_a_network(chinchilla: Any) -> None:
    law = JointLaw(replicates=20).fit(*chinchilla)
    frontier = compute_optimal(law, np.geomspace(1e18, 1e24, 20))
    names = [trace.name for trace in figure_frontier(frontier, isoflop(*chinchilla), 1e22).data]
    assert "isoFLOP minima (biased)" in names
    assert "90 % interval, tokens" in names
    assert "50 % interval, tokens" in [trace.name for trace in figure_frontier(frontier, level=0.5).data]
    page = to_html(figure_residuals(law))
    assert "cdn.plot.ly/plotly" not in page.split("</script>")[0]
    assert "Plotly.newPlot" in page


def named(figure: Any, name: str) -> Any:
    """The one trace of this name."""
    (trace,) = (trace for trace in figure.data if trace.name == name)
    return trace


def test_a_frontier_has_bands_and_marks_where_the_runs_end(planted: Any) -> None:
    law = JointLaw(replicates=20).fit(planted.params, planted.tokens, planted.loss * np.resize([1, 1.01, 0.98, 1], 30))
    frontier, up_to = compute_optimal(law, np.geomspace(1e15, 1e24, 7)), 6e20
    minima = IsoFlop(np.array([1e17, 1e19]), np.array([3e6, 3e7]), 0.5)
    figure = figure_frontier(frontier, minima, up_to)
    ends = [trace for trace in figure.data if trace.name == "largest fitted run"]
    assert [trace.showlegend for trace in ends] == [True, False]
    for name, best, interval, axis, end in (
        ("parameters", frontier.params, frontier.params_interval, "x", ends[0]),
        ("tokens", frontier.tokens, frontier.tokens_interval, "x2", ends[1]),
    ):
        band, line = named(figure, f"90 % interval, {name}"), named(figure, f"optimal {name}")
        assert (interval.low < interval.high).all()
        assert band.x.tolist() == [*frontier.flops, *frontier.flops[::-1]]
        assert band.y.tolist() == [*interval.high, *interval.low[::-1]]
        assert line.x.tolist() == frontier.flops.tolist()
        assert line.y.tolist() == best.tolist()
        assert (end.x, end.y) == ((up_to, up_to), (interval.low.min(), interval.high.max()))
        assert {band.xaxis, line.xaxis, end.xaxis} == {axis}
    crosses = named(figure, "isoFLOP minima (biased)")
    assert (crosses.x.tolist(), crosses.y.tolist(), crosses.xaxis) == ([1e17, 1e19], [3e6, 3e7], "x")
    low, high = frontier.params_power_interval
    assert figure.layout.title.text.endswith(f"FLOPs^{frontier.params_power:.3f} [{low:.3f}, {high:.3f}]")
    assert figure.layout.yaxis.title.text == "optimal non-embedding parameters"
    assert figure.layout.yaxis2.title.text == "optimal training tokens"


def test_residuals_are_measured_over_predicted_in_percent(planted: Any) -> None:
    law = JointLaw().fit(planted.params, planted.tokens, planted.loss * np.resize([1, 1.02, 0.97], 30))
    percent = 100 * (planted.loss * np.resize([1, 1.02, 0.97], 30) / law.predict(planted.params, planted.tokens) - 1)
    figure = figure_residuals(law, "frames")
    for trace, sizes in zip(figure.data, (planted.params, planted.tokens), strict=True):
        assert trace.x == pytest.approx(sizes)
        assert trace.y == pytest.approx(percent)
    assert [trace.xaxis for trace in figure.data] == ["x", "x2"]
    assert f"JointLaw (median size {np.median(abs(percent)):.2f} %)" in figure.layout.title.text
    assert figure.layout.xaxis.title.text == "non-embedding parameters"
    assert figure.layout.xaxis2.title.text == "training frames seen"
    assert (figure.layout.yaxis.type, figure.layout.yaxis2.type) == ("linear", "linear")
    assert figure.layout.yaxis.title.text == "measured over predicted loss, minus 1 (%)"
    assert "xaxis3" not in figure.layout, "a panel for each size"
    lines = [(shape.y0, shape.y1, shape.xref) for shape in figure.layout.shapes]
    assert lines == [(0, 0, "x domain"), (0, 0, "x2 domain")]


def test_what_was_foretold_has_bars_to_the_ends_of_its_interval() -> None:
    rows = [(1e6, 1e8, 2.0, 1.75, 2.5, 2.25, True), (1e7, 1e8, 1.5, 1.25, 9.0, 0.8, False)]
    table = pd.DataFrame(rows, columns=["params", "data", "foretold", "low", "high", "measured", "inside"])
    figure = figure_foretold(table, "loss", "frames", level=0.8, worst=3.0)
    bars = named(figure, "foretold, 80 % interval")
    assert bars.x == ("1e+06 params,<br>1e+08 frames", "1e+07 params,<br>1e+08 frames")
    assert bars.y.tolist() == [2.0, 1.5]
    assert bars.error_y.array.tolist() == [0.5, 7.5]
    assert bars.error_y.arrayminus.tolist() == [0.25, 0.25]
    assert named(figure, "measured afterwards").y.tolist() == [2.25, 0.8]
    assert "1 of 2 lie inside" in figure.layout.title.text
    assert figure.layout.yaxis.range == pytest.approx((0.72, 3.15)), "9 leaves the picture, what was measured does not"
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("category", "linear")
    whole = figure_foretold(table, "loss", worst=9.0)
    assert whole.layout.yaxis.range is None
    assert named(whole, "foretold, 90 % interval").x[0] == "1e+06 params,<br>1e+08 tokens"


def test_ways_to_spend_a_budget_are_a_curve_through_the_three_that_are_named(planted: Any) -> None:
    law = Forecast(replicates=20).fit(planted.params, planted.tokens, planted.loss * np.resize([1, 1.01, 0.99], 30))
    spend = plan(law, 6e20)
    figure, (best,) = figure_sizes(law, spend, 0.8), spend.frontier.params
    line, band = named(figure, "expected loss"), named(figure, "80 % interval")
    assert line.x[[0, 24, -1]] == pytest.approx([best / 8, best, best * 8])
    tokens = 1e20 / line.x
    assert line.y == pytest.approx(law.predict(line.x, tokens))
    low, high = law.predict_interval(line.x, tokens, 0.8)
    assert band.y == pytest.approx([*high, *low[::-1]])
    assert band.x == pytest.approx([*line.x, *line.x[::-1]])
    for name, place in (("half the size", 16), ("optimum", 24), ("twice the size", 32)):
        marked = named(figure, name)
        assert (marked.x[0], marked.y[0]) == pytest.approx((line.x[place], line.y[place]))
    points = [named(figure, name).marker for name in ("half the size", "optimum", "twice the size")]
    assert len({point.symbol for point in points}) == 3
    assert len({line.line.color, *(point.color for point in points)}) == 4, "none looks like the line"
    assert figure.layout.title.text == "Ways to spend 6e+20 FLOPs"
