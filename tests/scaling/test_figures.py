"""Figures hold what they promise: open markers, breaks, exponents with intervals, units on the axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chemscale_bench.scaling import JointLaw, compute_optimal, find_regimes
from chemscale_bench.scaling.figures import COLOURS, figure_4, figure_5


def test_figure_4_shows_regimes_breaks_and_exponents() -> None:
    params = np.tile(np.geomspace(1e5, 1e9, 9), 2)
    tokens = np.repeat([1e8, 1e10], 9)
    loss = 10 * np.minimum(params, np.where(tokens == 1e8, 4e6, np.inf)) ** -0.17
    figure = figure_4(find_regimes(params, tokens, loss), params, tokens, loss)
    symbols = {
        symbol for trace in figure.data if isinstance(trace.marker.symbol, tuple) for symbol in trace.marker.symbol
    }
    assert symbols == {"circle", "square", "square-open"}
    assert "1e+10 tokens: exponent 0.170 [0.170, 0.170]" in [trace.name for trace in figure.data]
    assert [trace.text for trace in figure.data if trace.text] == [("break",)]
    assert figure.layout.xaxis.title.text == "non-embedding parameters"
    assert figure.layout.yaxis.title.text == "validation loss (nats per token)"
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"


def test_curves_are_named_by_what_limits_them_and_lines_end_a_little_past_their_points() -> None:
    """Of three curves one is flat throughout, one breaks, and one does not; the richest comes first."""
    params, tokens = np.tile(np.geomspace(1e5, 1e9, 9), 3), np.repeat([1e8, 1e9, 1e10], 9)
    limit = np.repeat([1e4, 4e6, np.inf], 9)
    loss = 10 * np.minimum(params, limit) ** -0.17
    figure = figure_4(find_regimes(params, tokens, loss), params, tokens, loss)
    keys = [trace for trace in figure.data if list(trace.x) == [None]]
    assert [key.name.partition(":")[0] for key in keys] == ["1e+10 tokens", "1e+09 tokens", "1e+08 tokens"]
    assert keys[2].name == "1e+08 tokens: exponent not told"
    assert all(key.showlegend is None for key in keys)
    drawn = {key.name: [t for t in figure.data if t.legendgroup == key.name and t is not key] for key in keys}
    assert all(trace.showlegend is False for traces in drawn.values() for trace in traces), "one entry for each curve"
    assert [[trace.mode for trace in drawn[key.name]] for key in keys] == [
        ["markers", "lines"], ["markers", "lines", "markers+text"], ["markers"],
    ]  # fmt: skip
    assert [key.marker.color for key in keys] == list(COLOURS[:3])
    whole, cut = (drawn[key.name][1] for key in keys[:2])
    assert (whole.x[0], whole.x[-1]) == pytest.approx((1e5, 1e9))
    last = max(size for size in params[:9] if size <= 4e6)
    assert cut.x[-1] == pytest.approx(3 * last)
    (at,), (height,) = drawn[keys[1].name][2].x, drawn[keys[1].name][2].y
    assert at == pytest.approx(4e6, rel=0.5)
    between = np.interp(np.log(at), np.log(params[:9]), np.log(loss[9:18]))
    assert np.log(height) == pytest.approx(between), "a break lies on the line through what was measured"


def test_two_points_are_no_curve_and_frames_are_no_tokens() -> None:
    params, tokens = np.array([1e6, 1e7, 1e8, 1e6, 1e7]), np.array([1e8] * 3 + [1e9] * 2)
    loss = 10 * params**-0.17
    figure = figure_4(find_regimes(params, tokens, loss), params, tokens, loss, "meV", "frames", 0.8)
    assert len(figure.data) == 3
    assert figure.data[0].name.startswith("1e+08 frames: exponent 0.170 [")
    assert figure.layout.legend.title.text == "80 % intervals, by training frames seen"
    assert figure.layout.title.text == "Loss against non-embedding parameters (open markers: data-limited)"
    assert figure.layout.yaxis.title.text == "meV"
    marks, text = figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext
    assert [float(mark) for mark in text] == pytest.approx(list(marks)), "less than a decade has plain numbers"
    assert all(loss.min() / 1.05 <= mark <= loss.max() * 1.05 for mark in marks)
    assert figure.layout.yaxis.range == pytest.approx(np.log10([loss.min() / 1.05, loss.max() * 1.05]))
    turned = figure_4(find_regimes(tokens, params, loss, along="tokens"), tokens, params, loss)
    assert turned.layout.title.text == "Loss against training tokens (open markers: model-limited)"
    assert turned.data[0].name.startswith("1e+08 params: ")


def test_runs_lie_over_the_law_and_the_frontier_stays_near_them(planted: Any) -> None:
    law = JointLaw(replicates=5).fit(*planted)
    frontier = compute_optimal(law, np.geomspace(1e12, 1e26, 200))
    contour, runs, best = figure_5(*planted, law=law, frontier=frontier).data
    assert (contour.type, runs.name, best.name) == ("contour", "runs", "compute-optimal")
    assert contour.x[[0, -1]] == pytest.approx([1e6 / 1.3, 1.3e9])
    assert contour.y[[0, -1]] == pytest.approx([1e8 / 1.3, 1.3e11])
    at = law.predict(np.full(60, contour.x[7]), contour.y)
    assert contour.z[:, 7] == pytest.approx(np.log10(at)), "rows are tokens"
    assert (contour.zmin, contour.zmax) == pytest.approx((np.log10(planted.loss.min()), np.log10(planted.loss.max())))
    assert (runs.marker.cmin, runs.marker.cmax) == (contour.zmin, contour.zmax), "one scale for runs and law"
    assert (runs.x.tolist(), runs.y.tolist()) == (planted.params.tolist(), planted.tokens.tolist())
    assert runs.marker.color == pytest.approx(np.log10(planted.loss))
    inside = (frontier.params > 1e6 / 1.3) & (frontier.params < 1.3e9)
    assert 0 < inside.sum() < 200
    assert (best.x.tolist(), best.y.tolist()) == (frontier.params[inside].tolist(), frontier.tokens[inside].tolist())
    figure = figure_5(*planted, unit="meV", data="frames")
    (alone,) = figure.data
    assert alone.marker.colorbar.title.text == "meV"
    ticks = np.geomspace(planted.loss.min(), planted.loss.max(), 6)
    assert alone.marker.colorbar.tickvals == pytest.approx(np.log10(ticks))
    assert figure.layout.xaxis.title.text == "non-embedding parameters"
    assert figure.layout.yaxis.title.text == "training frames seen"
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
