"""Whole studies as a user starts them: processes, a journal file, a real tracking store."""

import os
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import mlflow
import optuna
import pytest
from commands import call
from forks import Fork, finish
from mlflow.entities import Run
from optuna.trial import TrialState

from chemscale_bench.cli import main
from chemscale_bench.runs.sweep import Sweep
from chemscale_bench.tuning.study import open_storage

STUDY = [
    "tune", "--task", "embedded-ff", "--molecule", "ethanol", "--model", "schnet", "--params", "1e4", "--device", "cpu",
    "--train_size", "50", "--steps", "40", "--sampler", "RandomSampler",
]  # fmt: skip


@pytest.fixture(autouse=True)
def environment(tracking_uri: str, prepared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def start(*arguments: str) -> Fork:
    return Fork(*STUDY, *arguments)


def parent_and_children() -> tuple[Run, list[Run]]:
    client = mlflow.MlflowClient()
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    (parent,) = [run for run in runs if run not in children]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} <= {parent.info.run_id}
    return parent, sorted(children, key=lambda run: int(run.data.tags["trial"]))


def test_a_study_is_a_parent_with_a_child_for_every_trial_and_two_processes_share_it() -> None:
    first, second = start("--trials", "10"), start("--trials", "10")
    out = finish(first) + finish(second)
    parent, children = parent_and_children()
    assert [int(run.data.tags["trial"]) for run in children] == list(range(len(children)))
    assert 10 <= len(children) <= 11  # both may start a last one
    assert parent.info.status == "FINISHED"
    for run in children:
        assert run.info.run_name == f"trial {run.data.tags['trial']}, schnet, embedded-ff"
        assert run.data.params["task_name"] == "embedded-ff@ethanol"
        assert run.data.params["model"] == "schnet"
        pruned = "stopped at" in run.data.tags["chemscale.reason"]
        assert run.info.status == ("KILLED" if pruned else "FINISHED")
    rates = {run.data.params["learning_rate"] for run in children}
    assert len(rates) == len(children)
    finished = [run.info.run_id for run in children if run.info.status == "FINISHED"]
    history = mlflow.MlflowClient().get_metric_history
    validated = [point.value for run in finished for point in history(run, "val/force_mae_mev_per_angstrom")]
    assert parent.data.metrics["best/value"] == pytest.approx(min(validated))
    stopped = sum(run.info.status == "KILLED" for run in children)
    assert (parent.data.metrics["tune/saved_percent"] > 5) == (stopped > 0)
    assert f"{stopped} of them stopped early" in out
    [again] = re.findall(r"chemscale (forcefield --\S.* --seeds 3) ", finish(start("--trials", "10")))
    best = min(
        (run for run in children if run.info.status == "FINISHED"),
        key=lambda run: history(run.info.run_id, "val/force_mae_mev_per_angstrom")[-1].value,
    )
    assert f"--batch_frames {best.data.params['batch_frames']} " in again
    assert "--task embedded-ff --model schnet --molecule ethanol --train_size 50 " in again
    figures = mlflow.MlflowClient().list_artifacts(parent.info.run_id, "figures")
    assert len(figures) >= 3


def test_of_processes_that_log_at_once_the_one_that_knows_most_is_believed() -> None:
    client = mlflow.MlflowClient()
    parent = client.create_run(client.create_experiment("study")).info.run_id
    trials = [optuna.create_trial(value=value, params={}, distributions={}) for value in (5.0, 3.0)]
    for known in (trials, trials[:1]):  # what the second one logs it has read before the first one
        seen = SimpleNamespace(client=client, parent=parent, queue=SimpleNamespace(trials=lambda known=known: known))
        Sweep.log_progress(cast(Sweep, seen))
    assert client.get_run(parent).data.metrics["best/value"] == 3.0


def test_workers_share_the_trials(chemscale_home: Path) -> None:
    out = call(*STUDY, "--trials", "4", "--pruner", "none", "--workers", "2")
    parent, children = parent_and_children()
    assert parent.info.status == "FINISHED"
    assert 4 <= len(children) <= 5  # both may start a last one
    assert all(run.info.status == "FINISHED" for run in children)
    assert f"{len(children)} trials, 0 of them stopped early" in out
    logs = [log.read_text() for log in (chemscale_home / "studies").glob("*/worker-*.log")]
    assert len(logs) == 2
    assert all("trial " in log and "Traceback" not in log for log in logs)


def test_what_a_killed_worker_was_at_is_tried_again_by_the_other(chemscale_home: Path) -> None:
    leader = start("--trials", "3", "--pruner", "none", "--workers", "2", "--study", "mine")
    path = chemscale_home / "studies" / "mine.log"
    deadline = time.monotonic() + 200

    def kept_of(trial: optuna.trial.FrozenTrial) -> Path:
        return chemscale_home / "runs" / trial.user_attrs.get("mlflow_run", "none") / "state.pt"

    def begun() -> list[optuna.trial.FrozenTrial]:
        if not path.exists():
            return []
        trials = optuna.load_study(study_name="mine", storage=open_storage("", path)).trials
        return [trial for trial in trials if trial.state == TrialState.RUNNING and kept_of(trial).exists()]

    while not (found := begun()):
        assert time.monotonic() < deadline
        assert leader.poll() is None, leader.communicate()
        time.sleep(0.05)
    victim = found[0]
    os.kill(int(victim.user_attrs["process"]["chemscale.pid"]), signal.SIGKILL)
    finish(leader)
    trials = optuna.load_study(study_name="mine", storage=open_storage("", path)).trials
    assert trials[victim.number].state == TrialState.FAIL
    params = trials[victim.number].params
    assert [trial.state for trial in trials if trial.params == params] == [TrialState.FAIL, TrialState.COMPLETE]
    assert sum(trial.state == TrialState.COMPLETE for trial in trials) >= 3
    parent, children = parent_and_children()
    assert parent.info.status == "FINISHED"
    (failed,) = [run for run in children if run.info.status == "FAILED"]
    assert "its process is gone" in failed.data.tags["chemscale.reason"]
    assert not kept_of(victim).exists()  # tried from its start, it has no use for it


def test_an_engine_is_checked_before_anything_is_made() -> None:
    out = call(*STUDY, "--trials", "2", "--workers", "2", "--engine_options", "gres=gpu:1", expected=2)
    assert "engine_options must be left out for engine=local" in out
    assert not mlflow.search_runs(search_all_experiments=True, output_format="list")


def test_ctrl_c_ends_a_study_and_the_same_command_goes_on(chemscale_home: Path) -> None:
    process = start("--trials", "4", "--pruner", "none", "--study", "mine")
    deadline = time.monotonic() + 120
    while not any(
        run.info.status == "FINISHED" for run in mlflow.search_runs(search_all_experiments=True, output_format="list")
    ):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    study = optuna.load_study(study_name="mine", storage=open_storage("", chemscale_home / "studies" / "mine.log"))
    assert study.trials[0].state == TrialState.COMPLETE  # or another process would take it for dead
    process.send_signal(signal.SIGINT)
    out = finish(process, expected=130)
    assert "the same command goes on" in out
    parent, _ = parent_and_children()
    assert parent.info.status == "KILLED"
    call(*STUDY, "--trials", "4", "--pruner", "none", "--study", "mine")
    again, children = parent_and_children()
    assert again.info.run_id == parent.info.run_id
    assert again.info.status == "FINISHED"
    assert sum(run.info.status == "FINISHED" for run in children) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tokens", "1e5"], "tokens must be left out for a force_field task"),
        (["--pruner", "medium"], "pruner must be"),
        (["--sampler", "TPE"], "sampler must be one of Optuna's"),
        (["--trials", "0"], "trials must be"),
        (["--molecule", "etanol"], "did you mean ethanol?"),
        (["--storage", "sqlite:////proc/nothing/x.db"], "storage must be a database URL"),
    ],
)
def test_bad_input_gives_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*STUDY, *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_study_of_another_kind_is_not_joined(capsys: pytest.CaptureFixture[str], chemscale_home: Path) -> None:
    call(*STUDY, "--trials", "1", "--study", "mine", "--pruner", "none")
    with pytest.raises(SystemExit):
        main([*STUDY, "--trials", "2", "--study", "mine", "--pruner", "none", "--seed", "1"])
    assert "got another seed" in capsys.readouterr().err
    storage = str(chemscale_home / "studies" / "mine.log")
    study = optuna.load_study(storage=open_storage(storage, Path()), study_name="mine")
    study.set_user_attr("steps", "")
    with pytest.raises(SystemExit):
        main([*STUDY, "--trials", "2", "--study", "mine", "--pruner", "none"])
    assert "it was made by an earlier version" in capsys.readouterr().err


def curves(study: str) -> dict[int, list[float]]:
    """The training losses and validation errors of the children of a study, by trial."""
    client = mlflow.MlflowClient()
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    (parent,) = [run for run in runs if run.data.params.get("study_name") == study]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    names = (
        "train/loss_nats_per_token", "decay/loss_nats_per_token", "val/loss_nats_per_token", "train/loss", "decay/loss",
        "val/force_mae_mev_per_angstrom",
    )  # fmt: skip
    return {
        int(run.data.tags["trial"]): [
            metric.value for name in names for metric in client.get_metric_history(run.info.run_id, name)
        ]
        for run in children
    }


def test_trials_trained_together_have_the_curves_that_they_have_alone(
    capsys: pytest.CaptureFixture[str], chemscale_home: Path
) -> None:
    study = [
        "tune", "--task", "embedded-lm", "--params", "1e4", "--tokens", "10000", "--device", "cpu", "--trials", "5",
        "--sampler", "RandomSampler", "--pruner", "none", "--batch_tokens", "auto",
    ]  # fmt: skip
    for name, together in (("alone", "1"), ("stacked", "3")):
        with pytest.raises(SystemExit) as end:
            main([*study, "--study", name, "--together", together])
        assert end.value.code == 0
    best = [line for line in capsys.readouterr().out.splitlines() if line.startswith("best:")]
    assert best[0] == best[1]
    alone, stacked = curves("alone"), curves("stacked")
    assert sorted(alone) == sorted(stacked) == list(range(5))
    storage = open_storage(str(chemscale_home / "studies" / "alone.log"), Path())
    rates = [trial.params["learning_rate"] for trial in optuna.load_study(storage=storage, study_name="alone").trials]
    assert sum(rate < 2e-3 for rate in rates) == 4
    for trial, curve in alone.items():  # rounding grows where the learning rate is high
        assert stacked[trial] == pytest.approx(curve, rel=1e-5 if rates[trial] < 2e-3 else 0.1)


def test_force_fields_trained_together_are_stopped_and_succeeded_by_others() -> None:
    study = (*STUDY, "--batch_frames", "10", "--study")
    call(*study, "alone", "--trials", "2", "--pruner", "none")
    call(*study, "stacked", "--trials", "9", "--pruner", "median_20", "--together", "3")
    alone, stacked = curves("alone"), curves("stacked")
    assert len(stacked) == 9
    lengths = [len(curve) for curve in stacked.values()]
    assert min(lengths) < max(lengths)  # some were stopped
    for trial, curve in alone.items():
        if len(stacked[trial]) == len(curve):
            assert stacked[trial] == pytest.approx(curve, rel=0.02)  # as above
    assert any(len(stacked[trial]) == len(curve) for trial, curve in alone.items())


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (["--task", "embedded-lm", "--together", "4"], "together=4 needs trials with batches of one size"),
        (["--task", "embedded-ff", "--together", "4"], "got batch_frames=search; add batch_frames=10"),
        (
            ["--task", "embedded-ff", "--together", "4", "--batch_frames", "10", "--model", "mace"],
            "needs a model that can be stacked, got model=mace; choose schnet or painn",
        ),
        (["--task", "embedded-ff", "--batch_tokens", "512"], "batch_tokens must be left out for a force_field task"),
        (["--task", "embedded-lm", "--batch_frames", "10"], "batch_frames must be left out for a language_model task"),
    ],
)
def test_what_cannot_be_stacked_is_refused(wrong: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["tune", *wrong])
    assert end.value.code == 2
    assert problem in capsys.readouterr().err


def test_a_study_goes_on_in_its_own_tracking_store_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(*STUDY, "--trials", "1", "--study", "mine")
    parent, _ = parent_and_children()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'another.db'}")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'another.db'}")
    with pytest.raises(SystemExit, match="2"):
        main([*STUDY, "--trials", "2", "--study", "mine"])
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"its run {parent.info.run_id} is not in this one; set MLFLOW_TRACKING_URI" in error[0]
    assert "mine.log" in error[0]


def test_a_study_that_maximises_is_not_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "theirs.log"
    optuna.create_study(storage=open_storage(str(path), path), study_name="theirs", direction="maximize")
    before = path.read_bytes()
    with pytest.raises(SystemExit, match="2"):
        main([*STUDY, "--trials", "2", "--study", "theirs", "--storage", str(path)])
    assert "study theirs must be one that minimises, it maximises" in capsys.readouterr().err
    assert path.read_bytes().startswith(before), "Optuna notes the attempt, no more"
