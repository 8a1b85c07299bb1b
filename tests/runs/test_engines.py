"""What every engine hands to a worker. `tools/engines.py` tries them on clusters."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.runs.engines import local
from chemscale_bench.runs.engines.start import read_options, typed
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.tracking.energy import SHARED
from chemscale_bench.tuning.study import without_secrets


def test_a_worker_is_started_by_what_was_typed() -> None:
    given = {"task": "embedded-lm", "params": "1e4,3e4", "hours": "0.5", "data": "my file.smi", "workers": "4",
             "storage": "postgresql://ada:secret@db/x"}  # fmt: skip
    settings = StudySettings.read(given, "study")
    arguments = typed(settings)
    pairs = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert pairs == {"--task": "embedded-lm", "--params": "10000,30000", "--hours": "0.5", "--data": "my file.smi",
                     "--workers": "4"}  # fmt: skip
    again = StudySettings.read({name.removeprefix("--"): value for name, value in pairs.items()}, "study")
    assert again == settings.model_copy(update={"storage": ""})


def test_a_storage_is_shown_without_its_secrets() -> None:
    assert (
        without_secrets("postgresql+psycopg2://ada:s@cr:et@db:5432/x?password=y") == "postgresql+psycopg2://db:5432/x"
    )
    assert without_secrets("/home/ada/my@folder/x.log") == "/home/ada/my@folder/x.log"
    assert without_secrets("") == ""


@pytest.mark.parametrize(("workers", "shared"), [(1, "None"), (2, "1")])
def test_workers_of_one_device_are_told_so(
    workers: int, shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    command = [sys.executable, "-S", "-c", f"import os; print(os.environ.get({SHARED!r}))"]
    for process in local.start(command, {}, workers, tmp_path, {}).processes:
        process.wait()
    assert {log.read_text().strip() for log in tmp_path.glob("worker-*.log")} == {shared}


def test_options() -> None:
    assert read_options("partition=gpu, time=4:00:00,gres=gpu:1") == {
        "partition": "gpu", "time": "4:00:00", "gres": "gpu:1",
    }  # fmt: skip
    assert read_options("") == {}
    with pytest.raises(UserError, match="engine_options must be name=value with commas between, got 'gpu'"):
        read_options("time=3,gpu")


@pytest.mark.parametrize(
    ("text", "expected"), [("30", 30), ("90:30", 91), ("4:00:00", 240), ("2-12", 3600), ("1-00:30:00", 1470), ("0", 1)]
)
def test_times_of_slurm(text: str, expected: int) -> None:
    slurm = pytest.importorskip("chemscale_bench.runs.engines.slurm", reason="needs chemscale-bench[slurm]")
    assert slurm.minutes(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "4h"])
def test_what_is_no_time_of_slurm(text: str) -> None:
    slurm = pytest.importorskip("chemscale_bench.runs.engines.slurm", reason="needs chemscale-bench[slurm]")
    with pytest.raises(UserError, match="time must be minutes"):
        slurm.minutes(text)


def test_slurm_without_a_controller_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = pytest.importorskip("chemscale_bench.runs.engines.slurm", reason="needs chemscale-bench[slurm]")
    if shutil.which("scontrol") is None:
        pytest.skip("needs slurm-client")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    (tmp_path / "slurm.conf").write_text(
        "ClusterName=x\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=16817\nNodeName=localhost\n"
    )
    with pytest.raises(UserError, match="engine=slurm needs a controller that answers, none does"):
        slurm.check({})


def test_a_job_that_slurm_ends_leaves_no_result() -> None:
    slurm = pytest.importorskip("chemscale_bench.runs.engines.slurm", reason="needs chemscale-bench[slurm]")
    for code, ending in ((3, "sys.exit(3)"), (0, "")):
        assert slurm.Worker([sys.executable, "-c", f"import sys; {ending}"], {})() == code
    for ending in ("sys.exit(143)", "os.kill(os.getpid(), 15)"):  # with its state saved, or still starting
        with pytest.raises(SystemExit):
            slurm.Worker([sys.executable, "-c", f"import os, sys; {ending}"], {})()


def test_a_worker_ends_when_ray_loses_its_node(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs chemscale-bench[ray]")
    noted, ended = tmp_path / "pid", tmp_path / "ended"
    worker = (
        "import os, sys, time; from pathlib import Path; from chemscale_bench.tracking.lifetime import Stop\n"
        "with Stop() as stop:\n"
        "    Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "    while not stop.requested: time.sleep(0.1)\n"
        "Path(sys.argv[2]).write_text('cleanly')\n"
    )
    command = [sys.executable, "-c", worker, str(noted), str(ended)]
    of_ray = f"from chemscale_bench.runs.engines.ray import work; work({command!r}, {{'CHEMSCALE_LAUNCHER_PID': ''}})"
    with subprocess.Popen([sys.executable, "-c", of_ray], env=os.environ) as process:
        deadline = time.monotonic() + 100
        while not (noted.exists() and noted.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        worker_process = psutil.Process(int(noted.read_text()))
        process.send_signal(signal.SIGKILL)
    worker_process.wait(100)
    assert ended.read_text() == "cleanly"
