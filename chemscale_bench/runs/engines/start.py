"""Start workers by the name of an engine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from chemscale_bench.errors import UserError
from chemscale_bench.settings.base import Settings
from chemscale_bench.tracking.lifetime import Stop

LOOKS = 2.0
"""Seconds between two looks of a leader at what its workers have done."""

WORKER = "CHEMSCALE_STUDY_WORKER"
"""Set in the environment of a worker, which trains what it finds and leaves the rest to whoever has started it."""

STORAGE = "CHEMSCALE_STUDY_STORAGE"
"""Beside it: the storage as it was typed."""


class Workers(Protocol):
    """Workers that were started."""

    def alive(self) -> int:
        """How many still work, or wait for their turn."""

    def stop(self) -> None:
        """Ask all to end cleanly, and wait for it."""

    def failed(self) -> list[str]:
        """The logs of those that ended with an error."""


def typed(settings: Settings) -> list[str]:
    """Settings as arguments of the command line, without defaults, and without the storage: all can read a password."""
    found = []
    for name, value in settings.model_dump().items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        if name != "storage" and value != type(settings).model_fields[name].default:
            found += [f"--{name}", text]
    return found


def engine_of(settings: Any) -> tuple[Any, dict[str, str]]:
    """The module of an engine, and the options for it.

    Args:
        settings: of a verb, with `engine` and `engine_options`.

    Raises:
        UserError: if its package or its service is not there, or it does not know an option.
    """
    options = read_options(settings.engine_options)
    try:
        engine = import_module(f"chemscale_bench.runs.engines.{settings.engine}")
    except ImportError as error:
        raise UserError(
            f"engine={settings.engine} needs a package that is not there ({error}); "
            f"pip install 'chemscale-bench[{settings.engine}]'"
        ) from None
    engine.check(options)
    return engine, options


def start_workers(verb: str, settings: Any, folder: Path) -> Workers:
    """Start `settings.workers` times the same command as workers.

    Args:
        verb: of the command line.
        settings: of the verb, with `workers`, `engine` and `engine_options`.
        folder: for logs.

    Raises:
        UserError: as `engine_of`, or if the service does not take the work.
    """
    engine, options = engine_of(settings)
    command = [sys.executable, "-m", "chemscale_bench", verb, *typed(settings)]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    workers: Workers = engine.start(command, environment(settings.storage), settings.workers, folder, options)
    return workers


def lead(verb: str, settings: Any, folder: Path, stop: Stop, look: Callable[[], None]) -> list[str]:
    """Start workers and see to their end.

    Args:
        verb: of the command line.
        settings: of the verb.
        folder: for logs.
        stop: asks for a clean end.
        look: called every `LOOKS` seconds, to show how far they are.

    Returns:
        The logs of the workers that ended with an error.

    Raises:
        KeyboardInterrupt: if `stop` asked for it, after the workers have ended.
    """
    workers = start_workers(verb, settings, folder)
    try:
        while workers.alive():
            if stop.requested:
                raise KeyboardInterrupt
            look()
            time.sleep(LOOKS)
    except BaseException:
        workers.stop()
        raise
    return workers.failed()


def complain_of(failed: list[str], workers: int) -> UserError:
    """What is said where workers failed before all was done."""
    return UserError(
        f"all workers must end well, {len(failed)} of {workers} did not; read {failed[0]}, then the same command goes "
        "on"
    )


def read_options(text: str) -> dict[str, str]:
    """Options written as ``partition=gpu,time=4:00:00``.

    Raises:
        UserError: if one of them has no value.
    """
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise UserError(f"engine_options must be name=value with commas between, got {part!r}; add its value")
        found[name.strip()] = value.strip()
    return found


def environment(storage: str) -> dict[str, str]:
    """The variables that a worker elsewhere needs: where runs, caches and cells are, and that it is a worker.

    It watches no launcher: on another machine the number of its process means nothing.
    """
    kept = {name: value for name, value in os.environ.items() if name.startswith(("MLFLOW_", "CHEMSCALE_HOME"))}
    return kept | {WORKER: "1", STORAGE: storage, "CHEMSCALE_LAUNCHER_PID": ""}
