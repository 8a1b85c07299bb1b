"""The `mlflow run` process that started this one; tools/launch hands its id over."""

from __future__ import annotations

import os

import psutil


def find_launcher() -> psutil.Process | int | None:
    """The `mlflow run` that started this process; its bare id if it is already gone; None if there was none."""
    text = os.environ.get("CHEMSCALE_LAUNCHER_PID", "")
    if not text.isdigit():
        return None
    try:
        launcher = psutil.Process(int(text))
        # A process younger than this one has only taken over the number.
        return launcher if launcher.create_time() <= psutil.Process().create_time() else int(text)
    except psutil.NoSuchProcess:
        return int(text)


def is_alive(process: psutil.Process | int | None) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return isinstance(process, psutil.Process) and process.is_running() and process.status() != "zombie"
    except psutil.NoSuchProcess:
        return False
