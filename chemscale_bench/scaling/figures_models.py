"""The figure of models that are compared: their losses over compute, and how early small runs rank them rightly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from plotly.subplots import make_subplots

from chemscale_bench.scaling.decisions import CELL, Decision
from chemscale_bench.scaling.figures import COLOURS, DASHES, MARKERS, readable_log_ticks, styled
from chemscale_bench.scaling.frontier import undominated


def figure_models(runs: pd.DataFrame, decisions: Sequence[Decision], unit: str, word: str) -> Any:
    """Left the mean loss of every cell and the best of each compute, right the share of pairs ranked as at the end.

    Args:
        runs: as `decisions` takes them.
        decisions: of these runs.
        unit: title of the loss.
        word: what data are counted in.
    """
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.13)
    title = "which model is better, and how early small runs tell"
    figure = styled(figure, title, f"params x {word}", unit)
    for number, (name, group) in enumerate(runs.groupby("model", sort=False)):
        cells = group.groupby(CELL)["loss"].mean().reset_index()
        compute, loss = (cells["params"] * cells["data"]).to_numpy(dtype=float), cells["loss"].to_numpy()
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        look = {"color": colour, "symbol": MARKERS[number % len(MARKERS)], "size": 8}
        figure.add_scatter(x=compute, y=loss, mode="markers", marker=look, name=name, row=1, col=1)
        best = np.flatnonzero(undominated(compute, loss))
        best = best[np.argsort(compute[best])]
        line = {"color": colour, "dash": dash}
        figure.add_scatter(
            x=compute[best], y=loss[best], mode="lines", line=line, name=f"{name}, best", showlegend=False, row=1, col=1
        )
    readable_log_ticks(figure, runs["loss"].to_numpy(dtype=float))
    for number, decision in enumerate(decisions):
        figure.add_scatter(
            x=decision.smaller["share"], y=decision.smaller["agree"], mode="markers", row=1, col=2,
            marker={
                "color": COLOURS[-1 - number % len(COLOURS)], "symbol": MARKERS[-1 - number % len(MARKERS)], "size": 9,
            },
            name=f"{decision.better} before {decision.other}",
        )  # fmt: skip
    figure.update_xaxes(title="share of the largest common compute", row=1, col=2)
    figure.update_yaxes(title="pairs ranked as there", type="linear", range=[-0.05, 1.05], row=1, col=2)
    figure.update_yaxes(tickvals=None, ticktext=None, row=1, col=2)
    return figure
