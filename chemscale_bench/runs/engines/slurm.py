"""Workers as a Slurm job array, by submitit. A job that is preempted or out of time is requeued and goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import submitit

from chemscale_bench.errors import UserError
from chemscale_bench.runs.engines.start import environment

HOURS = "24:00:00"
"""Of a job, unless `time` says otherwise."""


class Worker:
    """What a job does: the command, which ends cleanly before the job is requeued."""

    def __init__(self, command: list[str], variables: dict[str, str]) -> None:
        self.command, self.variables = command, variables
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Run the command; gives its exit code."""
        self.process = subprocess.Popen(self.command, env=os.environ | self.variables)
        return self.process.wait()

    def checkpoint(self) -> Any:
        """Called by submitit before preemption: the training under way saves its state, and the job begins again."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
        return submitit.helpers.DelayedSubmission(Worker(self.command, self.variables))


class Jobs:
    """The jobs of an array."""

    def __init__(self, jobs: list[Any]) -> None:
        self.jobs = jobs

    def alive(self) -> int:
        """How many still work, or wait for their turn."""
        return sum(not job.done() for job in self.jobs)

    def stop(self) -> None:
        """Cancel all: Slurm sends SIGTERM to the workers, and waits for them as its KillWait says."""
        for job in self.jobs:
            job.cancel(check=False)
        for job in self.jobs:
            job.wait()

    def failed(self) -> list[str]:
        """The logs of those that ended with an error."""
        return [str(job.paths.stderr) for job in self.jobs if job.exception() is not None or job.result() != 0]


def start(command: list[str], workers: int, folder: Path, options: dict[str, str]) -> Jobs:
    """Submit the array.

    Args:
        command: of a worker; the environment and the storage must be there on all nodes.
        workers: how many.
        folder: for submitit's files and logs, on a file system that all nodes share.
        options: of sbatch, such as partition, time, gres, cpus_per_task.

    Raises:
        UserError: if there is no Slurm here, or it does not take the job.
    """
    if shutil.which("sbatch") is None:
        raise UserError("engine=slurm needs sbatch, which is not on PATH; log in to the cluster, or use engine=local")
    executor = submitit.SlurmExecutor(folder=folder)
    known = {name: value for name, value in options.items() if name in executor._valid_parameters()}
    others = {name: value for name, value in options.items() if name not in known}
    whole = {name: int(value) if value.isdigit() else value for name, value in known.items()}
    executor.update_parameters(**({"time": HOURS, "job_name": "chemscale"} | whole), additional_parameters=others)
    try:
        with executor.batch():
            jobs = [executor.submit(Worker(command, environment())) for _ in range(workers)]
    except submitit.core.utils.FailedJobError as error:
        raise UserError(
            f"Slurm must take the job, it says: {str(error).strip()[:300]}; change engine_options"
        ) from None

    return Jobs(jobs)
