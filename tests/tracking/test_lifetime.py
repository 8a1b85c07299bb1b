"""How runs end when processes are stopped or killed: real processes, real `mlflow run`, a real store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from chemscale_bench.data.cache import run_folder
from chemscale_bench.tracking import lifetime
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.lifetime import HOST_TAG, PID_TAG, PROCESS_STARTED_TAG, REASON_TAG, Stop, reap_dead_runs
from chemscale_bench.tracking.settling import FINAL_TAG
from chemscale_bench.tracking.store import experiment_id

ROOT = Path(__file__).parents[2]
PROJECT = """
name: chemscale-bench
databricks_spark_job: {}
entry_points:
  main:
    parameters:
      name: string
      resume: {type: string, default: ""}
    command: sh tools/launch {name} {resume}
"""
TRAIN = """
import os, sys, time
from pathlib import Path
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.lifetime import Stop, end_run
from chemscale_bench.tracking.store import open_store

with Stop() as stop:
    run_id = adopt_run("chemscale", resume=sys.argv[2])
    started = Path(sys.argv[1])
    started.with_suffix(".new").write_text(f"{run_id} {os.getpid()}")
    started.with_suffix(".new").rename(started)
    while not stop.requested and not started.with_suffix(".finish").exists():
        time.sleep(0.05)
    if not stop.requested:
        sys.exit(end_run(open_store(), run_id, "FINISHED", "trained to the end"))
    end_run(open_store(), run_id, "KILLED", stop.requested)
sys.exit(stop.exit_code)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the real launcher, whose tool trains until it is stopped."""
    (tmp_path / "tools").mkdir()
    launch = (ROOT / "tools" / "launch").read_text()
    assert "-m chemscale_bench" in launch
    (tmp_path / "tools" / "launch").write_text(launch.replace("-m chemscale_bench", "train.py"))
    (tmp_path / "tools" / "environment.py").write_text(f"print({sys.executable!r})")
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "MLproject").write_text(PROJECT.lstrip())
    return tmp_path


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> tuple[str, int]:
    """Run id and process id that a started tool has written."""
    give_up = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < give_up, "did not start to train within 120 s"
        assert process.poll() is None, "ended before it started to train"
        time.sleep(0.05)
    run_id, pid = path.read_text().split()
    return run_id, int(pid)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"


def ending(run_id: str) -> tuple[str, str | None]:
    run = MlflowClient().get_run(run_id)
    return run.info.status, run.data.tags.get(REASON_TAG)


def all_runs() -> set[str]:
    return {run.info.run_id for run in MlflowClient().search_runs([experiment_id("chemscale")])}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_however_mlflow_run_is_ended_no_orphan_and_no_run_stays(project: Path, tracking_uri: str) -> None:
    def term(mlflow_run: int, tool: int) -> None:
        os.kill(mlflow_run, signal.SIGTERM)

    def kill(mlflow_run: int, tool: int) -> None:
        os.kill(mlflow_run, signal.SIGKILL)

    def kill_the_tool(mlflow_run: int, tool: int) -> None:
        os.kill(tool, signal.SIGKILL)

    def control_c(mlflow_run: int, tool: int) -> None:
        os.killpg(mlflow_run, signal.SIGINT)

    def resumed(mlflow_run: int, tool: int) -> None:
        (project / "resumed.finish").touch()

    interrupted = MlflowClient().create_run(experiment_id("chemscale")).info.run_id
    table = {
        term: ("KILLED", "the `mlflow run` that started it is gone"),
        kill: ("KILLED", "the `mlflow run` that started it is gone"),
        kill_the_tool: ("FAILED", None),
        control_c: ("KILLED", "stopped by SIGINT"),
        resumed: ("FINISHED", "trained to the end"),
    }
    more = {resumed: ["-P", f"resume={interrupted}"]}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    # All four at once, which is also a test; each is the leader of its own group, as at a prompt.
    processes = {
        end: subprocess.Popen(
            [sys.executable, "-m", "mlflow", "run", ".", "-P", f"name={end.__name__}", *more.get(end, [])],
            cwd=project,
            env=environment,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in table
    }
    started = {end: wait_for(project / end.__name__, process) for end, process in processes.items()}
    for end, process in processes.items():
        end(process.pid, started[end][1])
    for end, process in processes.items():
        assert (process.wait(timeout=60) == 0) is (end is resumed)
        wait_until(lambda end=end: not alive(started[end][1]))
    for end, expected in table.items():
        run_id = started[end][0]
        wait_until(lambda run_id=run_id, expected=expected: ending(run_id) == expected)
    assert started[resumed][0] == interrupted
    trained = {run_id for run_id, _ in started.values()}
    wait_until(lambda: all_runs() == trained)  # the empty run of the resumed one is deleted


def mark(run_id: str, **changes: str) -> None:
    for tag, value in changes.items():
        MlflowClient().set_tag(run_id, f"chemscale.{tag}", value)


def test_reaping_ends_only_the_runs_of_this_host_whose_process_is_gone(tracking_uri: str) -> None:
    client = MlflowClient()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    alive, killed, recycled, elsewhere = (adopt_run("chemscale") for _ in range(4))
    mark(killed, pid=str(gone.pid))
    mark(recycled, process_started="1.00")
    mark(elsewhere, pid=str(gone.pid), host="another")
    state = run_folder(killed) / "state.pt"
    state.parent.mkdir(parents=True)
    state.touch()
    assert sorted(reap_dead_runs([experiment_id("chemscale")])) == sorted([killed, recycled])
    for run_id, status in ((alive, "RUNNING"), (elsewhere, "RUNNING"), (killed, "FAILED"), (recycled, "FAILED")):
        assert client.get_run(run_id).info.status == status
    assert client.get_run(killed).data.tags[REASON_TAG].endswith(f"go on with resume={killed}")
    assert client.get_run(recycled).data.tags[REASON_TAG].endswith("type its command again")  # nothing to resume
    assert set(client.get_run(alive).data.tags) >= {HOST_TAG, PID_TAG, PROCESS_STARTED_TAG}
    assert client.get_run(alive).data.tags[HOST_TAG] == socket.gethostname()


def test_reaping_settles_what_a_killed_process_has_left(tracking_uri: str) -> None:
    client = MlflowClient()
    empty, stopped = (client.create_run("0").info.run_id for _ in range(2))
    for run_id, final in ((empty, "deleted"), (stopped, "KILLED")):
        client.set_tag(run_id, FINAL_TAG, final)
        client.set_terminated(run_id, "FAILED", end_time=1_700_000_000_000)
    assert reap_dead_runs(["0"]) == []
    assert client.get_run(empty).info.lifecycle_stage == "deleted"
    assert client.get_run(stopped).info.status == "KILLED"
    assert client.get_run(stopped).info.end_time == 1_700_000_000_000


@pytest.mark.parametrize(
    ("source", "waited", "works", "dead"),
    [
        ("PROJECT", True, False, True),
        ("PROJECT", True, True, False),
        ("PROJECT", False, False, False),  # its process may be about to start
        ("LOCAL", True, False, False),  # somebody's own script
    ],
)
def test_reaping_runs_that_were_never_marked(
    source: str, waited: bool, works: bool, dead: bool, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifetime, "SECONDS_TO_START", -1 if waited else 60)
    run: Run = MlflowClient().create_run(
        "0", tags={"mlflow.source.type": source, "mlflow.project.entryPoint": "chemgpt"}
    )
    worker = subprocess.Popen(["sleep", "30"], env={"MLFLOW_RUN_ID": run.info.run_id if works else "another"})
    assert reap_dead_runs(["0"]) == ([run.info.run_id] if dead else [])
    worker.kill()
    worker.wait()


def test_the_same_signal_twice_is_meant_seriously(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHEMSCALE_LAUNCHER_PID", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    with Stop() as stop:
        assert stop.requested is None
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # what `mlflow run` adds to the terminal's SIGINT
        assert stop.requested == "stopped by SIGINT"
        assert stop.exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_thread_may_train_and_takes_no_signals() -> None:
    before, found = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with Stop() as stop:
            found.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]
    assert signal.getsignal(signal.SIGINT) == before


def test_a_launcher_that_died_before_the_tool_looked_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    younger = subprocess.Popen(["sleep", "30"])
    for pid, requested in ((gone.pid, True), (younger.pid, True), (os.getppid(), False)):
        monkeypatch.setenv("CHEMSCALE_LAUNCHER_PID", str(pid))
        assert bool(Stop().requested) is requested
    younger.kill()
    younger.wait()
