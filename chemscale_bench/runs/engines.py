"""Start the workers of a study: processes of this machine, each with its GPU or its share of the cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from chemscale_bench.errors import UserError
from chemscale_bench.settings.base import Settings

WORKER = "CHEMSCALE_STUDY_WORKER"
"""Set in the environment of a worker, which trains what it finds and leaves the rest to whoever has started it."""


def typed(settings: Settings) -> list[str]:
    """Settings as arguments of the command line."""
    found = []
    for name, value in settings.model_dump().items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        if value != type(settings).model_fields[name].default:
            found += [f"--{name}", text]
    return found


def start_local(verb: str, settings: Settings, workers: int, folder: Path) -> list[subprocess.Popen[bytes]]:
    """Start the same command as a number of worker processes, each with a log in `folder`.

    Args:
        verb: of the command line.
        settings: of the verb.
        workers: how many.
        folder: is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = listed.split(",") if listed else [str(number) for number in range(torch.cuda.device_count())]
    started = []
    for number in range(workers):
        environment = os.environ | {WORKER: str(number)}
        if torch.cuda.is_available():
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        else:
            environment["OMP_NUM_THREADS"] = str(threads_of(workers))
        command = [sys.executable, "-m", "chemscale_bench", verb, *typed(settings)]
        with (folder / f"worker-{number}.log").open("ab") as log:
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    return started


def threads_of(workers: int) -> int:
    """The cores of one of several workers."""
    return max(1, (os.cpu_count() or 1) // workers)


def refuse_failed(workers: list[subprocess.Popen[bytes]], folder: str) -> None:
    """Say which workers failed.

    Raises:
        UserError: naming their logs.
    """
    failed = [str(number) for number, worker in enumerate(workers) if worker.returncode not in (0, 130, 143)]
    if failed:
        raise UserError(
            f"all workers must end well, worker {', '.join(failed)} did not; read "
            f"{folder}/worker-{failed[0]}.log, then the same command goes on"
        )
