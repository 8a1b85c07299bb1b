"""Workers as a Slurm job array, by submitit. A job that is preempted or out of time is requeued and goes on."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import submitit

from chemscale_bench.errors import UserError

TIME = "24:00:00"
"""Of a job, unless `time` says otherwise."""
MOST_REQUEUES = 10_000
ANSWER_SECONDS = 60.0
"""To wait for an answer of Slurm's controller."""
ENDED_BY_SIGTERM = (128 + signal.SIGTERM, -signal.SIGTERM)
"""Exit codes of a worker; the latter while it was still starting."""
QUEUE_SECONDS = 30.0
"""Between two looks at Slurm's queue."""


class Worker:
    """What a job does: the command, which ends cleanly before the job is requeued."""

    def __init__(self, command: list[str], variables: dict[str, str]) -> None:
        self.command, self.variables = command, variables
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Run the command; gives its exit code.

        Raises:
            SystemExit: if it was asked to end: Slurm cancels the job, or requeues it without the signal of submitit. A
                result would tell the leader that the job is over.
        """
        self.process = subprocess.Popen(self.command, env=os.environ | self.variables)
        while (code := self.process.poll()) is None:  # `wait` would hold a lock that `checkpoint` needs
            time.sleep(0.5)
        if code in ENDED_BY_SIGTERM:
            raise SystemExit(code)
        return code

    def checkpoint(self) -> Any:
        """Called by submitit before preemption: the training under way saves its state, and the job begins again."""
        if self.process is not None:
            self.process.terminate()
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return submitit.helpers.DelayedSubmission(Worker(self.command, self.variables))


class Jobs:
    """The jobs of an array."""

    def __init__(self, jobs: list[Any]) -> None:
        self.jobs, self.next_look, self.queued = jobs, time.monotonic() + QUEUE_SECONDS, True

    def alive(self) -> int:
        """How many still work, or wait for their turn."""
        if time.monotonic() > self.next_look:
            self.next_look, self.queued = time.monotonic() + QUEUE_SECONDS, self.in_queue()
        # `job.done` would ask for accounts: where there are none, it warns of that again and again.
        return len(self.jobs) - len(self.ended()) if self.queued else 0

    def ended(self) -> list[Any]:
        """Those that left a result."""
        return [job for job in self.jobs if job.paths.result_pickle.exists()]

    def in_queue(self) -> bool:
        """Whether Slurm has any of them: one that was killed leaves no result, and not every cluster keeps accounts."""
        array = self.jobs[0].job_id.partition("_")[0]
        found = subprocess.run(["squeue", "--noheader", "--jobs", array], capture_output=True, text=True)
        if found.returncode and "Invalid job id" not in found.stderr:
            return self.queued  # Slurm is busy: as it was
        return bool(found.stdout.strip())

    def stop(self) -> None:
        """Cancel all: Slurm sends SIGTERM to the workers, and waits for them as its KillWait says."""
        for job in self.jobs:
            job.cancel(check=False)
        while self.in_queue():
            time.sleep(1)

    def failed(self) -> list[str]:
        """The logs of those that ended with an error, or without a result."""
        well = [job for job in self.ended() if job.exception() is None and job.result() == 0]
        return [str(job.paths.stderr) for job in self.jobs if job not in well]


def check(options: dict[str, str]) -> None:
    """Refuse a machine without Slurm, and a time that is none.

    Raises:
        UserError: with what to do.
    """
    if shutil.which("sbatch") is None:
        raise UserError("engine=slurm needs sbatch, which is not on PATH; log in to the cluster, or use engine=local")
    minutes(options.get("time", TIME))
    try:
        asked = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=ANSWER_SECONDS)
        answers, said = "is UP" in asked.stdout, asked.stderr or asked.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        answers, said = False, str(error)
    if not answers:
        raise UserError(
            f"engine=slurm needs a controller that answers, none does ({' '.join(said.split())[:200]}); start "
            "slurmctld, set SLURM_CONF, or use engine=local"
        )


def start(command: list[str], variables: dict[str, str], workers: int, folder: Path, options: dict[str, str]) -> Jobs:
    """Submit the array.

    Args:
        command: of a worker; the environment and the storage must be there on all nodes.
        variables: of its environment.
        workers: how many.
        folder: for submitit's files and logs, on a file system that all nodes share.
        options: of sbatch, such as partition, time, gres, cpus_per_task.

    Raises:
        UserError: if Slurm does not take the job.
    """
    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=MOST_REQUEUES)
    known = {name: value for name, value in options.items() if name in executor._valid_parameters()}
    others = {name: value for name, value in options.items() if name not in known}
    whole: dict[str, Any] = {name: int(value) if value.isdigit() else value for name, value in known.items()}
    whole["time"] = minutes(options.get("time", TIME))
    executor.update_parameters(**({"job_name": "chemscale"} | whole), additional_parameters=others)
    try:
        with executor.batch():
            jobs = [executor.submit(Worker(command, variables)) for _ in range(workers)]
    except submitit.core.utils.FailedJobError as error:
        raise UserError(
            f"Slurm must take the job, it says: {str(error).strip()[:300]}; change engine_options"
        ) from None

    return Jobs(jobs)


def minutes(text: str) -> int:
    """A time as sbatch takes it (30, 4:00:00, 2-12 or 2-12:00:00) in whole minutes, at least one.

    Raises:
        UserError: if it is not one.
    """
    days, dash, clock = text.rpartition("-")
    try:
        parts, whole_days = [int(part) for part in clock.split(":")], int(days or 0)
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3:
        raise UserError(
            f"time must be minutes, hours:minutes:seconds or days-hours:minutes:seconds, got {text!r}; write 4:00:00"
        )
    first_is_hours = dash or len(parts) == 3
    hours, middle, seconds = [*parts, 0, 0][:3] if first_is_hours else [0, *parts, 0][:3]
    return max(1, math.ceil(1440 * whole_days + 60 * hours + middle + seconds / 60))
