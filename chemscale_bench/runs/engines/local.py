"""Workers as processes of this machine, each with its GPU or its share of the cores."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import torch

from chemscale_bench.errors import UserError
from chemscale_bench.tracking.energy import SHARED

ENDED_AS_ASKED = (0, 130, 143)


class Processes:
    """Processes and their logs."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], logs: list[Path]) -> None:
        self.processes, self.logs = processes, logs

    def alive(self) -> int:
        """How many still work."""
        return sum(process.poll() is None for process in self.processes)

    def stop(self) -> None:
        """Ask all to end cleanly, and wait for it."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait()

    def failed(self) -> list[str]:
        """The logs of those that ended with an error."""
        return [
            str(log)
            for process, log in zip(self.processes, self.logs, strict=True)
            if process.returncode not in ENDED_AS_ASKED
        ]


def check(options: dict[str, str]) -> None:
    """Refuse options: there are none.

    Raises:
        UserError: naming them.
    """
    if options:
        raise UserError(
            f"engine_options must be left out for engine=local, got {', '.join(options)}; leave them out, or choose "
            "engine=slurm or ray"
        )


def start(
    command: list[str], variables: dict[str, str], workers: int, folder: Path, options: dict[str, str]
) -> Processes:
    """Start the processes, which end cleanly when this one dies.

    Args:
        command: of a worker.
        variables: of its environment.
        workers: how many.
        folder: for their logs.
        options: none.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = listed.split(",") if listed else [str(number) for number in range(torch.cuda.device_count())]
    processes, logs = [], []
    for number in range(workers):
        if torch.cuda.is_available():
            share = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}
        else:
            share = {"OMP_NUM_THREADS": str(threads_of(workers))}
        if workers > max(1, len(gpus)):
            share[SHARED] = "1"
        logs.append(folder / f"worker-{number}.log")
        with logs[-1].open("ab") as log:
            own = os.environ | variables | share | {"CHEMSCALE_LAUNCHER_PID": str(os.getpid())}
            processes.append(subprocess.Popen(command, env=own, stdout=log, stderr=log))
    return Processes(processes, logs)


def threads_of(workers: int) -> int:
    """The cores of one of several workers."""
    return max(1, (os.cpu_count() or 1) // workers)
