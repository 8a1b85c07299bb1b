"""Molecules of many models, tracked as one MLflow run: how good they are, over the loss of the model."""

from __future__ import annotations

from typing import Any

import pandas as pd
from plotly.graph_objects import Figure

from chemscale_bench.data.opening import user_path
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.checkpoints import RUN_ID
from chemscale_bench.evaluation.drawn import References, reference_digest, say
from chemscale_bench.progress import progress_bar
from chemscale_bench.runs import quality_report
from chemscale_bench.runs.checkpoint import find
from chemscale_bench.runs.generation import at_budget, measured, published
from chemscale_bench.runs.result import Result, Told
from chemscale_bench.runs.trained import Model, check_one_task, models_of, trained_models
from chemscale_bench.scaling.table import describe
from chemscale_bench.settings.generate import GenerateSettings
from chemscale_bench.tracking.charts import LOSS
from chemscale_bench.tracking.housekeeping import housekeeping_run
from chemscale_bench.tracking.looking import look_at
from chemscale_bench.tracking.provenance import code_tags, environment_tags
from chemscale_bench.tracking.recorder import Recorder
from chemscale_bench.tracking.store import open_store
from chemscale_bench.training.devices import evaluation_device

YARDSTICK = "CharRNN"
"""The published model whose Frechet ChemNet distance the line is followed to."""


def names_many(run: str) -> bool:
    """Whether a name is that of an experiment, or of a run with children."""
    from mlflow.exceptions import MlflowException

    if not run or user_path(run).is_dir():
        return False
    client = open_store()
    if client.get_experiment_by_name(run) is not None:
        return True
    if not RUN_ID.fullmatch(run):
        return False
    try:
        experiment = client.get_run(run).info.experiment_id
    except MlflowException:
        return False
    return bool(client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run}'", max_results=1))


def generate_from_all(settings: GenerateSettings, prints: bool = True) -> Result:
    """Draw from every finished language model that is named; log and print how good the molecules are over the loss.

    A model that can't be drawn from is named and left out.

    Raises:
        UserError: if there is none, they are of several tasks, or none can be drawn from.
    """
    if settings.task:
        raise UserError(f"task must be left out for runs, which know their own, got {settings.task!r}; leave it out")
    device = evaluation_device(settings.device)
    runs, left_out = trained_models(settings.run, "language model")
    check_one_task(runs, settings.run)
    subjects = [subject for run in runs for subject in models_of(run, settings.budget == "all")]
    with housekeeping_run("generate", settings.experiment) as run_id:
        recorder = Recorder(run_id)
        families = " ".join(sorted({run.params["model"] for run in runs}))
        recorder.params(settings.model_dump() | {"model": families, "task_name": runs[0].params.get("task_name", "")})
        recorder.tags({"mlflow.runName": f"generate-{settings.run}"} | code_tags() | environment_tags(device))
        rows: list[dict[str, Any]] = []
        told = Told(prints)
        references, of_moses = References(device), False
        with progress_bar(subjects, desc="models", unit="model") as bar:
            for subject in bar:
                bar.set_postfix_str(subject.name)
                try:
                    row, of_moses = row_of(recorder, settings, subject, references)
                except UserError as error:
                    say(f"{subject.name} is left out: {error}")
                    left_out["models that could not be drawn from"] = (
                        left_out.get("models that could not be drawn from", 0) + 1
                    )
                    continue
                rows.append(row)
                # What is measured so far outlives an interruption.
                recorder.client.log_text(run_id, pd.DataFrame(rows).to_csv(index=False), "quality.csv")
        if not rows:
            raise UserError(
                f"run must name models that can be drawn from, got {settings.run!r} with none ({describe(left_out)}); "
                "the notes above say what each lacks"
            )
        table = pd.DataFrame(rows)
        numbers, figure = report(recorder, settings, table, published()[YARDSTICK] if of_moses else {}, told)
        if left_out:
            told(f"of the runs: {describe(left_out)}")
        recorder.deliver()
        told(f"logged to MLflow run {run_id}: quality.csv, figures/quality.html; look at it with: {look_at(run_id)}")
    return Result(table, told, numbers, {"quality": figure}, run_id)


def row_of(
    recorder: Recorder, settings: GenerateSettings, subject: Model, references: References
) -> tuple[dict[str, Any], bool]:
    """The row of one model, and whether it is compared with MOSES' own test sets.

    Raises:
        UserError: if the model or its data are not to be had, or none of its molecules is valid.
    """
    run, kept, tokens = subject
    checkpoint, data = at_budget(run.run_id, kept) if kept else find(run.run_id)
    of_moses = data is not None and data.task.data == "moses"
    store = data.prepare() if data else None
    place = f"molecules/{run.run_id[:6]}-{tokens}"
    found, _ = measured(recorder, settings, checkpoint, store, references, of_moses, place)
    about = {
        "model": checkpoint.model, "non_embedding_params": checkpoint.network.config.non_embedding_params,
        "tokens": tokens, "seed": run.params.get("seed", ""), "run_id": run.run_id, "folder": place,
        "reference_digest": reference_digest(store, of_moses),
        "loss_nats_per_token": checkpoint.metrics.get(LOSS, float("nan")),
    }  # fmt: skip
    return about | {"drawn_tokens" if name == "tokens" else name: value for name, value in found.items()}, of_moses


def report(
    recorder: Recorder, settings: GenerateSettings, table: pd.DataFrame, yardstick: dict[str, float], told: Told
) -> tuple[dict[str, float], Figure]:
    """Log and tell the table, its figure and the line of FCD over loss; `yardstick` is empty but for MOSES."""
    line = quality_report.line_of(table)
    goal = yardstick.get("fcd_test")
    title = f"Quality of {settings.molecules:,} molecules over loss, {settings.run}"
    figure = quality_report.figure(table, line, goal, title)
    numbers = {"models": float(len(table)), **quality_report.metrics(table, line, goal)}
    recorder.figure(figure, "figures/quality.html")
    recorder.metrics(numbers, 0)
    shown = quality_report.text(table, {f"{YARDSTICK}, published": yardstick} if yardstick else {})
    told(f"\n{shown}\n{quality_report.line_text(table, line, goal, settings.molecules, YARDSTICK)}")
    return numbers, figure
