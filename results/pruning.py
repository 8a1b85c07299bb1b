"""What stopping early foretells, saves and keeps on the recorded sweeps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from chemscale_bench.tuning.estimators import sum_of_losses
from chemscale_bench.tuning.figures import FRACTION, Predictions
from chemscale_bench.tuning.recorded import Curves, read
from chemscale_bench.tuning.replay import grade, predictions
from results.drawing import COLOURS, save
from results.studies import HERE

CURVES = HERE.parent / "benchmarks" / "curves"
SHOWN = 0.9  # of the trials of a sweep, whatever the others end at
PRUNERS = {"paper": "rule of the paper", "performance": "`performance`, ours"}


def pruner_section() -> Iterator[str]:
    """Markdown: the figure of predictions, and what they and two pruners reach on every recorded sweep."""
    sweeps = {path.stem: read(str(path)) for path in sorted(CURVES.glob("*.parquet"))}
    told = {
        name: {"paper": foretell_by_the_paper(curves), "ours": predictions(curves)[FRACTION]}
        for name, curves in sweeps.items()
    }
    yield save(foretold_figure(told), "prediction") + "\n"
    yield "| sweep | trials | R², the paper's line | R², ours | Spearman, the paper's line | Spearman, ours |"
    yield "|" + 6 * "---|"
    for name, rules in told.items():
        paper, ours = rules["paper"], rules["ours"]
        yield (
            f"| {name} | {len(ours.final)} | {paper.r2:.2f} | {ours.r2:.2f} | {paper.spearman:.2f} | "
            f"{ours.spearman:.2f} |"
        )
    yield ""
    yield from prune_table(sweeps)


def foretold_figure(found: dict[str, dict[str, Predictions]]) -> Figure:
    """Predicted against final, a panel per sweep."""
    rows = -(-len(found) // 3)
    figure = Figure(figsize=(10.6, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False).ravel()
    for axis in axes[len(found) :]:
        axis.remove()
    for axis, (name, rules) in zip(axes, found.items(), strict=False):
        for (rule, one), colour, marker in zip(rules.items(), COLOURS[1::-1], "x.", strict=True):
            axis.plot(one.final, one.predicted, marker, color=colour, label=f"{rule}: R² {one.r2:.2f}")
        ends = [min(one.final.min() for one in rules.values()), max(one.final.max() for one in rules.values())]
        axis.plot(ends, ends, color="#999999", lw=1)
        most = 1.2 * float(np.quantile(rules["ours"].final, SHOWN))
        if ends[1] > 2 * most:  # a few that diverged would leave no room for the others
            beyond = int((rules["ours"].final > most).sum())
            axis.set(xlim=(0.8 * ends[0], most), ylim=(0.8 * ends[0], most), title=f"{name}, {beyond} off the figure")
        axis.set_title(axis.get_title() or name, fontsize=9)
        axis.set(xlabel="final loss", ylabel=f"foretold at {FRACTION:.0%}")
        axis.legend(fontsize=7, frameon=False)
        axis.grid(alpha=0.3)
    return figure


def foretell_by_the_paper(curves: Curves) -> Predictions:
    """Each trial's final value from a line through the others' finals against their summed losses up to 20 %."""
    early = np.array([sum_of_losses(row[: round(FRACTION * len(row))]) for row in curves.values])
    told = np.isfinite(early) & np.isfinite(curves.final)
    x, y = early[told], curves.final[told]
    fits = [np.polyfit(np.delete(x, i), np.delete(y, i), 1) for i in range(len(x))]
    return Predictions(np.array([np.polyval(fit, at) for fit, at in zip(fits, x, strict=True)]), y)


def prune_table(sweeps: dict[str, Curves]) -> Iterator[str]:
    """Markdown: what stopping early saves and keeps on the recorded sweeps."""
    yield (
        "| sweep | trials | "
        + " | ".join(f"{what}: saved %, best kept %, regret %" for what in PRUNERS.values())
        + " |"
    )
    yield "|" + (2 + len(PRUNERS)) * "---|"
    for name, curves in sweeps.items():
        rows = grade(curves, list(PRUNERS), trials=len(curves.final), studies=25)
        cells = [f"{row.saved_percent:.0f}, {row.kept_percent:.0f}, {row.regret_percent:.1f}" for row in rows]
        yield f"| {name} | {len(curves.final)} | {' | '.join(cells)} |"
