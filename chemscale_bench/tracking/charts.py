"""Charts of the MLflow UI that compare runs of this suite at once, kept in a tag of each experiment.

MLflow 3.17 keeps a shared view of an experiment in the tag ``mlflow.sharedViewState.<key>`` and opens it under
``?viewStateShareKey=<key>``. The form is the UI's own and documented nowhere; a test opens it in a browser. A tag holds
5,000 characters, so that the view is packed as the UI packs it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from contextlib import suppress
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
SETTINGS = ("task_name", "model", "non_embedding_params", "train_frames", "seed")
RESULTS = (LOSS, FORCES, "cost/train_seconds")
PACKED = "deflate;"
ABOUT = {
    "chemscale-demo": "The runs of the demo",
    "chemscale-studies": "Scaling studies",
    "chemscale-sweeps": "Searches",
    "chemscale-generation": "Molecules that models drew, and how good they are.",
    "chemscale-motion": "Force fields in motion: stability, distances, vibrations.",
    "chemscale-housekeeping": "Fits of tables, probes, entries, boards: nothing is trained here.",
}
"""What an experiment holds. MLflow's list of experiments shows the first words of a note, and links as they stand."""
SWITCH = "If you see none of them, turn the switch at the top left to *Model training*."
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""What MLflow calls an experiment of training. Since 3.17 it goes by a switch of the user's instead, which stands at
applications (prompts, traces) until it is turned, and by `workflowType` in an address, which ours therefore have."""


def address(experiment_id: str) -> str:
    """The charts of an experiment, as the part of an address that follows the server's."""
    shown = f"viewStateShareKey={KEY}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"#/experiments/{experiment_id}/runs?{shown}"


def page(experiment_id: str, run_id: str) -> str:
    """The page of a run, as the part of an address that follows the server's."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def columns(searched: Sequence[str], results: Sequence[str] = RESULTS) -> list[str]:
    """Of the table: the results first, then what was searched, then what runs are told apart by."""
    settings = [*searched, *(name for name in SETTINGS if name not in searched)]
    return [*(f"metrics.`{name}`" for name in results), *(f"params.`{name}`" for name in settings)]


def view(searched: Sequence[str] = (), sorted_by: str = "", results: Sequence[str] = RESULTS) -> dict[str, Any]:
    """The state of the UI: which charts, in which sections, and which columns of the table.

    Args:
        searched: settings that a search varied, the one that mattered most first.
        sorted_by: metric whose lowest value comes first. Runs that are not sorted by date are shown beside their
            parents, not folded below them, and only runs that are shown are drawn; what is folded is no part of a
            shared view.
        results: metrics of the table, which MLflow shows by name.
    """
    order = {"orderByKey": f"metrics.`{sorted_by}`", "orderByAsc": True} if sorted_by else {}
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
    for name, (usual, metrics) in PARALLEL.items():
        if metrics[-1] not in results:  # MLflow calls all of them "Parallel Coordinates"
            continue
        params = [*searched] or usual
        shown = {"selectedParams": params, "selectedMetrics": metrics, "showAllRuns": False}
        charts.append(_chart("PARALLEL", name, "settings") | shown)
    # Three charts in a row, as is MLflow's habit, leave parallel axes no room, and curves none beside its assistant.
    wide = {"scaling": 2, "settings": 1}
    titles = {"scaling": "Curves and scaling", "settings": "Settings and results"}
    if searched:  # what somebody who searches wants to see
        titles = dict(reversed(titles.items()))
    sections = [
        {"uuid": f"chemscale-{key}", "name": title, "display": True, "isReordered": False, "deleted": False,
         "isGenerated": False, "columns": wide[key], "cardHeight": 360} for key, title in titles.items()
    ]  # fmt: skip
    return {
        "compareRunCharts": charts, "compareRunSections": sections, "selectedColumns": columns(searched, results),
        "runsHiddenMode": "FIRST_20_RUNS", "hideEmptyCharts": True, "isAccordionReordered": True, **order,
    }  # fmt: skip


def _chart(kind: str, name: str, section: str) -> dict[str, Any]:
    return {
        "type": kind, "uuid": f"chemscale-{name.replace(' ', '-')}", "displayName": name, "runsCountToCompare": 100,
        "metricSectionId": f"chemscale-{section}", "deleted": False, "isGenerated": False,
    }  # fmt: skip


def pack(state: dict[str, Any]) -> str:
    """A view as the UI keeps it."""
    return PACKED + base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()


def share(client: MlflowClient, experiment_id: str, charts: bool = True) -> None:
    """Have MLflow show an experiment as one of training, say what it holds, and give it charts to which that links."""
    note = ABOUT.get(client.get_experiment(experiment_id).name, "Trainings" if charts else "")
    tags = {TAG: pack(view())} if charts else {}
    if charts:
        note += f", compared by loss and settings in [these charts]({address(experiment_id)}). {SWITCH}"
    for key, value in {**KIND, **tags, "mlflow.note.content": note}.items():
        client.set_experiment_tag(experiment_id, key, value)


def share_if_new(client: MlflowClient, experiment_id: str) -> None:
    """The same for an experiment that `mlflow run --experiment-name` has just made, for the one run in it."""
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):
        alone = len(client.search_runs([experiment_id], max_results=2)) == 1
        if alone and not KIND.keys() & client.get_experiment(experiment_id).tags.keys():
            share(client, experiment_id)


def compare_children(
    client: MlflowClient, parent: str, metric: str, searched: Sequence[str] = (), results: Sequence[str] = RESULTS
) -> None:
    """Have the charts of a run's experiment compare its children, by what they searched and those results."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment(client.get_run(parent).info.experiment_id)
    if TAG in experiment.tags:  # else it is one that the user made otherwise
        with suppress(MlflowException):  # all of it is for the eye: no run may fail for want of it
            client.set_experiment_tag(experiment.experiment_id, TAG, pack(view(searched, metric, results)))
