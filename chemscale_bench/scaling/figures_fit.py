"""Figures of a fit: the compute-optimal frontier, residuals, and a forecast beside what came of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from chemscale_bench.scaling.base import ScalingLaw
from chemscale_bench.scaling.figures import AXIS_TITLE, COLOURS, LOSS_TITLE, MARKERS, axis_title, percent, styled
from chemscale_bench.scaling.forecast import Forecast
from chemscale_bench.scaling.frontier import Frontier
from chemscale_bench.scaling.isoflop import IsoFlop
from chemscale_bench.scaling.planning import Plan


def figure_frontier(
    frontier: Frontier, isoflop: IsoFlop | None = None, fitted_up_to: float | None = None, level: float = 0.9
) -> Any:
    """Optimal size and tokens against FLOPs with intervals; isoFLOP minima, which are biased, as a comparison.

    Args:
        frontier: on an ascending grid of FLOPs.
        isoflop: minima to compare with.
        fitted_up_to: largest FLOPs of the fitted runs; beyond it the frontier extrapolates.
        level: of the frontier's intervals.
    """
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.13)
    columns = (
        ("parameters", frontier.params, frontier.params_interval),
        ("tokens", frontier.tokens, frontier.tokens_interval),
    )
    for column, (name, best, interval) in enumerate(columns, 1):
        colour = COLOURS[column - 1]
        figure.add_scatter(
            x=np.concatenate([frontier.flops, frontier.flops[::-1]]),
            y=np.concatenate([interval.high, interval.low[::-1]]),
            fill="toself",
            fillcolor=colour,
            opacity=0.25,
            line_width=0,
            hoverinfo="skip",
            name=f"{percent(level)} interval, {name}",
            row=1,
            col=column,
        )
        line = {"color": colour, "width": 3, "dash": ("solid", "dash")[column - 1]}
        figure.add_scatter(x=frontier.flops, y=best, mode="lines", line=line, name=f"optimal {name}", row=1, col=column)
        if fitted_up_to is not None:
            figure.add_scatter(
                x=[fitted_up_to] * 2,
                y=[interval.low.min(), interval.high.max()],
                mode="lines",
                line={"color": "black", "dash": "dot", "width": 1.5},
                name="largest fitted run",
                showlegend=column == 1,
                row=1,
                col=column,
            )
    if isoflop is not None:
        marker = {"symbol": "x", "size": 9, "color": "black"}
        figure.add_scatter(
            x=isoflop.flops,
            y=isoflop.params,
            mode="markers",
            marker=marker,
            name="isoFLOP minima (biased)",
            row=1,
            col=1,
        )
    low, high = frontier.params_power_interval
    title = f"Compute-optimal frontier: parameters grow as FLOPs^{frontier.params_power:.3f} [{low:.3f}, {high:.3f}]"
    styled(figure, title, "training FLOPs", "")
    figure.update_yaxes(exponentformat="power", dtick=1)
    figure.update_yaxes(title=f"optimal {AXIS_TITLE['params']}", row=1, col=1)
    figure.update_yaxes(title=f"optimal {AXIS_TITLE['tokens']}", row=1, col=2)
    return figure.update_layout(width=1150, height=560, legend={"orientation": "h", "y": -0.2})


def figure_foretold(
    table: pd.DataFrame, unit: str, data: str = "tokens", level: float = 0.9, worst: float = np.inf
) -> Any:
    """What was foretold with its interval, and what was measured, for every run that was not there yet.

    Args:
        table: columns params, data, foretold, low, high, measured, inside.
        unit: of the measured, for its axis.
        data: what the column of that name counts.
        level: of the intervals.
        worst: the highest loss of all runs; bars that reach beyond it leave the picture, and tell no upper end.
    """
    figure = go.Figure()
    places = [
        f"{size:.2g} params,<br>{amount:.2g} {data}"
        for size, amount in zip(table["params"], table["data"], strict=True)
    ]
    bars = {"type": "data", "array": table["high"] - table["foretold"], "arrayminus": table["foretold"] - table["low"]}
    marker = {"symbol": "line-ew-open", "size": 14, "color": COLOURS[0]}
    name = f"foretold, {percent(level)} interval"
    figure.add_scatter(x=places, y=table["foretold"], error_y=bars, mode="markers", marker=marker, name=name)
    marker = {"symbol": MARKERS[1], "size": 9, "color": COLOURS[1]}
    figure.add_scatter(x=places, y=table["measured"], mode="markers", marker=marker, name="measured afterwards")
    inside = int(table["inside"].sum())
    styled(figure, f"Foretold before the largest began: {inside} of {len(table)} lie inside", "", unit, log_y=False)
    if table["high"].max() > worst:
        lowest = min(table["low"].min(), table["measured"].min())
        figure.update_yaxes(range=[0.9 * lowest, 1.05 * worst])
    return figure.update_xaxes(type="category")


def figure_sizes(law: Forecast, plan: Plan, level: float = 0.9) -> Any:
    """The loss that a budget reaches against the size it is spent on, with the optimum and those half and twice it.

    Args:
        law: that was planned with.
        plan: its answer.
        level: of the band.
    """
    (best,), (tokens,) = plan.frontier.params, plan.frontier.tokens
    factors = np.geomspace(1 / 8, 8, 49)
    sizes = best * factors, tokens / factors
    low, high = law.predict_interval(*sizes, level)
    figure = go.Figure()
    figure.add_scatter(
        x=[*sizes[0], *sizes[0][::-1]], y=[*high, *low[::-1]], fill="toself", fillcolor=COLOURS[0], opacity=0.25,
        line_width=0, hoverinfo="skip", name=f"{percent(level)} interval",
    )  # fmt: skip
    line = {"color": COLOURS[0], "width": 3}
    figure.add_scatter(x=sizes[0], y=law.predict(*sizes), mode="lines", line=line, name="expected loss")
    marked = {"optimum": (best, float(plan.frontier.loss[0]))}
    for name, other in (("half the size", plan.half_size), ("twice the size", plan.double_size)):
        marked[name] = (other.params, other.loss)
    for number, (name, (size, loss)) in enumerate(marked.items()):
        marker = {"symbol": MARKERS[number], "size": 11, "color": COLOURS[number + 1]}
        figure.add_scatter(x=[size], y=[loss], mode="markers", marker=marker, name=name)
    styled(figure, f"Ways to spend {plan.flops:.3g} FLOPs", AXIS_TITLE["params"], LOSS_TITLE, log_y=False)
    return figure


def figure_residuals(law: ScalingLaw, data: str = "tokens") -> Any:
    """Measured over predicted loss, in percent, against every size of the law, whose tokens count `data`."""
    fitted = law.fitted_
    sizes = np.exp(fitted.u + law.centre_)
    figure = make_subplots(rows=1, cols=sizes.shape[1], shared_yaxes=True, horizontal_spacing=0.05)
    deviation = 100 * np.expm1(law.residuals_)
    for column in range(len(law.features)):
        marker = {"symbol": MARKERS[column], "color": COLOURS[column], "size": 8, "opacity": 0.8}
        figure.add_scatter(x=sizes[:, column], y=deviation, mode="markers", marker=marker, row=1, col=column + 1)
        figure.add_hline(y=0, line={"color": "black", "width": 1}, row=1, col=column + 1)
    spread = float(np.median(np.abs(deviation)))
    styled(figure, f"Residuals of {type(law).__name__} (median size {spread:.2f} %)", "", "", log_y=False)
    for column, name in enumerate(law.features, 1):
        figure.update_xaxes(title=axis_title(name, data) if name in AXIS_TITLE else "size", row=1, col=column)
    figure.update_yaxes(title="measured over predicted loss, minus 1 (%)", row=1, col=1)
    return figure.update_layout(showlegend=False)
