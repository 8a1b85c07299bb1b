"""The paper's Figures 4 and 5 for any table of runs, as plotly figures.

Series differ by marker and dash as well as by colour, so that they read in grey and by the colour-blind
(Okabe & Ito palette).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from chemscale_bench.scaling.forms import Array
from chemscale_bench.scaling.frontier import Frontier
from chemscale_bench.scaling.laws import JointLaw
from chemscale_bench.scaling.regimes import Regimes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
AXIS_TITLE = {"params": "non-embedding parameters", "tokens": "training tokens", "frames": "training frames seen"}
LOSS_TITLE = "validation loss (nats per token)"


def axis_title(name: str, data: str = "tokens") -> str:
    """Title of the axis of a law's size; its tokens may count `frames`."""
    return AXIS_TITLE[data if name == "tokens" else name]


def percent(level: float) -> str:
    """A level of intervals as figures write it."""
    return f"{100 * level:g} %"


def styled(figure: go.Figure, title: str, x: str, y: str, log_y: bool = True) -> go.Figure:
    """Give a figure its title, log axes with units, and the look that all of them share."""
    axis = {"showline": True, "linecolor": "black", "mirror": True, "ticks": "outside", "gridcolor": "#e5e5e5"}
    figure.update_layout(
        title=title, template="simple_white", font_size=14, width=980, height=620, legend={"font_size": 12}
    )
    figure.update_xaxes(title=x, type="log", exponentformat="power", dtick=1, showgrid=True, **axis)
    figure.update_yaxes(title=y, type="log" if log_y else "linear", showgrid=True, **axis)
    return figure


def readable_log_ticks(figure: go.Figure, values: Array) -> None:
    """Label a log axis that spans less than a decade with plain numbers."""
    low, high = float(np.min(values)) / 1.05, float(np.max(values)) * 1.05
    if high / low < 20:
        marks = [mark * 10.0**power for power in range(-6, 7) for mark in (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8)]
        inside = [mark for mark in marks if low <= mark <= high]
        figure.update_yaxes(tickvals=inside, ticktext=[f"{mark:.3g}" for mark in inside])
    figure.update_yaxes(range=[np.log10(low), np.log10(high)])


def figure_4(
    regimes: Regimes,
    params: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    unit: str = LOSS_TITLE,
    data: str = "tokens",
    level: float = 0.9,
) -> Any:
    """Loss against one axis, a series for each value of the other: points, fits, breaks, exponents with intervals.

    Filled markers lie on the power law that is drawn; open ones are limited by the other resource and left out of
    it. Curves with fewer than 3 points are not drawn, nor are any but the 12 richest. `data` is what
    `tokens` counts, `level` that of the intervals.
    """
    table = {"params": np.asarray(params, dtype=float), "tokens": np.asarray(tokens, dtype=float)}
    size, measured = table[regimes.along], np.asarray(loss, dtype=float)
    other = "tokens" if regimes.along == "params" else "params"
    figure = go.Figure()
    long = [curve for curve in regimes.curves if len(curve.rows) > 2]
    for i, curve in enumerate(long[::-1][:12]):
        colour, marker, dash = (styles[i % len(styles)] for styles in (COLOURS, MARKERS, DASHES))
        x, y = size[curve.rows], measured[curve.rows]
        limited = x > curve.limited_beyond
        name = f"{curve.at:.2g} {data if other == 'tokens' else other}: "
        if curve.law is None:
            name += "exponent not told"
        else:
            low, high = curve.law.confidence_interval("exponent", level)
            name += f"exponent {curve.law.exponent_:.3f} [{low:.3f}, {high:.3f}]"
        # Only a legend entry of its own shows marker and dash together.
        key = {"marker": {"symbol": marker, "size": 10, "color": colour}, "line": {"color": colour, "dash": dash}}
        figure.add_scatter(x=[None], y=[None], mode="lines+markers", name=name, legendgroup=name, **key)
        figure.add_scatter(
            x=x,
            y=y,
            mode="markers",
            showlegend=False,
            legendgroup=name,
            marker={
                "symbol": [f"{marker}-open" if out else marker for out in limited],
                "size": 10,
                "color": colour,
                "line": {"color": colour, "width": 1.5},
            },
        )
        if curve.law is not None:
            # The line is drawn a little past the last point it was fitted to, so that the departure shows.
            ends = np.geomspace(x.min(), min(x.max(), x[~limited].max() * 3), 40)
            line = {"color": colour, "dash": dash, "width": 2}
            figure.add_scatter(
                x=ends, y=curve.law.predict(ends), mode="lines", line=line, legendgroup=name, showlegend=False
            )
        if 0 < curve.limited_beyond < np.inf:
            height = float(np.exp(np.interp(np.log(curve.limited_beyond), np.log(x), np.log(y))))
            figure.add_scatter(
                x=[curve.limited_beyond],
                y=[height],
                mode="markers+text",
                text=["break"],
                textposition="top right",
                legendgroup=name,
                showlegend=False,
                marker={"symbol": "line-ns-open", "size": 20, "color": colour, "line_width": 3},
            )
    limited_name = "data-limited" if regimes.along == "params" else "model-limited"
    along = axis_title(regimes.along, data)
    styled(figure, f"Loss against {along} (open markers: {limited_name})", along, unit)
    readable_log_ticks(figure, measured)
    figure.update_layout(
        legend={"title": f"{percent(level)} intervals, by {axis_title(other, data)}", "x": 1.02, "y": 1},
        width=1150,
        margin={"r": 20},
    )
    return figure


def figure_5(
    params: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    law: JointLaw | None = None,
    frontier: Frontier | None = None,
    unit: str = LOSS_TITLE,
    data: str = "tokens",
) -> Any:
    """Loss over params x tokens (or `data`): the runs, over the joint law's contours if any, and the frontier."""
    x, y, z = (np.asarray(column, dtype=float) for column in (params, tokens, loss))
    figure = go.Figure()
    log_z = np.log10(z)
    limits = {"zmin": float(log_z.min()), "zmax": float(log_z.max())}
    if law is not None:
        across, up = np.geomspace(x.min() / 1.3, x.max() * 1.3, 60), np.geomspace(y.min() / 1.3, y.max() * 1.3, 60)
        grid = np.meshgrid(across, up)
        surface = law.predict(grid[0].ravel(), grid[1].ravel()).reshape(grid[0].shape)
        figure.add_contour(
            x=across,
            y=up,
            z=np.log10(surface),
            colorscale="Cividis",
            showscale=False,
            contours={"coloring": "heatmap", "showlines": True, "size": (limits["zmax"] - limits["zmin"]) / 12},
            line={"color": "white", "width": 0.7},
            hoverinfo="skip",
            **limits,
        )
    ticks = np.geomspace(z.min(), z.max(), 6)
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        name="runs",
        customdata=z,
        hovertemplate=f"%{{x:.3g}} parameters<br>%{{y:.3g}} {data}<br>loss %{{customdata:.4f}}<extra></extra>",
        marker={
            "color": log_z,
            "colorscale": "Cividis",
            "cmin": limits["zmin"],
            "cmax": limits["zmax"],
            "size": 13,
            "line": {"color": "black", "width": 1.2},
            "colorbar": {
                "title": {"text": unit, "side": "right"},
                "tickvals": np.log10(ticks),
                "ticktext": [f"{tick:.3g}" for tick in ticks],
            },
        },
    )
    if frontier is not None:
        inside = (frontier.params > x.min() / 1.3) & (frontier.params < x.max() * 1.3)
        figure.add_scatter(
            x=frontier.params[inside],
            y=frontier.tokens[inside],
            mode="lines",
            name="compute-optimal",
            line={"color": "white", "width": 4, "dash": "dash"},
        )
    styled(figure, "Loss over model and data size", AXIS_TITLE["params"], axis_title("tokens", data))
    figure.update_yaxes(exponentformat="power", dtick=1, showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure.update_layout(legend={"x": 0.02, "y": 0.98, "bgcolor": "#9a9a9a"})
