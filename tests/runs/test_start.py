"""Whole runs as a user starts them: processes, a real tracking store, kill -9, a server that goes away."""

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from commands import call, curve, runs
from forks import Fork, finish, run_verb
from mlflow.entities import Run
from servers import free_port, kill, serve

from chemscale_bench.cli import main
from chemscale_bench.runs.language import LanguageRun
from chemscale_bench.tracking import ending, recorder

SMALL = ["--task", "embedded-lm", "--params", "3e4", "--device", "cpu"]


@pytest.fixture(autouse=True)
def environment(prepared_home: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch, chemscale_home: Path) -> None:
    monkeypatch.setenv("CHEMSCALE_HOME", str(prepared_home))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def start(*arguments: str, **more: Any) -> Fork:
    return Fork("chemgpt", *SMALL, *arguments, **more)


def train(*arguments: str, expected: int = 0) -> str:
    return call("chemgpt", *SMALL, *arguments, expected=expected)


def weights_sha256(run: Run) -> str:
    path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="model/model.safetensors")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def wait_for(condition: object, process: Fork, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)  # between two looks


def test_kill_9_and_resume_give_the_run_that_nobody_killed(prepared_home: Path) -> None:
    train("--tokens", "6e4", "--seed", "1")
    (whole,) = runs()
    interval = ["--tokens", "6e4", "--seed", "1", "--checkpoint_minutes", "0.003"]
    process = start(*interval)
    generator = random.Random(0)
    for _ in range(3):
        states = prepared_home / "runs"
        wait_for(lambda states=states: list(states.glob("*/state.pt")), process)
        (state,) = states.glob("*/state.pt")
        before = state.stat().st_mtime_ns
        wait_for(lambda state=state, before=before: state.stat().st_mtime_ns != before, process)
        time.sleep(generator.uniform(0, 0.3))  # somewhere between two states
        process.kill()
        process.communicate()
        process = start("--resume", state.parent.name)
    finish(process)

    resumed, again = runs() if runs()[0].info.run_id != whole.info.run_id else reversed(runs())
    assert again.info.run_id == whole.info.run_id
    assert resumed.info.status == "FINISHED"
    assert weights_sha256(resumed) == weights_sha256(whole)
    for key in ("train/loss_nats_per_token", "decay/loss_nats_per_token", "val/loss_nats_per_token"):
        assert curve(resumed, key) == curve(whole, key)
        assert len(curve(whole, key)) > 1
    assert not list(states.glob("*"))


def test_ctrl_c_saves_the_run_and_says_how_to_go_on(prepared_home: Path) -> None:
    process = start("--tokens", "5e4")
    wait_for(lambda: list((prepared_home / "runs").glob("*/state.pt")), process)
    process.send_signal(signal.SIGINT)
    text = finish(process, expected=130)
    (run,) = runs()
    assert run.info.status == "KILLED"
    assert f"resume={run.info.run_id}" in text
    assert f"resume={run.info.run_id}" in run.data.tags["chemscale.reason"]
    train("--resume", run.info.run_id)
    (run,) = runs()
    assert run.info.status == "FINISHED"


def run_to_its_last_words(*arguments: str) -> None:
    """The tool, killed as it is about to end its run."""
    ending.end_run = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    run_verb(*arguments)


def test_kill_9_before_the_end_is_recorded_and_resume(prepared_home: Path) -> None:
    finish(start("--tokens", "3e3", begin=run_to_its_last_words), expected=-signal.SIGKILL)
    (run,) = runs()
    assert run.info.status == "RUNNING"
    losses = curve(run, "val/loss_nats_per_token")
    train("--resume", run.info.run_id)
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert curve(run, "val/loss_nats_per_token") == losses
    assert not list((prepared_home / "runs").glob("*"))


@pytest.mark.parametrize("seeds", ["1", "2"])
def test_ctrl_c_in_the_last_validation_stops_nothing(seeds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = LanguageRun.measure

    def interrupted(run: LanguageRun, budget: int) -> Any:
        if run.settings.seed == 0:  # once: a second Ctrl-C ends it at once
            os.kill(os.getpid(), signal.SIGINT)
        return measure(run, budget)

    monkeypatch.setattr(LanguageRun, "measure", interrupted)
    train("--tokens", "3e3", "--smaller_budgets", "False", "--seeds", seeds)
    assert {run.info.status for run in runs()} == {"FINISHED"}


def test_memory_that_does_not_suffice_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: LanguageRun) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")

    monkeypatch.setattr(LanguageRun, "make_model", full)
    (line,) = [line for line in train(expected=2).splitlines() if "out of memory" in line]
    assert "a training must fit the memory of its device" in line
    assert "give smaller params, a smaller batch_tokens, or more GPUs with sharding=full" in line
    assert not runs()


def run_without_patience(*arguments: str) -> None:
    """The tool, which else waits for its server for another 20 s at the end."""
    recorder.LAST_TRY_SECONDS = 1.0
    run_verb(*arguments)


def test_a_server_that_goes_away_loses_nothing(tracking_uri: str, prepared_home: Path) -> None:
    port = free_port()
    server = serve(tracking_uri, port)
    http = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    try:
        process = start("--tokens", "6e4", begin=run_without_patience, **http)
        wait_for(lambda: list((prepared_home / "runs").glob("*/state.pt")), process)
        kill(server)
        text = finish(process, expected=2)
        assert "nothing is lost" in text
        (run,) = runs()
        assert f"resume={run.info.run_id}" in text
        server = serve(tracking_uri, port)
        finish(start("--resume", run.info.run_id, **http))
    finally:
        kill(server)
    (run,) = runs()
    assert run.info.status == "FINISHED"
    steps = [step for step, _ in curve(run, "train/loss_nats_per_token")]
    assert len(steps) == len(set(steps)) > 50
    assert [step for step, _ in curve(run, "val/loss_nats_per_token")] == [30_000, 60_000]


def test_two_processes_share_every_step_and_reach_the_same_loss() -> None:
    train("--tokens", "1e4")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "chemscale_bench", "chemgpt", *SMALL, "--tokens", "1e4"]
    tells = os.environ | {"PYTHONFAULTHANDLER": "1"}  # where a process was that aborts
    done = subprocess.run(command, env=tells, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    alone, together = (run.data.metrics["val/loss_nats_per_token"] for run in runs())
    assert together == pytest.approx(alone, abs=2e-3)
    assert len(runs()) == 2
    for run in runs():
        steps = [step for step, _ in curve(run, "train/loss_nats_per_token")]
        assert len(steps) == len(set(steps))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--params", "abc"], "params must be a whole number such as 1e8, got 'abc'"),
        (["--params", "1e15"], "params must be less than or equal to"),
        (["--params", "11000"], "within 5 %"),
        (["--tokens", "-5"], "tokens must be greater than or equal to 1"),
        (["--task", "embeded-lm"], "did you mean embedded-lm"),
        (["--data", "no/such/file.smi"], "no/such/file.smi"),
        (["--device", "cuda"], "device=cpu"),
        (["--resume", "0123"], "resume must be an interrupted run"),
        (["--init", "/no/such/checkpoint"], "init must be a folder or a name"),
        (["--tokns", "5"], "did you mean tokens?"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(SystemExit) as end:
        main(["chemgpt", *SMALL, *arguments])
    assert end.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not [run for run in runs() if run.info.status == "RUNNING"]


def test_the_demo_trains_searches_fits_and_ends_with_a_page(tmp_path: Path) -> None:
    page = tmp_path / "board.html"
    demo = Fork("demo", "--tokens", "3e4", "--steps", "20", "--out", str(page))
    out, err = demo.communicate(timeout=600)
    assert demo.returncode == 0, err[-2000:]
    of_demo = mlflow.search_runs(experiment_names=["chemscale-demo"], output_format="list")
    children = [run for run in of_demo if "mlflow.parentRunId" in run.data.tags]
    (parent,) = [run for run in of_demo if run not in children and run.data.tags.get("verb") != "fit"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert sorted(run.data.params["model"] for run in children) == ["chemgpt"] * 3 + ["painn", "schnet"]
    assert {run.info.status for run in of_demo} == {"FINISHED"}
    for child in children:
        loss = child.data.metrics.get("val/loss_nats_per_token")
        shown = f"{loss:.4f}" if loss else f"{child.data.metrics['test/force_mae_mev_per_angstrom']:.1f}"
        assert shown in out
    trials = mlflow.search_runs(experiment_names=["chemscale-sweeps"], output_format="list")
    assert sum("mlflow.parentRunId" in run.data.tags for run in trials) == 14
    assert "3 rows: 3 sizes x 1 values of tokens" in out
    assert "painn" in page.read_text()


def test_seeds_and_resume_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["chemgpt", *SMALL, "--seeds", "2", "--resume", "abc"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: resume must be of one run, got seeds=2 with it; leave seeds out")
    assert error.count("\n") == 1


def test_a_finished_run_is_said_to_be_finished_when_it_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    watched = {"ENABLE_SYSTEM_METRICS_LOGGING": "true", "SYSTEM_METRICS_SAMPLING_INTERVAL": "0.1"}
    finish(start("--tokens", "2e4", **{f"MLFLOW_{name}": value for name, value in watched.items()}))
    (run,) = runs()
    assert run.data.metrics["system/cpu_utilization_percentage"] >= 0
    with pytest.raises(SystemExit, match="2"):
        main(["chemgpt", *SMALL, "--resume", run.info.run_id])
    assert f"resume must be an interrupted run, {run.info.run_id} is finished" in capsys.readouterr().err
    assert runs()[0].info.to_proto() == run.info.to_proto()
    assert runs()[0].data.tags == run.data.tags
    config = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/model/tokenizer_config.json")
    assert config["model_input_names"] == ["input_ids", "attention_mask"]
    (figure, *_) = [item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id) if "html" in item.path]
    assert "cdn.plot.ly" not in mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{figure}").split("<body>")[0]


def test_molecules_may_be_relative_to_where_mlflow_run_was_started(tmp_path: Path) -> None:
    (tmp_path / "theirs.smi").write_text("".join(f"{'C' * (n % 30 + 1)}{'O' * (n // 30 + 1)}\n" for n in range(600)))
    launcher = subprocess.Popen(["sleep", "120"], cwd=tmp_path)
    try:
        out = finish(start("--tokens", "500", "--data", "theirs.smi", CHEMSCALE_LAUNCHER_PID=str(launcher.pid)))
    finally:
        launcher.kill()
        launcher.wait()
    assert "own data theirs.smi with the budgets of embedded-lm" in out
    assert "theirs.smi: SMILES in column 1 between white space: CO, CCO, CCCO, ..." in out
    assert "600 lines read: " in out
    assert " hardly tells one model from another" in out


def test_a_full_disk_of_artifacts_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_artifacts", full)
        with pytest.raises(SystemExit, match="2"):
            main(["chemgpt", *SMALL, "--tokens", "2000"])
    (run,) = runs()
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "No space left on device" in error[0]
    assert f"resume={run.info.run_id} writes them" in error[0]
    assert run.info.status == "FAILED"
    with pytest.raises(SystemExit, match="0"):
        main(["chemgpt", *SMALL, "--tokens", "2000", "--resume", run.info.run_id])
    assert runs()[0].info.status == "FINISHED"
    assert weights_sha256(runs()[0])
