"""Processes of one's own that begin where all is imported: real ones, to be ended and killed, seconds earlier."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servers import free_port

from chemscale_bench.cli import main

SERVER = multiprocessing.get_context("forkserver")  # a fork of this process would share its connections and threads
SERVER.set_forkserver_preload(
    [
        "mlflow", "mlflow.store.tracking.sqlalchemy_store", "optuna", "plotly.graph_objects", "pytest", "torch._dynamo",
        "chemscale_bench.runs.language", "chemscale_bench.runs.force", "chemscale_bench.verbs.study",
        "chemscale_bench.verbs.tune",
    ]
)  # fmt: skip


STARTED: list[Fork] = []


@atexit.register
def end_all() -> None:
    """Before `multiprocessing` waits for what a failed test has left."""
    for fork in STARTED:
        fork.kill()


def work(begin: Callable[..., object], arguments: tuple[Any, ...], out: str, environment: dict[str, str]) -> None:
    """What a process does that is started here; leaves as the interpreter does."""
    os.environ.clear()
    os.environ.update(environment)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{out}/{name}", os.O_CREAT | os.O_WRONLY), stream)
    try:
        begin(*arguments)
    finally:
        sys.stdout.flush()
        atexit._run_exitfuncs()


def run_verb(*arguments: str) -> None:
    """The tool; a process of `multiprocessing` ends with what `main` raises."""
    main(list(arguments))


class Fork:
    """As `subprocess.Popen` of `python -m chemscale_bench`, with both streams kept.

    Args:
        arguments: of `begin`.
        begin: a function that can be imported; the tool, if nothing is said.
        environment: added to that of this process.
    """

    def __init__(self, *arguments: Any, begin: Callable[..., object] = run_verb, **environment: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        variables = {**os.environ, **environment}
        self.process = SERVER.Process(target=work, args=(begin, arguments, self.folder.name, variables))
        self.process.start()
        assert self.process.pid
        self.pid = self.process.pid
        STARTED.append(self)

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has printed on both streams, once it has ended."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("a fork", timeout or 0)
        out, err = (Path(self.folder.name, name) for name in ("out", "err"))
        return tuple(file.read_text() if file.exists() else "" for file in (out, err))  # type: ignore[return-value]


def finish(process: Fork, expected: int = 0) -> str:
    """What it has printed on both streams, once it has ended as expected."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == expected, err[-2000:]
    return out + err


def train_together(processes: int, *arguments: Any, begin: Callable[..., object] = run_verb) -> None:
    """Processes that train as one, as torchrun would start them."""
    port = str(free_port())
    world = {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GROUP_RANK": "0"}
    world |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    ranks = [Fork(*arguments, begin=begin, **world, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(processes)]
    deadline = time.monotonic() + 300
    while any(rank.poll() is None for rank in ranks) and not any(rank.poll() for rank in ranks):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for rank in ranks:
        if rank.poll() is None:  # its peer has failed
            rank.kill()
    said = [rank.communicate(timeout=60) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * processes, said
