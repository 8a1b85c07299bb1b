"""How processes find one another, and that none waits in silence."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from forks import Fork

from chemscale_bench.errors import UserError
from chemscale_bench.settings.chemgpt import ChemGPTSettings
from chemscale_bench.training.devices import find_peers, meet, start_fabric

SRUN = {"SLURM_JOB_ID": "71234", "SLURM_NTASKS": "2", "SLURM_NODELIST": "localhost", "SLURM_LOCALID": "0"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize("job", ["interactive", "study"])
def test_an_allocation_alone_is_one_process_and_says_how_to_use_it(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": job, "SLURM_JOB_ID": "7"}.items():
        monkeypatch.setenv(name, value)
    fabric = start_fabric(ChemGPTSettings(device="cpu"))
    assert fabric.world_size == 1
    assert "one process trains; to use all 4 tasks of this allocation: srun" in capsys.readouterr().err


def test_srun_on_the_path_is_no_reason_to_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "srun"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start_fabric(ChemGPTSettings(device="cpu"))


def test_one_task_of_srun_is_one_process() -> None:
    assert find_peers(SRUN | {"SLURM_STEP_NUM_TASKS": "1"})[:2] == (1, 1)


def test_tasks_that_are_spread_unevenly_are_refused() -> None:
    with pytest.raises(UserError, match=r"spread evenly over nodes, srun has placed 2,1; give it --ntasks-per-node"):
        find_peers(SRUN | {"SLURM_STEP_NUM_TASKS": "3", "SLURM_STEP_TASKS_PER_NODE": "2,1", "SLURM_PROCID": "0"})


@pytest.mark.parametrize(("placed", "local"), [("2", 2), ("1(x2)", 1)])
def test_tasks_need_no_number_per_node(placed: str, local: int, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    for name, value in {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port - 1)}.items():
        monkeypatch.setenv(name, value)
    step = SRUN | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": placed}
    other = threading.Thread(target=meet, args=(1, 2, "localhost", port))
    other.start()
    peers = find_peers(step | {"SLURM_PROCID": "0"})
    other.join()
    assert peers[:2] == (2, local)
    assert peers.environment.world_size() == 2
    peers.environment.validate_settings(local, 2 // local)


def test_two_tasks_of_srun_train_as_one_and_say_it_once(prepared: None, tracking_uri: str) -> None:
    step = SRUN | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_NODEID": "0"}
    step |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port() - 1), "OMP_NUM_THREADS": "1"}
    command = ["chemgpt", "--task", "embedded-lm", "--params", "1e4", "--tokens", "2000", "--device", "cpu"]
    processes = [Fork(*command, **step | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank}) for rank in "01"]
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "val nats/token" in said[0][0]
    assert not said[1][0].strip()
    for _, err in said:
        chatter = ("Initializing distributed", "distributed_backend", "mlflow.store", "srun", "Warning")
        assert not [word for word in chatter if word in err]


AT_ITS_END = """
import atexit, os, sys, torch
from pathlib import Path
end = "still a group: {}\\n".format  # one write, or the lines of two processes mix
atexit.register(lambda: print(end(torch.distributed.is_initialized()), end="", flush=True))  # after all that come later
from chemscale_bench.settings.chemgpt import ChemGPTSettings
from chemscale_bench.training.devices import start_fabric
fabric = start_fabric(ChemGPTSettings(device="cpu"))
fabric.barrier()
if hasattr(os, "SCHED_IDLE"):  # threads of Gloo on the core of this one, and only when this one sleeps
    os.sched_setaffinity(0, {core := min(os.sched_getaffinity(0))})
    for thread in Path("/proc/self/task").iterdir():
        if "gloo" in (thread / "comm").read_text():
            os.sched_setaffinity(int(thread.name), {core})
            os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))
sys.held = torch.distributed.group.WORLD  # by something that outlives all, as fully_shard has it
torch.distributed.all_reduce(torch.ones(3))
"""


def test_processes_leave_one_another_before_they_end() -> None:
    """Else some abort: `terminate called without an active exception`."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--no-python"]
    done = subprocess.run([*command, sys.executable, "-c", AT_ITS_END], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("still a group: False") == 2


def test_ranks_that_do_not_come_are_named() -> None:
    port, told = free_port(), []

    def comes() -> None:
        with pytest.raises(UserError) as caught:
            meet(1, 4, "localhost", port, seconds=3)
        told.append(str(caught.value))

    other = threading.Thread(target=comes)
    other.start()
    with pytest.raises(UserError, match=r"all 4 tasks must start within 2 s, rank 2, 3 did not"):
        meet(0, 4, "localhost", port, seconds=2)
    other.join()
    assert "all 4 tasks must start within 3 s, rank 0 on localhost" in told[0]


def test_a_first_rank_that_does_not_come_is_named() -> None:
    with pytest.raises(UserError, match=r"rank 0 on localhost:.* did not answer rank 1"):
        meet(1, 2, "localhost", free_port(), seconds=2)
