"""Which run a process works on: decisions, in a real store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from chemscale_bench.cli import main
from chemscale_bench.errors import UserError
from chemscale_bench.tracking.adoption import adopt_run, launched_run
from chemscale_bench.tracking.lifetime import HOST_TAG, LAUNCHED_RUN, PID_TAG, end_run, reap_dead_runs
from chemscale_bench.tracking.store import experiment_id

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("tracking_uri")


def launch(monkeypatch: pytest.MonkeyPatch, experiment: str) -> str:
    """Do what `mlflow run` does before it starts the tool."""
    tags = {"mlflow.source.type": "PROJECT", "mlflow.runName": "bold-fish", "mlflow.project.entryPoint": "chemgpt"}
    tags["mlflow.source.name"] = str(ROOT)
    monkeypatch.chdir(ROOT)
    client = MlflowClient()
    there = client.get_experiment_by_name(experiment)
    made = there.experiment_id if there else client.create_experiment(experiment)
    run_id: str = client.create_run(made, tags=tags).info.run_id
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
    assert "mlflow.experimentKind" in client.get_experiment(run.info.experiment_id).tags
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


@pytest.mark.parametrize("arguments", [["chemgpt", "--params", "abc"], ["chemgpt", "--resume", "nonsense"]])
def test_a_refused_call_leaves_no_run_behind(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    launched = launch(monkeypatch, "chemscale")
    with pytest.raises(SystemExit):
        main(arguments)
    run = MlflowClient().get_run(launched)
    assert run.info.lifecycle_stage == "deleted"
    assert run.info.run_name.startswith(f"refused: {arguments[1].lstrip('-')} must be ")


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


def somebody_elses(monkeypatch: pytest.MonkeyPatch, **tags: str) -> str:
    """A run of another pipeline, which is at work and calls us."""
    client = MlflowClient()
    run = client.create_run(experiment_id("theirs"), tags={"mlflow.source.type": "LOCAL"} | tags, run_name="nightly")
    client.log_metric(run.info.run_id, "accuracy", 0.5)
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    monkeypatch.chdir(ROOT)
    theirs: str = run.info.run_id
    return theirs


def test_a_run_of_somebody_elses_pipeline_stays_as_it_is_and_ours_is_its_child(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient()
    theirs = somebody_elses(monkeypatch)
    before = client.get_run(theirs).to_dictionary()
    ours = client.get_run(adopt_run("chemscale"))
    assert ours.data.tags["mlflow.parentRunId"] == theirs != ours.info.run_id
    assert experiment_of(ours) == "chemscale"
    assert client.get_run(theirs).to_dictionary() == before
    assert f"MLFLOW_RUN_ID names a run of somebody else, {theirs}: this is its child" in capsys.readouterr().err
    assert "MLFLOW_RUN_ID" not in os.environ


@pytest.mark.parametrize(
    "tags",
    [
        {"mlflow.source.name": "/another/project", "mlflow.project.entryPoint": "main"},
        {"mlflow.source.name": str(ROOT), "mlflow.project.entryPoint": "deploy"},
        {"mlflow.source.name": str(ROOT.parent), "mlflow.project.entryPoint": "chemgpt"},
    ],
)
def test_an_empty_run_of_another_project_is_not_ours(tags: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    client = MlflowClient()
    run_id = client.create_run(experiment_id("chemscale"), tags={"mlflow.source.type": "PROJECT"} | tags).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    if tags["mlflow.source.name"] == "/another/project":  # with an address that does not exist here, from its own clone
        monkeypatch.chdir(ROOT / "tests")
    assert launched_run() is None
    assert adopt_run("chemscale") != run_id
    assert client.get_run(run_id).info.status == "RUNNING"
    assert client.get_run(run_id).info.lifecycle_stage == "active"


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_run_that_ended_and_was_left_in_the_shell_gets_no_second_training(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient()
    ended = launch(monkeypatch, "chemscale")
    adopt_run("chemscale")
    client.set_terminated(ended, status)
    before = client.get_run(ended).to_dictionary()
    monkeypatch.setenv("MLFLOW_RUN_ID", ended)
    ours = client.get_run(adopt_run("chemscale"))
    assert ours.info.run_id != ended
    assert "mlflow.parentRunId" not in ours.data.tags
    assert client.get_run(ended).to_dictionary() == before


def test_a_run_that_is_not_in_the_store_is_told_by_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(UserError, match=r"MLFLOW_RUN_ID must be the id of a run of this store, got .*; unset"):
        adopt_run("chemscale")


def test_runs_of_others_are_not_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    client = MlflowClient()
    tags = {"mlflow.source.type": "PROJECT", "mlflow.project.entryPoint": "theirs"}
    old = 1_000_000_000_000
    theirs = client.create_run(experiment_id("chemscale"), start_time=old, tags=tags).info.run_id
    abandoned = client.create_run(
        experiment_id("chemscale"), start_time=old, tags=tags | {"mlflow.project.entryPoint": "chemgpt"}
    ).info.run_id
    assert reap_dead_runs([experiment_id("chemscale")]) == [abandoned]
    assert client.get_run(theirs).info.status == "RUNNING"
