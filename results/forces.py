"""Force fields beside one another, along the paper's capacity, and beside what papers report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from chemscale_bench.leaderboard.collect import Study
from chemscale_bench.models.force_fields import config_for
from chemscale_bench.scaling.line import straight_line
from results.laws import slopes, verdicts
from results.studies import FORCE_MAE, LEVEL, Scaled, cells_of, of_equal_steps, steps_of

ELEMENTS = (1, 6, 7, 8)  # of the molecules; sizes do not depend on them


def compared_forces(tasks: dict[str, list[Scaled]]) -> Iterator[str]:
    """Markdown: models of equally many steps on each molecule, and each model on several molecules."""
    of_model = defaultdict(list)
    for task, found in sorted(tasks.items()):
        if found[0].study.family == "force_field":
            chosen = of_equal_steps(found)
            cells = pd.concat([cells_of(study.model, points) for study, points, _ in chosen])
            if len(chosen) > 1:
                yield f"\nOn {task}, {steps_of(chosen[0].study)} steps:"
                yield from verdicts([cells], "meV/Å", "frames")
                yield from slopes([cells], "frames", ["params", "data"])
            yield from along_capacity(chosen)
            for model, part in cells.groupby("model", sort=False):
                of_model[model, steps_of(chosen[0].study)].append(
                    part.assign(model=f"{model}, {task.partition('@')[2]}")
                )
    if any(len(parts) > 1 for parts in of_model.values()):
        yield "\nThe same models on several molecules:"
        yield from slopes([pd.concat(parts) for parts in of_model.values()], "frames", ["params", "data"])


def along_capacity(found: Sequence[Scaled]) -> Iterator[str]:
    """Markdown: the exponents along what the paper calls capacity, depth times width, at the most frames."""
    told = []
    for study, points, _ in found:
        capacity = {}
        for size, depth in {(run.non_embedding_params, run.settings["depth"]) for run in study.runs}:
            given = {} if depth == "auto" else {"layers": int(depth)}
            config = config_for(study.model.split()[0], size, ELEMENTS, **given)
            capacity[size] = config.layers * config.width
        most = points[points["budget"] == points["budget"].max()]
        means = -np.log(most["loss"]).groupby(most["params"].map(capacity)).mean()
        line = straight_line(np.log(means.index), means, LEVEL)
        if line is not None:
            low, high = line.slope_interval
            told.append(f"{study.model} {line.slope:.3f} [{low:.3f}, {high:.3f}]")
    yield f"Along depth x width, the paper's capacity: {', '.join(told)}.\n"


def published_table(studies: Sequence[Study], papers: Sequence[Study]) -> Iterator[str]:
    """Markdown: runs of `recipe=paper` beside what papers report of the same model, molecule and labels."""
    yield "| task | model | frames | parameters | ours, meV/Å | published | ratio | hours | entry |"
    yield "|" + 9 * "---|"
    reported = {
        (paper.task, paper.model.lower().replace(" l=", "-l"), budget): metrics[FORCE_MAE]
        for paper in papers
        for budget, metrics in paper.published.items()
        if FORCE_MAE in metrics
    }
    for study in sorted(studies, key=lambda study: (study.task, study.model)):
        for run in study.runs:
            if run.settings.get("recipe") != "paper":
                continue
            (result,) = run.results
            ours, theirs = result.metrics[FORCE_MAE], reported.get((study.task, study.model, result.budget))
            cells = [study.task, study.model, f"{result.budget}", f"{run.non_embedding_params:,}", f"{ours:.1f}"]
            cells += [f"{theirs:.1f}", f"{ours / theirs:.2f}"] if theirs else ["none", ""]
            cells += [
                f"{run.train_seconds / 3600:.1f}",
                f"[{study.date}](../leaderboard/entries/{study.name})",
            ]
            yield f"| {' | '.join(cells)} |"
