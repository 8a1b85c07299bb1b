"""Charts of the MLflow UI that compare runs of this suite at once, kept in a tag of each experiment.

MLflow 3.17 keeps a shared view of an experiment in the tag ``mlflow.sharedViewState.<key>`` and opens it under
``?viewStateShareKey=<key>``. The form is the UI's own and documented nowhere; a test opens it in a browser.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "chemscale"
TAG = f"mlflow.sharedViewState.{KEY}"
LOSS, FORCES = "val/loss_nats_per_token", "test/force_mae_mev_per_angstrom"
CURVES = {
    "training loss over tokens": ["train/loss_nats_per_token", "decay/loss_nats_per_token", LOSS],
    "force error over frames seen": ["val/force_mae_mev_per_angstrom"],
}
SCATTERS = {
    "loss against parameters": ("log10/non_embedding_params", LOSS),
    "loss against compute": ("log10/flops", LOSS),
    "force error against training frames": ("log10/train_frames", FORCES),
}
PARALLEL = {
    "what makes the loss": (["non_embedding_params", "peak_learning_rate", "seed"], ["cost/train_seconds", LOSS]),
    "what makes the force error": (["model", "train_frames", "non_embedding_params"], ["cost/train_seconds", FORCES]),
}
COLUMNS = [
    *(f"params.`{name}`" for name in ("task_name", "model", "non_embedding_params", "train_frames", "seed")),
    *(f"metrics.`{name}`" for name in (LOSS, FORCES, "speed/mfu", "cost/energy_kj")),
]


def address(experiment_id: str) -> str:
    """The charts of an experiment, as the part of an address that follows the server's."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={KEY}&compareRunsMode=CHART"


def view() -> dict[str, Any]:
    """The state of the UI: which charts, in which sections, and which columns of the table."""
    charts: list[dict[str, Any]] = []
    for name, metrics in CURVES.items():
        charts.append(
            _chart("LINE", name, "scaling") | {
                "metricKey": metrics[0], "selectedMetricKeys": metrics, "xAxisKey": "step", "useGlobalXaxisKey": False,
                "xAxisScaleType": "log", "scaleType": "log", "lineSmoothness": 0, "useGlobalLineSmoothing": False,
                "range": {}, "yAxisKey": "metric", "yAxisExpressions": [], "selectedXAxisMetricKey": "",
            }
        )  # fmt: skip
    for name, (x, y) in SCATTERS.items():
        axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
        charts.append(_chart("SCATTER", name, "scaling") | axes)
    for name, (params, metrics) in PARALLEL.items():
        shown = {"selectedParams": params, "selectedMetrics": metrics, "showAllRuns": False}
        charts.append(_chart("PARALLEL", name, "settings") | shown)
    # MLflow lays out three charts in a row: a language model's curves, and its loss against parameters and compute.
    titles = {"scaling": "Curves and scaling", "settings": "Settings and results"}
    sections = [
        {"uuid": f"chemscale-{key}", "name": title, "display": True, "isReordered": False, "deleted": False,
         "isGenerated": False} for key, title in titles.items()
    ]  # fmt: skip
    return {
        "compareRunCharts": charts, "compareRunSections": sections, "selectedColumns": COLUMNS,
        "runsHiddenMode": "FIRST_20_RUNS", "hideEmptyCharts": True, "isAccordionReordered": True,
    }  # fmt: skip


def _chart(kind: str, name: str, section: str) -> dict[str, Any]:
    return {
        "type": kind, "uuid": f"chemscale-{name.replace(' ', '-')}", "displayName": name, "runsCountToCompare": 100,
        "metricSectionId": f"chemscale-{section}", "deleted": False, "isGenerated": False,
    }  # fmt: skip


def share(client: MlflowClient, experiment_id: str) -> None:
    """Give an experiment its charts, and a note that links to them."""
    client.set_experiment_tag(experiment_id, TAG, json.dumps(view()))
    note = f"[Charts of this experiment]({address(experiment_id)}): curves, scaling, settings."
    client.set_experiment_tag(experiment_id, "mlflow.note.content", note)
