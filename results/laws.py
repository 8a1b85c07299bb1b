"""Laws of studies, and what sets two models apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from chemscale_bench.scaling.decisions import decisions, exponents
from results.drawing import COLOURS, MARKERS, panels, save
from results.studies import LEVEL, Scaled, of_equal_steps, steps_of


def laws_section(tasks: dict[str, list[Scaled]], family: str, x: str, y: str) -> Iterator[str]:
    """Markdown: a figure, a table and a verdict in words for each task of a family."""
    for task, found in tasks.items():
        if found[0].study.family == family:
            shown = found if family == "language_model" else of_equal_steps(found)
            figure = save(loss_against_params(shown, x, y), f"scaling_{task.replace('@', '_')}")
            yield f"### {task}\n\n{figure}\n"
            yield from law_table(found)
            for study, _, analysis in found:
                several = sum(one.study.model == study.model for one in found) > 1
                who = f" by {study.submitter}" if several else ""
                yield f"\n**{study.model}**{who}: {analysis.verdict.found} Made by: {study.note}"
            yield ""


def loss_against_params(found: Sequence[Scaled], x: str, y: str) -> Figure:
    """Means over seeds with their range, and the joint law: a panel per model, a line per budget.

    Of the studies of one model it shows that of the largest run. Studies that tell no law are left to the table, unless
    none does.
    """
    telling = [one for one in found if one.analysis.joint is not None] or found
    chosen = {one.study.model: one for one in sorted(telling, key=lambda one: one.points["flops"].max())}
    found = [one for one in telling if chosen[one.study.model] is one]
    figure, axes = panels(len(found), x, y)
    budgets = sorted({budget for _, points, _ in found for budget in points["budget"]}, reverse=True)
    for axis, (study, points, analysis) in zip(axes, found, strict=True):
        for budget, part in sorted(points.groupby("budget"), reverse=True):
            i = budgets.index(budget)  # of one colour in all panels
            means = part.groupby("params")["loss"].agg(["mean", "min", "max"])
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            off = np.abs(means[["min", "max"]].to_numpy().T - means["mean"].to_numpy())
            label = f"{budget:,} {analysis.table.data_column}"
            axis.errorbar(means.index, means["mean"], off, fmt=marker, color=colour, ms=5, label=label)
            if analysis.joint is not None:
                ends = np.geomspace(means.index.min(), means.index.max(), 50)
                axis.plot(ends, analysis.joint.predict(ends, np.full(50, budget)), color=colour, lw=1)
        axis.set_title(study.model)
        axis.legend(fontsize=7, frameon=False)
    return figure


def law_table(found: Sequence[Scaled]) -> Iterator[str]:
    """Markdown: the exponents of studies, and what they cost."""
    data = found[0].analysis.table.data_column
    names = (
        "power_law/params_exponent",
        "power_law/tokens_exponent",
        "joint/irreducible",
        "joint/params_exponent",
        "joint/tokens_exponent",
    )
    yield f"| model | runs | best | along params | along {data} | E | alpha | beta | hours | kJ | entry |"
    yield "|" + 11 * "---|"
    for study, points, analysis in found:
        numbers = analysis.numbers()
        best = points.groupby(["params", "budget"])["loss"].mean().min()
        hours = sum(run.train_seconds * max(1, run.gpus) for run in study.runs) / 3600
        spent = [run.energy_kj for run in study.runs]
        energy = f"{sum(filter(None, spent)):.0f}" if all(spent) else "no counter"
        long = f", {steps_of(study)} steps" if study.family == "force_field" else ""
        cells = [study.model + long, f"{len(study.runs)}", f"{best:.4g}", *(between(numbers, name) for name in names)]
        cells += [f"{hours:.2f}", energy, f"[{study.date}](../leaderboard/entries/{study.name})"]
        yield f"| {' | '.join(cells)} |"


def between(numbers: dict[str, float], name: str) -> str:
    """A fitted number with its interval."""
    if name not in numbers:
        return "not told"
    return f"{numbers[name]:.2f} [{numbers[f'{name}_low']:.2f}, {numbers[f'{name}_high']:.2f}]"


def verdicts(groups: Sequence[pd.DataFrame], unit: str, data: str) -> Iterator[str]:
    """Markdown: of every two of a group which is better and by how much."""
    yield f"\n| better | than | at parameters, {data} | by, {unit} | pairs of smaller runs that say so |"
    yield "|" + 5 * "---|"
    for each in (decision for group in groups for decision in decisions(group, LEVEL)):
        low, high = each.interval
        interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else ", one seed"
        cells = [each.better, each.other, f"{count(each.params)}, {count(each.data)}"]
        cells += [f"{each.difference:.2f}{interval}", f"{each.accuracy:.0%}"]
        yield f"| {' | '.join(cells)} |"
    yield ""


def slopes(groups: Sequence[pd.DataFrame], data: str, axes: Sequence[str]) -> Iterator[str]:
    """Markdown: the exponents of every two of a group beside one another, those of straight lines."""
    yield "\n| along | at | points | one exponent | another | difference | p |"
    yield "|" + 7 * "---|"
    for pair in (pair for group in groups for pair in exponents(group, LEVEL) if pair.axis in axes):
        told = [
            f"{name} {line.slope:.3f} [{line.slope_interval[0]:.3f}, {line.slope_interval[1]:.3f}]"
            for name, line in zip(pair.models, pair.lines, strict=True)
        ]
        along, at = ("params", data) if pair.axis == "params" else (data, "params")
        (low, high), gap = pair.difference.slope_interval, pair.difference
        cells = [along, f"{count(pair.at)} {at}", f"{pair.points}", *told, f"{gap.slope:.3f} [{low:.3f}, {high:.3f}]"]
        yield f"| {' | '.join([*cells, f'{gap.p:.1g}'])} |"
    yield ""


def count(number: float) -> str:
    """A number of parameters, tokens or frames."""
    return f"{number:.0f}" if number < 1000 else f"{number:.0e}".replace("e+0", "e")
