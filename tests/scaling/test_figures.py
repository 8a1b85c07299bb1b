"""Figures hold what they promise: open markers, breaks, exponents with intervals, units on the axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from chemscale_bench.scaling import JointLaw, compute_optimal, find_regimes, isoflop
from chemscale_bench.scaling.figures import figure_4, figure_5
from chemscale_bench.scaling.figures_fit import figure_frontier, figure_residuals
from chemscale_bench.tracking.figures import to_html


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


def test_other_figures_are_drawn_and_open_without_a_network(chinchilla: Any) -> None:
    law = JointLaw(replicates=100).fit(*chinchilla)
    frontier = compute_optimal(law, np.geomspace(1e18, 1e24, 20))
    over = figure_5(*chinchilla, law=law, frontier=frontier)
    assert [type(trace).__name__ for trace in over.data] == ["Contour", "Scatter", "Scatter"]
    names = [trace.name for trace in figure_frontier(frontier, isoflop(*chinchilla), 1e22).data]
    assert "isoFLOP minima (biased)" in names
    assert "90 % interval, tokens" in names
    assert "50 % interval, tokens" in [trace.name for trace in figure_frontier(frontier, level=0.5).data]
    page = to_html(figure_residuals(law))
    assert "cdn.plot.ly/plotly" not in page.split("</script>")[0]
    assert "Plotly.newPlot" in page
