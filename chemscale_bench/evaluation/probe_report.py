"""What probes found: as a table, as figures, and how it follows the loss over many models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure, Scatter
from plotly.subplots import make_subplots
from scipy.stats import rankdata, spearmanr

from chemscale_bench.evaluation.probes import LEVEL, Kind, Worth

METRIC: dict[Kind, str] = {"regression": "RMSE", "classification": "ROC-AUC"}
KINDS = {"trained": "#0072B2", "untrained": "#D55E00", "baseline": "#999999"}  # Okabe & Ito's palette
LEAST_RUNS = 4  # for a rank correlation
RESAMPLES = 2_000
SIZE = ["model", "non_embedding_params"]
FOUND = {"linear": "linear", "neighbours": "neighbours", "rogi": "ROGI", "rogi_xd": "ROGI-XD"}
AGAINST = {"loss_nats_per_token": "loss", "non_embedding_params": "parameters"}


class Probed(NamedTuple):
    """What was found for one property."""

    name: str
    title: str
    kind: Kind
    table: pd.DataFrame


def row(about: dict[str, Any], found: Worth) -> dict[str, Any]:
    """A row of the table: what the features are, and what they are worth."""
    scores = {
        f"{head}{suffix}": value
        for head, score in (("linear", found.linear), ("neighbours", found.neighbours))
        for suffix, value in zip(("", "_low", "_high"), score, strict=True)
    }
    return about | scores | found.rough._asdict()


def text(table: pd.DataFrame, kind: Kind) -> str:
    """The table for people."""
    longest = max(len(name) for name in table["features"])
    lines = [
        f"{METRIC[kind]} on unseen scaffolds, mean and {LEVEL:.0%} interval over the splits; a low ROGI is smooth",
        f"{'features':<{longest}} {'width':>5} {'unknown':>8} {'loss':>6}  {'linear':<22} {'5 neighbours':<22} "
        f"{'ROGI':>5} {'ROGI-XD':>7}",
    ]
    rows = table.to_dict("records")
    for one in rows:
        linear, neighbours = (
            f"{one[head]:.3f} ({one[f'{head}_low']:.3f} to {one[f'{head}_high']:.3f})"
            for head in ("linear", "neighbours")
        )
        loss, share = one["loss_nats_per_token"], one["unknown_symbol_share"]
        known = ("" if math.isnan(share) else f"{share:.1%}", "" if math.isnan(loss) else f"{loss:.3f}")
        lines.append(
            f"{one['features']:<{longest}} {one['width']:>5} {known[0]:>8} {known[1]:>6}  {linear:<22} "
            f"{neighbours:<22} {one['rogi']:>5.3f} {one['rogi_xd']:>7.3f}"
        )
    return "\n".join(lines)


def figure(found: Sequence[Probed]) -> Figure:
    """Linear probe and roughness (ROGI-XD) over the loss, a row for each property: networks, and baselines as lines."""
    titles = [
        title for one in found for title in (f"{one.name}: linear probe, {METRIC[one.kind]}", "roughness, ROGI-XD")
    ]
    made = make_subplots(len(found), 2, subplot_titles=titles, vertical_spacing=0.2 / len(found))
    for number, one in enumerate(found, 1):
        _draw(made, number, one.table)
    made.update_xaxes(title_text="validation loss of the trained network (nats/token)", row=len(found))
    made.update_layout(
        title=found[0].title if len(found) == 1 else "", template="plotly_white", height=150 + 300 * len(found)
    )
    return made


def _draw(made: Figure, number: int, table: pd.DataFrame) -> None:
    """One property, in the row of that number: trained and untrained networks, baselines as lines."""
    known = table["loss_nats_per_token"].fillna(table["loss_nats_per_token"].min()).fillna(0.0)
    # An untrained network stands where the least trained run of it does.
    worst = table.assign(x=known)[table["kind"] == "trained"].groupby(SIZE)["x"].max()
    for place, (column, low, high) in enumerate((("linear", "linear_low", "linear_high"), ("rogi_xd", "", "")), 1):
        for group in ("trained", "untrained"):
            of = table[table["kind"] == group]
            x = known[of.index] if group == "trained" else [worst[tuple(one)] for one in of[SIZE].to_numpy()]
            bars = {"array": of[high] - of[column], "arrayminus": of[column] - of[low]} if low else None
            made.add_trace(
                Scatter(
                    x=x, y=of[column], mode="markers", name=group, error_y=bars,
                    text=of["features"], marker={"color": KINDS[group], "size": 9}, showlegend=number == place == 1,
                ), number, place,
            )  # fmt: skip
        for one in table[table["kind"] == "baseline"].to_dict("records"):
            made.add_hline(
                one[column], line={"color": KINDS["baseline"], "dash": "dot"}, annotation_text=one["features"],
                annotation_position="top left", row=number, col=place,
            )  # fmt: skip


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of what was found with loss and parameters, over the trained runs, with its interval.

    Returns:
        Columns `found`, `against`, `runs`, `spearman`, `low`, `high`; the interval is that of a bootstrap over runs.
        No rows if there are fewer than four runs.
    """
    trained = table[(table["kind"] == "trained") & table["loss_nats_per_token"].notna()]
    rows = []
    for against in AGAINST:
        for found in FOUND:
            pairs = trained[[against, found]].to_numpy(float)
            if len(pairs) < LEAST_RUNS or not np.ptp(pairs, 0).all():
                continue
            rows.append((found, against, len(pairs), *spearman(pairs)))
    return pd.DataFrame(rows, columns=["found", "against", "runs", "spearman", "low", "high"])


def spearman(pairs: np.ndarray) -> tuple[float, float, float]:
    """Rank correlation of pairs (n, 2), and its percentile interval under resampling of the pairs."""
    drawn = pairs[np.random.default_rng(0).integers(len(pairs), size=(RESAMPLES, len(pairs)))]  # (R, n, 2)
    drawn = drawn[np.ptp(drawn, 1).all(1)]  # one run alone has no correlation
    ranks = rankdata(drawn, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    found = np.prod(ranks, 2).sum(1) / np.sqrt(np.square(ranks).sum(1).prod(1))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return float(spearmanr(*pairs.T).statistic), low, high


def correlations_text(found: pd.DataFrame, kind: Kind) -> str:
    """The correlations of one property for people."""
    lines = [f"Spearman's correlation over {found['runs'].iloc[0]} trained runs, {LEVEL:.0%} interval"]
    shown = FOUND | {head: f"{head} {METRIC[kind]}" for head in ("linear", "neighbours")}
    for against, name in AGAINST.items():
        of = found[found["against"] == against].to_dict("records")
        told = ", ".join(f"{shown[o['found']]} {o['spearman']:+.2f} ({o['low']:+.2f} to {o['high']:+.2f})" for o in of)
        if told:
            lines.append(f"with {name}: {told}")
    return "\n".join(lines)
