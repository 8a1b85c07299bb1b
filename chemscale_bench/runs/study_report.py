"""What the parent run of a scaling study tells: a forecast before its largest trainings, and its laws at the end."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from mlflow.tracking import MlflowClient

from chemscale_bench.runs.cells import Cells, Result
from chemscale_bench.runs.study_plan import Planned, StudyPlan
from chemscale_bench.scaling import Forecast, RunTable, UnidentifiedError, validate
from chemscale_bench.scaling.analysis import analyse
from chemscale_bench.scaling.figures import LOSS_TITLE
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.tracking.figures import to_html

LARGE = 0.5
"""Trainings that cost more than this share of the most expensive one are foretold before they begin."""


def describe(client: MlflowClient, parent: str, cells: Cells, settings: StudySettings) -> None:
    """Log what is studied, and where."""
    params = settings.model_dump(exclude={"storage"}) | {"study_name": cells.name}
    known = client.get_run(parent).data.params
    for name, value in params.items():
        if name not in known:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else value
            client.log_param(parent, name, text)
    client.set_tag(parent, "mlflow.runName", f"study {cells.name}")
    client.set_tag(parent, "storage", cells.where)


def table_of(results: Sequence[Result], plan: StudyPlan) -> RunTable:
    """The trainings that are over, as `fit` takes them."""
    rows = [
        {"params": result.params, plan.word: data, "loss": loss, "seed": result.training.seed, "run_id": result.run_id}
        for result in results
        for data, loss in result.losses.items()
    ]
    return validate(pd.DataFrame(rows), typed=False)


def foretell(client: MlflowClient, parent: str, cells: Cells, plan: StudyPlan, to_do: Sequence[Planned]) -> None:
    """Before the largest trainings begin, write down what they should reach: once, and for good.

    The record is an artifact of the parent, its sha256 a tag with the time: whoever doubts a forecast can see that it
    was made before the runs that it is about.
    """
    if "forecast" in cells.study.user_attrs or to_do[0].seconds < LARGE * max(one.seconds for one in to_do):
        return
    results = [result for result in cells.results() if result.losses]
    reached = max((result.params * max(result.losses) for result in results), default=math.inf)
    about = {(plan.paces[one.training.params].params, data) for one in to_do for data in plan.points(one.training.data)}
    about = {(params, data) for params, data in about if params * data > reached}
    if not about:
        return
    forecast = Forecast(replicates=500)
    frame = table_of(results, plan)
    try:
        forecast.fit(frame.frame["params"], frame.frame["tokens"], frame.frame["loss"], frame.seed_weight)
    except UnidentifiedError:
        return  # another look before the next training
    params, data = np.array(sorted(about), dtype=float).T
    low, high = forecast.predict_interval(params, data, plan.settings.level, of="run")
    record = {
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "law": {"forms": forecast.weights_, "drift": forecast.drift_, "noise": forecast.noise_},
        "level": plan.settings.level,
        "runs": [result.run_id for result in results],
        "params": params.tolist(), plan.word: data.tolist(), "loss": forecast.predict(params, data).tolist(),
        "low": low.tolist(), "high": high.tolist(),
    }  # fmt: skip
    text = json.dumps(record, indent=1)
    cells.study.set_user_attr("forecast", record)
    client.log_text(parent, text, "forecast.json")
    client.set_tag(parent, "forecast.sha256", hashlib.sha256(text.encode()).hexdigest())
    client.set_tag(parent, "forecast.written", record["written"])


def judged(record: dict[str, Any], results: Sequence[Result], word: str) -> pd.DataFrame:
    """What was foretold beside what was measured: columns params, data, foretold, low, high, measured, inside."""
    rows = []
    for params, data, foretold, low, high in zip(
        record["params"], record[word], record["loss"], record["low"], record["high"], strict=True
    ):
        losses = [
            result.losses[round(data)]
            for result in results
            if result.params == round(params) and round(data) in result.losses and result.run_id not in record["runs"]
        ]
        rows += [(params, data, foretold, low, high, loss, low <= loss <= high) for loss in losses]
    return pd.DataFrame(rows, columns=["params", "data", "foretold", "low", "high", "measured", "inside"])


def finish(client: MlflowClient, parent: str, cells: Cells, plan: StudyPlan) -> None:
    """Fit what was measured, log numbers, report and figures, and print what a user wants to know."""
    results = [result for result in cells.results()]
    metrics = {
        "study/trainings": float(len(results)), "study/seconds": sum(result.seconds for result in results),
        "study/flops": sum(result.flops for result in results),
    }  # fmt: skip
    lines = []
    table = table_of([result for result in results if result.losses], plan)
    analysis = analyse(table, plan.settings.level)
    lines.append(analysis.text())
    metrics |= analysis.numbers()
    unit = LOSS_TITLE if plan.task.family == "language_model" else plan.kind.METRIC
    for name, figure in analysis.figures(unit).items():
        client.log_text(parent, to_html(figure), f"figures/{name}.html")
    record = cells.study.user_attrs.get("forecast")
    if record:
        found = judged(record, results, plan.word)
        lines += [f"\nForetold at {record['written']} from {len(record['runs'])} runs, before the largest began:"]
        lines += [found.drop(columns="inside").to_string(index=False, float_format=lambda value: f"{value:.5g}")]
        lines += [f"{int(found['inside'].sum())} of {len(found)} lie inside their {plan.settings.level:.0%} intervals"]
        off = np.abs(np.log(found["measured"] / found["foretold"]))
        metrics |= {"forecast/points": float(len(found)), "forecast/inside": float(found["inside"].sum())}
        metrics |= {"forecast/mean_error": float(off.mean())} if len(found) else {}
    for key, value in metrics.items():
        client.log_metric(parent, key, value)
    client.log_text(parent, "\n".join(lines), "report.txt")
    client.log_table(parent, table.frame, "runs.json")
    print("\n".join(lines))
    experiment = plan.settings.experiment
    print(
        f"\n{len(results)} trainings below run {parent} of experiment {experiment}; next:\n"
        f"  mlflow ui                                              compare them\n"
        f"  chemscale fit --experiment {parent} --out law    the law as files\n"
        f"  chemscale submit --run {parent} --submitter NAME"
    )
