"""What `generate` has drawn from the models of trained runs, as an entry carries it."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import ValidationError

from chemscale_bench.leaderboard.entry import DRAWN, REFERENCES, Entry, Generation
from chemscale_bench.scaling.table import describe
from chemscale_bench.tracking.store import every_run, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

Generations = dict[tuple[str, int], Generation]
"""By run and budget in tokens."""


def read_generations(run_ids: Collection[str]) -> Generations:
    """What was drawn from the models of some runs, in whatever experiment it was logged.

    Where a model was drawn from several times, the most molecules count; of as many, the newest. What an entry can't
    hold is left out, which a line on the standard error says.
    """
    from mlflow.exceptions import MlflowException

    found: Generations = {}
    left_out, known = Counter[str](), set(run_ids)
    for drawing in finished(open_store(), "generate") if run_ids else ():
        try:
            rows = [row for row in rows_of(drawing) if row["run_id"] in known]
        except (MlflowException, OSError):
            left_out["runs of generate whose quality.csv is gone"] += 1
            continue
        for row in rows:
            try:
                made = generation_of(drawing, row)
            except ValidationError as error:
                about = ".".join(map(str, error.errors()[0]["loc"])) or "metrics"
                left_out[f"models whose {about} is missing or out of range"] += 1
                continue
            key = row["run_id"], int(float(row["tokens"]))
            if key not in found or made.molecules >= found[key].molecules:
                found[key] = made
    if left_out:
        print(f"note: of drawn molecules: {describe(left_out)}", file=sys.stderr)
    return found


def generation_of(drawing: MlflowRun, row: Mapping[Any, Any]) -> Generation:
    """What was drawn from one model.

    Raises:
        ValidationError: if it is not all there, as with what was logged before there was a digest.
    """
    metrics = {name: float(row[name]) for name in DRAWN if math.isfinite(float(row.get(name, math.nan)))}
    digest = row.get("reference_digest", "")
    if any(name.endswith(REFERENCES[1]) for name in metrics):  # only MOSES has two sets, which are pinned
        digest = moses_digest()
    return Generation(
        **drawn_by(drawing.data.params), reference_digest=digest, metrics=metrics,
        chemnet=any(name.startswith("fcd_") for name in metrics),
    )  # fmt: skip


def moses_digest() -> str:
    """Of MOSES' own test sets."""
    from chemscale_bench.evaluation.drawn import reference_digest  # which loads torch

    return reference_digest(None, of_moses=True)


def finished(client: MlflowClient, verb: str) -> Iterator[MlflowRun]:
    """The finished runs of a verb, the oldest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    if experiments:
        query = f"tags.verb = '{verb}' and attributes.status = 'FINISHED'"
        yield from every_run(client, experiments, query, ["attributes.start_time ASC"])


def rows_of(drawing: MlflowRun) -> list[dict[Any, Any]]:
    """The run, budget and metrics of every model that such a run drew from.

    Raises:
        MlflowException, OSError: if its table is not to be had.
    """
    tags, params = drawing.data.tags, drawing.data.params
    metrics = {name.partition("/")[2]: value for name, value in drawing.data.metrics.items()}
    if "source_run" in tags:  # one model; of a folder nobody knows the run
        about = {"run_id": tags["source_run"], "tokens": params.get("tokens", "0")}
        return [metrics | about | {"reference_digest": tags.get("reference_digest", "")}]
    return logged_rows(drawing, "quality.csv")


def logged_rows(run: MlflowRun, artifact: str) -> list[dict[Any, Any]]:
    """The rows of a table that a run has logged, with names of runs as text.

    Raises:
        MlflowException, OSError: if it is not to be had.
    """
    import mlflow

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with TemporaryDirectory() as temporary:
        file = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=artifact, dst_path=temporary)
        return pd.read_csv(file, dtype={"run_id": str, "began_as": str}).to_dict("records")


def drawn_by(params: Mapping[str, str]) -> dict[str, Any]:
    """How molecules were drawn, from the parameters that `generate` logs."""
    whole, real = ("molecules", "seed", "top_k"), ("temperature", "top_p")
    return {name: int(params[name]) for name in whole} | {name: float(params[name]) for name in real}


def summary(entry: Entry) -> str:
    """What an entry tells of drawn molecules."""
    models = [result.generation for run in entry.runs for result in run.results]
    drawn = [generation for generation in models if generation]
    if not drawn:
        return "no drawn molecules; `generate` on these runs before `submit` adds them"
    counts = " or ".join(f"{count:,}" for count in sorted({generation.molecules for generation in drawn}))
    without = "" if all(generation.chemnet for generation in drawn) else ", not all measured with ChemNet"
    return f"{counts} molecules from each of {len(drawn)} of its {len(models)} models{without}"
