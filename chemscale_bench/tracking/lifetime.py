"""How a run ends: asked to stop, left alone by its launcher, or killed without a word."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import psutil

from chemscale_bench.data.cache import run_folder
from chemscale_bench.launcher import find_launcher, is_alive
from chemscale_bench.tracking.settling import FINAL_TAG, settle_after_launcher, settle_all
from chemscale_bench.tracking.store import every_run, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

HOST_TAG = "chemscale.host"
PID_TAG = "chemscale.pid"
PROCESS_STARTED_TAG = "chemscale.process_started"
REASON_TAG = "chemscale.reason"
LAUNCHED_RUN = "CHEMSCALE_LAUNCHED_RUN"
"""Environment variable with the id of the run that `mlflow run` made for this process."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ENTRY_POINTS = (
    "main", "chemgpt", "language", "forcefield", "study", "tune", "replay", "fit", "plan", "generate", "embed", "probe",
    "publish", "simulate", "submit", "verify", "leaderboard", "tasks", "speed",
)  # fmt: skip
"""Of MLproject."""
SECONDS_TO_START = 120
"""How long after `mlflow run` has made a run its process may take to mark it."""


class Stop(AbstractContextManager["Stop"]):
    """A request to end the run cleanly, for the training loop to poll.

    Inside the context, SIGINT, SIGTERM and SIGHUP ask for a clean stop, and so does the death of the `mlflow run` that
    started the tool (tools/launch says which process that is), even by kill -9. The same signal a second time raises
    KeyboardInterrupt at once; a different one does not, because on Ctrl-C `mlflow run` sends SIGTERM after the
    terminal's SIGINT.

    Work that does not poll goes into `at_once`: there, the first signal and the launcher's death interrupt it.

    Example:
        >>> with Stop() as stop:
        ...     with stop.at_once():
        ...         prepare()
        ...     while not stop.requested and step():
        ...         pass
    """

    def __init__(self) -> None:
        self.exit_code = 0
        """What the process should exit with after the stop: 128 plus the signal's number."""
        self._reason: str | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._launcher = find_launcher()
        self._next_look = 0.0
        self._at_once = False

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, a request to stop raises KeyboardInterrupt in the main thread."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(1):
                if self._launcher is not None and not is_alive(self._launcher):
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

        self._at_once = True
        threading.Thread(target=watch, name="launcher", daemon=True).start()
        try:
            yield
        finally:
            over.set()
            self._at_once = False

    @property
    def requested(self) -> str | None:
        """Why the run should stop, or None. Looks after the launcher at most once a second."""
        if self._reason is None and self._launcher is not None and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + 1
            if not is_alive(self._launcher):
                self._reason, self.exit_code = "the `mlflow run` that started it is gone", 128 + signal.SIGTERM
        return self._reason

    def __enter__(self) -> Stop:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python lets nobody else take signals: whoever called from there decides how to stop
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP: keep it so
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        again = self.exit_code == 128 + number
        if self._reason is None:
            self._reason, self.exit_code = f"stopped by {signal.Signals(number).name}", 128 + number
        if again or self._at_once:
            raise KeyboardInterrupt


def process_tags() -> dict[str, str]:
    """What tells this process from all others, so that its death can be seen later."""
    started = psutil.Process().create_time()
    return {HOST_TAG: socket.gethostname(), PID_TAG: str(os.getpid()), PROCESS_STARTED_TAG: f"{started:.2f}"}


def mark_process(client: MlflowClient, run_id: str) -> None:
    """Note in the run which process works on it."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in process_tags().items()])


def end_run(client: MlflowClient, run_id: str, status: str, reason: str) -> None:
    """End a run as FINISHED, FAILED or KILLED, with its reason in a tag.

    Exit with a code other than 0 after FAILED and KILLED: from the code, `mlflow run` takes the status of its run.
    """
    client.set_tag(run_id, REASON_TAG, " ".join(reason.split())[:5000])
    client.set_terminated(run_id, status)
    if status == "KILLED" and run_id == os.environ.get(LAUNCHED_RUN) and is_alive(find_launcher()):
        client.set_tag(run_id, FINAL_TAG, status)
        settle_after_launcher(run_id)


def reap_dead_runs(experiment_ids: Iterable[str]) -> list[str]:
    """End the RUNNING runs of this host whose process is gone, as FAILED, and say in them how to go on.

    Returns:
        The ids of the runs that were ended.
    """
    client = open_store()
    experiments = list(experiment_ids)
    settle_all(client, experiments)
    dead = [run for run in running(client, experiments) if is_dead(run)]
    for run in dead:
        reason = f"its process is gone (killed, or the machine went down); {how_to_go_on(run.info.run_id)}"
        end_run(client, run.info.run_id, "FAILED", reason)
    return [run.info.run_id for run in dead]


def how_to_go_on(run_id: str) -> str:
    """What to do about a run that was killed: not all have a resume state, a drawing of molecules, say, or a study."""
    return f"go on with resume={run_id}" if (run_folder(run_id) / "state.pt").exists() else "type its command again"


def running(client: MlflowClient, experiment_ids: list[str]) -> list[Run]:
    """All runs with the status RUNNING."""
    return list(every_run(client, experiment_ids, "attributes.status = 'RUNNING'"))


def is_dead(run: Run) -> bool:
    """Whether a RUNNING run's process was on this host and is no more."""
    return is_gone(run.data.tags) if PID_TAG in run.data.tags else is_abandoned(run)


def is_gone(tags: dict[str, str]) -> bool:
    """Whether the process of `process_tags` was on this host and is no more."""
    if tags.get(HOST_TAG) != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(tags[PID_TAG]))
        same = abs(process.create_time() - float(tags[PROCESS_STARTED_TAG])) < 2
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return True
    return not (same and is_alive(process))


def is_abandoned(run: Run) -> bool:
    """Whether `mlflow run` made a run in a local store, but was killed before our process could mark it."""
    import mlflow

    local = mlflow.get_tracking_uri().startswith("sqlite:")
    if not local or not is_of_project(run):
        return False
    if time.time() - run.info.start_time / 1000 < SECONDS_TO_START:
        return False
    return not any(works_for(process, run.info.run_id) for process in psutil.process_iter())


def is_of_project(run: Run) -> bool:
    """Whether `mlflow run` made a run for one of our entry points."""
    tags = run.data.tags
    of_project = tags.get("mlflow.source.type") == "PROJECT"
    return of_project and tags.get("mlflow.project.entryPoint") in ENTRY_POINTS


def works_for(process: psutil.Process, run_id: str) -> bool:
    """Whether a process was started by `mlflow run` for a run; those of other users can't be read."""
    try:
        return process.environ().get("MLFLOW_RUN_ID") == run_id
    except (psutil.Error, OSError):
        return False
