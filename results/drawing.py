"""Figures, the same bytes for the same numbers."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure

from results.studies import HERE

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")  # Okabe & Ito
MARKERS = "osD^vPX"


def save(figure: Figure, name: str) -> str:
    """Write a figure, the same bytes for the same numbers, and return its markdown."""
    with mpl.rc_context({"svg.hashsalt": "chemscale-bench"}):
        figure.savefig(HERE / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    return f"![{name.replace('_', ' ')}]({name}.svg)"


def panels(number: int, x: str, y: str, sharey: bool = True) -> tuple[Figure, list[mpl.axes.Axes]]:
    """A row of log-log panels, usually with one y axis."""
    figure = Figure(figsize=(1 + 3.6 * number, 3.9), layout="constrained")
    axes = figure.subplots(1, number, sharey=sharey, squeeze=False)[0]
    for axis in axes:
        axis.set(xscale="log", yscale="log", xlabel=x)
        axis.grid(alpha=0.3)
        axis.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 1.2, 1.5, 2, 3, 4, 5, 7)))
        axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_locator(mpl.ticker.NullLocator())
        axis.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axes[0].set_ylabel(y)
    return figure, list(axes)
