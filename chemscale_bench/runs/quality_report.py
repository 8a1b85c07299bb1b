"""How good drawn molecules are over the loss of the model that drew them: a table, a figure, and a line through FCD."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from plotly.colors import sample_colorscale
from plotly.graph_objects import Figure, Scatter
from plotly.subplots import make_subplots

from chemscale_bench.scaling.figures import LOSS_TITLE, MARKERS, percent
from chemscale_bench.scaling.line import Line, straight_line

LOSS, FCD = "loss_nats_per_token", "fcd_test"
LEVEL = 0.9
LEAST = 4  # models, for a line
MOSES_DRAWS = 30_000  # molecules, for published distances
PANELS = {FCD: "Fréchet ChemNet distance", "raw_valid": "raw validity", "unique_at_10k": "unique", "novelty": "novel"}
SHOWN = {"valid": "valid", "raw_valid": "raw valid", "unique_at_10k": "unique", "novelty": "novelty", FCD: "FCD"}


def pairs_of(table: pd.DataFrame) -> np.ndarray:
    """Loss and FCD (n, 2) of the models that have both."""
    pairs = table.reindex(columns=[LOSS, FCD]).to_numpy(float)
    found: np.ndarray = pairs[np.isfinite(pairs).all(1)]
    return found


def line_of(table: pd.DataFrame) -> Line | None:
    """The line of FCD over loss, of four models or more."""
    pairs = pairs_of(table)
    return straight_line(pairs[:, 0], pairs[:, 1], LEVEL) if len(pairs) >= LEAST else None


def metrics(table: pd.DataFrame, line: Line | None, goal: float | None) -> dict[str, float]:
    """The line as metrics; with the loss at which it falls to `goal`, and whether that is extrapolated (0 or 1)."""
    if line is None:
        return {}
    found = {"slope_per_nat_per_token": (line.slope, line.slope_interval)}
    found["intercept"] = (line.intercept, line.intercept_interval)
    values: dict[str, float] = {}
    if goal is not None and line.slope > 0:
        found["charrnn_loss_nats_per_token"] = reached = line.reaches(goal)
        values["fcd_over_loss/charrnn_extrapolated"] = float(reached[0] < pairs_of(table)[:, 0].min())
    for name, (best, interval) in found.items():
        for suffix, value in zip(("", "_low", "_high"), (best, *interval), strict=True):
            values[f"fcd_over_loss/{name}{suffix}"] = value
    return values


def text(table: pd.DataFrame, published: Mapping[str, Mapping[str, float]]) -> str:
    """The models, the lowest loss first, and published ones below."""
    lines = [f"{'model':>28} {'tokens':>8} {'loss':>7} " + " ".join(f"{head:>9}" for head in SHOWN.values())]
    for row in table.sort_values(LOSS).to_dict("records"):
        name = f"{row['model']} {row['non_embedding_params']:.2g}"
        lines.append(f"{name:>28} {row['tokens']:>8.2g} {cell(row[LOSS], 7)} {cells(row)}")
    lines += [f"{name:>28} {'':>8} {'':>7} {cells(row)}" for name, row in published.items()]
    return "\n".join(
        [*lines, "(loss in nats per token on the validation split; FCD falls with the number of molecules)"]
    )


def cells(row: Mapping[Any, Any]) -> str:
    """The metrics of a row."""
    return " ".join(cell(row.get(name, math.nan), 9) for name in SHOWN)


def cell(value: float, width: int) -> str:
    """For a column; a dash for what there is not."""
    return f"{value:{width}.4f}" if math.isfinite(value) else f"{'-':>{width}}"


def line_text(table: pd.DataFrame, line: Line | None, goal: float | None, molecules: int, yardstick: str) -> str:
    """The line in words, and where it falls to `goal`, the published distance of `yardstick`."""
    if line is None:
        return (
            f"a line of FCD over loss needs {LEAST} models that have both, and two losses; got {len(pairs_of(table))}"
        )
    lines = [
        f"FCD = {line.slope:.4g} x loss {line.intercept:+.4g}, over {line.points} models; {percent(LEVEL)} intervals: "
        f"slope {line.slope_interval.low:.4g} to {line.slope_interval.high:.4g}, "
        f"intercept {line.intercept_interval.low:.4g} to {line.intercept_interval.high:.4g}"
    ]
    if goal is None:
        return lines[0]
    if line.slope <= 0:
        return f"{lines[0]}\nFCD does not fall with the loss here: nothing follows about {yardstick}'s {goal:g}"
    loss, (low, high) = line.reaches(goal)
    interval = f"{low:.3f} to {high:.3f}" if math.isfinite(low) else "interval without ends"
    lowest = float(pairs_of(table)[:, 0].min())
    lines.append(f"{yardstick}'s FCD, {goal:g}, is reached at a loss of {loss:.3f} ({interval}) nats per token")
    if loss < lowest:
        lines[-1] += f": an extrapolation, the lowest loss measured is {lowest:.3f}"
    if molecules < MOSES_DRAWS:
        lines.append(
            f"{yardstick}'s is of {MOSES_DRAWS:,} molecules; {molecules:,} give larger distances, and so too low a loss"
        )
    return "\n".join(lines)


def figure(table: pd.DataFrame, line: Line | None, goal: float | None, title: str) -> Figure:
    """A panel for each metric over the loss: a marker for each model, a colour for each size, from dark to light."""
    panels = {name: called for name, called in PANELS.items() if name in table}
    made = make_subplots(
        math.ceil(len(panels) / 2), 2, subplot_titles=list(panels.values()), horizontal_spacing=0.1,
        vertical_spacing=0.14,
    )  # fmt: skip
    about = table.assign(size=[float(f"{params:.2g}") for params in table["non_embedding_params"]])
    sizes = sorted(set(about["size"]))
    shades = sample_colorscale("Viridis", np.linspace(0, 0.9, len(sizes)).tolist() if len(sizes) > 1 else [0.0])
    models = list(dict.fromkeys(table["model"]))
    for place, name in enumerate(panels):
        row, column = 1 + place // 2, 1 + place % 2
        for (model, size), of in about.groupby(["model", "size"]):
            marker = {
                "color": shades[sizes.index(size)], "symbol": MARKERS[models.index(model) % len(MARKERS)], "size": 10,
            }  # fmt: skip
            hover = [
                f"{tokens:,} tokens, run {run[:6]}" for tokens, run in zip(of["tokens"], of["run_id"], strict=True)
            ]
            called = f"{model} {size:.2g}"
            made.add_trace(
                Scatter(
                    x=of[LOSS], y=of[name], mode="markers", name=called, legendgroup=called, marker=marker,
                    hovertext=hover, showlegend=place == 0,
                ), row, column,
            )  # fmt: skip
        if name == FCD and line is not None:
            losses = pairs_of(table)[:, 0]
            ends = np.array([losses.min(), losses.max()])
            look = {"color": "black", "width": 1.5}
            called = f"{line.slope:.3g} x loss {line.intercept:+.3g}"
            y = line.intercept + line.slope * ends
            made.add_trace(Scatter(x=ends, y=y, mode="lines", line=look, name=called), row, column)
            reached = line.reaches(goal)[0] if goal is not None and line.slope > 0 else math.inf
            if reached < ends[0]:
                dotted = Scatter(
                    x=[reached, ends[0]], y=[goal, y[0]], mode="lines", line=look | {"dash": "dot"}, name="extrapolated"
                )
                made.add_trace(dotted, row, column)
    made.update_xaxes(title_text=LOSS_TITLE)
    made.update_layout(title=title, template="plotly_white", height=430 * math.ceil(len(panels) / 2))
    return made
