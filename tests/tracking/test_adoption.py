"""Which run a process works on: decisions, in a real store."""

from __future__ import annotations

import os

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from chemscale_bench.errors import UserError
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.lifetime import HOST_TAG, LAUNCHED_RUN, PID_TAG, end_run
from chemscale_bench.tracking.store import experiment_id

pytestmark = pytest.mark.usefixtures("tracking_uri")


def launch(monkeypatch: pytest.MonkeyPatch, experiment: str) -> str:
    """Do what `mlflow run` does before it starts the tool."""
    tags = {"mlflow.source.type": "PROJECT", "mlflow.runName": "bold-fish", "mlflow.project.entryPoint": "chemgpt"}
    run_id: str = MlflowClient().create_run(experiment_id(experiment), tags=tags).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv(LAUNCHED_RUN, "")  # so that it is put back
    monkeypatch.delenv("CHEMSCALE_LAUNCHER_PID", raising=False)
    return run_id


def experiment_of(run: Run) -> str:
    name: str = MlflowClient().get_experiment(run.info.experiment_id).name
    return name


@pytest.mark.parametrize(
    ("launched_in", "wanted", "lands_in"),
    [
        ("chemscale", "chemscale", "chemscale"),
        ("Default", "chemscale", "chemscale"),  # no plugin where `mlflow` was installed alone
        ("chemscale", "chemscale-sweeps", "chemscale-sweeps"),
        ("mine", "chemscale", "mine"),  # --experiment-name mine
    ],
)
def test_under_mlflow_run(launched_in: str, wanted: str, lands_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = MlflowClient()
    launched = launch(monkeypatch, launched_in)
    run = client.get_run(adopt_run(wanted))
    assert experiment_of(run) == lands_in
    assert run.info.status == "RUNNING"
    assert run.info.run_name == "bold-fish"
    assert run.data.tags["mlflow.project.entryPoint"] == "chemgpt"
    assert run.data.tags[PID_TAG] == str(os.getpid())
    kept = launched_in == lands_in
    assert (run.info.run_id == launched) is kept
    assert client.get_run(launched).info.lifecycle_stage == ("active" if kept else "deleted")
    assert "MLFLOW_RUN_ID" not in os.environ
    assert adopt_run(wanted) != run.info.run_id, "a process started from here makes its own"


def test_without_mlflow_run() -> None:
    run = MlflowClient().get_run(adopt_run("chemscale"))
    assert experiment_of(run) == "chemscale"
    assert run.data.tags["mlflow.user"]


def test_resuming_goes_on_under_the_same_id(monkeypatch: pytest.MonkeyPatch) -> None:
    client = MlflowClient()
    first = adopt_run("chemscale")
    end_run(client, first, "FAILED", "power cut")
    launched = launch(monkeypatch, "chemscale")
    assert adopt_run("chemscale", resume=first) == first
    assert client.get_run(first).info.status == "RUNNING"
    assert client.get_run(launched).info.lifecycle_stage == "deleted"


def test_what_can_not_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    client = MlflowClient()
    launched = launch(monkeypatch, "chemscale")
    with pytest.raises(UserError, match="resume must be the id of a run of this store, got 'nonsense'"):
        adopt_run("chemscale", resume="nonsense")
    assert client.get_run(launched).info.lifecycle_stage == "active", "mlflow run will mark it FAILED"
    alive = adopt_run("chemscale")
    with pytest.raises(UserError, match=f"RUNNING as process {os.getpid()} on"):
        adopt_run("chemscale", resume=alive)
    client.set_tag(alive, HOST_TAG, "another")
    with pytest.raises(UserError, match="on another"):
        adopt_run("chemscale", resume=alive)
    client.delete_run(alive)
    with pytest.raises(UserError, match=f"mlflow runs restore --run-id {alive}"):
        adopt_run("chemscale", resume=alive)
