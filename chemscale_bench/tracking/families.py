"""What a run says of itself, and a parent of its children, in words that MLflow shows on top of the run's page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from chemscale_bench.tracking.charts import FORCES, LOSS, compare_children

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

NOTE = "mlflow.note.content"
SHOWN = {"mlflow.runType": "evaluation"}
"""MLflow folds children below their parent, except those of this type, which nothing of ours asks for."""
MOST_LISTED = 20
NOT_PLAIN = str.maketrans(dict.fromkeys("|[]<>*_`", " "))
"""What Markdown would take for more than text, in names that people give."""


def below(parent: str) -> dict[str, str]:
    """Tags of a run that is to be a child of another, shown from the first look at their experiment on."""
    return {"mlflow.parentRunId": parent} | SHOWN


def note_of_run(title: str, unit: str, metric: str, reached: Mapping[int, float], cost: str) -> str:
    """A training in words: what was trained, what it reached, what it cost."""
    last = max(reached, default=0)
    lines = [f"**{title}**", ""]
    if reached:
        lines += [f"{name_of(metric)} **{reached[last]:.4f}** after {last:,} {unit}", ""]
    lines += [f"{cost}. Figures and model: tab *Artifacts*; curves: tab *Model metrics*, *train* and *val*.", ""]
    if len(reached) > 1:
        lines += [f"| {unit} | {name_of(metric)} |", "|---:|---:|"]
        lines += [f"| {budget:,} | {value:.4f} |" for budget, value in reached.items()]
    return "\n".join(lines)


def name_of(metric: str) -> str:
    """A metric in words: `val/loss_nats_per_token` is "val loss, nats per token"."""
    text = metric.replace("/", " ").replace("_", " ")
    for quantity in ("loss ", "force mae "):
        text = text.replace(quantity, f"{quantity.strip()}, ")
    return text.replace("mae", "MAE").replace("mev per angstrom", "meV per Angstrom")


def describe_family(
    client: MlflowClient,
    parent: str,
    metric: str,
    found: str,
    values: Mapping[int, float],
    searched: Sequence[str] = (),
) -> None:
    """Give a parent the results of its children: in a table on its page, and in the columns that they have.

    Args:
        client: of the tracking store.
        parent: id of the run above them.
        metric: that they are compared by.
        found: what they come to, in a sentence.
        values: of `metric`, for the parent, by the tokens or frames that they were reached at.
        searched: settings that differ between the children, the one that mattered most first.
    """
    from mlflow.exceptions import MlflowException

    for step, value in values.items():
        if math.isfinite(value):
            client.log_metric(parent, metric, value, step=step)
    with suppress(MlflowException):  # all of it is for the eye: no run may fail for want of it
        experiment = client.get_run(parent).info.experiment_id
        query = f"tags.`mlflow.parentRunId` = '{parent}'"
        children = list(client.search_runs([experiment], query, max_results=1000))
        client.set_tag(parent, NOTE, _table(children, metric, found, searched))
        # A column that is empty, or that stands before the result, only pushes it out of sight.
        results = [name for name in (LOSS, FORCES) if any(name in child.data.metrics for child in children)]
        compare_children(client, parent, metric, searched, results or [metric])


def _table(children: Sequence[Run], metric: str, found: str, searched: Sequence[str]) -> str:
    trained = [run for run in children if metric in run.data.metrics]
    trained.sort(key=lambda run: (run.info.status != "FINISHED", run.data.metrics[metric]))
    lines = [found, "", "| " + " | ".join(["run", name_of(metric), *searched, "status"]) + " |"]
    lines.append("|---|" + "---:|" * (1 + len(searched)) + "---|")
    for run in trained[:MOST_LISTED]:
        name = str(run.info.run_name).translate(NOT_PLAIN)
        link = f"[{name}](#/experiments/{run.info.experiment_id}/runs/{run.info.run_id})"
        settings = [_short(run.data.params.get(name, "")) for name in searched]
        lines.append("| " + " | ".join([link, f"{run.data.metrics[metric]:.4f}", *settings, run.info.status]) + " |")
    rest = len(children) - min(len(trained), MOST_LISTED)
    return "\n".join([*lines, "", f"and {rest} more" if rest else ""])[:5000]


def _short(value: str) -> str:
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value.translate(NOT_PLAIN)
