"""What studies wrote down of their largest runs before these began, beside what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from chemscale_bench.leaderboard.collect import Study
from chemscale_bench.leaderboard.entry import RESULTS
from chemscale_bench.leaderboard.forecasts import judged
from results.drawing import COLOURS, save
from results.studies import steps_of

LANGUAGE = "language_model"


def foretold_section(studies: Sequence[Study]) -> Iterator[str]:
    """Markdown: every forecast on record, measured over foretold as a figure, and how many runs it was right about."""
    found = on_record(studies)
    yield f"{save(measured_over_foretold(found), 'foretold')}\n"
    yield from forecast_table(found)
    told = {study.name for study, _ in found}
    waiting = [f"{study.model} on {study.task}" for study in studies if study.foretold and study.name not in told]
    if waiting:
        yield f"\nForecasts that wait for their runs: {', '.join(waiting)}."


def on_record(studies: Sequence[Study]) -> list[tuple[Study, pd.DataFrame]]:
    """The studies that foretold some of their runs, and what they foretold and measured."""
    return [(study, table) for study in studies if study.foretold and len(table := points_of(study))]


def forecast_table(found: Sequence[tuple[Study, pd.DataFrame]]) -> Iterator[str]:
    """Markdown: of every forecast how far it reaches and how many runs it was right about."""
    yield "| task | model | written, UTC | from runs | reach | inside | off, mean | entry |"
    yield "|" + 8 * "---|"
    for study, table in found:
        assert study.foretold is not None
        long = "" if study.family == LANGUAGE else f", {steps_of(study)} steps"
        off = np.abs(np.log(table["measured"] / table["foretold"])).mean()
        cells = [study.task, study.model + long, study.foretold.when]
        cells += [f"{len(study.foretold.runs)}", f"{table['reach'].max():.1f} x", _share([(study, table)])]
        cells += [f"{off:.1%}", f"[{study.date}](../leaderboard/entries/{study.name})"]
        yield f"| {' | '.join(cells)} |"
    level = {study.foretold.level for study, _ in found if study.foretold}
    yield (
        f"\n{_share(found)} runs and budgets lie inside their "
        f"{' or '.join(f'{each:.0%}' for each in sorted(level))} intervals, of language models "
        f"{_share([one for one in found if one[0].family == LANGUAGE])}, of force fields "
        f"{_share([one for one in found if one[0].family != LANGUAGE])}."
    )


def _share(found: Sequence[tuple[Study, pd.DataFrame]]) -> str:
    inside = sum(int(table["inside"].sum()) for _, table in found)
    return f"{inside} of {sum(len(table) for _, table in found)}"


def points_of(study: Study) -> pd.DataFrame:
    """What was foretold and measured, and `reach`: params times data over the most that the forecast knew."""
    assert study.foretold is not None
    known = set(study.foretold.runs)
    most = max(
        run.non_embedding_params * result.budget for run in study.runs if run.run in known for result in run.results
    )
    table = judged(study.foretold, study.runs, RESULTS[study.family][0])
    return table.assign(reach=table["params"] * table["data"] / most)


def measured_over_foretold(found: Sequence[tuple[Study, pd.DataFrame]]) -> Figure:
    """Of every run, and the interval that it should lie in."""
    figure = Figure(figsize=(8.2, 3.9), layout="constrained")
    axis = figure.subplots()
    at, middles = 0, []
    for _, table in found:
        sizes = [part for _, part in table.groupby(["params", "data"])]
        middles.append(at + (len(sizes) - 1) / 2)
        for part in sizes:
            low, middle, high = (part[name].iloc[0] for name in ("low", "foretold", "high"))
            if np.isfinite(high):
                axis.fill_between([at - 0.3, at + 0.3], low / middle, high / middle, color=COLOURS[4], alpha=0.3, lw=0)
            axis.plot(np.full(len(part), at), part["measured"] / middle, ".", color=COLOURS[0])
            at += 1
        at += 1
    axis.axhline(1, color="#999999", lw=1)
    names = [f"{study.model}\n{study.task}" for study, _ in found]
    axis.set_xticks(middles, names, fontsize=7, rotation=40, ha="right")
    axis.set_ylabel("measured over foretold")
    axis.grid(axis="y", alpha=0.3)
    return figure
