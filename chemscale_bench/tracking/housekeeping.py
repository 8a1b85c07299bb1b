"""Runs of verbs that train nothing (fit, submit, leaderboard), apart from the experiment that people compare in."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chemscale_bench.tracking.adoption import adopt_run, launched_run
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.lifetime import SIGNALS, reap_dead_runs
from chemscale_bench.tracking.recorder import Recorder
from chemscale_bench.tracking.store import experiment_id

HOUSEKEEPING = "chemscale-housekeeping"


@contextmanager
def housekeeping_run(verb: str, experiment: str = HOUSEKEEPING) -> Iterator[str]:
    """The id of the run that `mlflow run` opened for this process, or of a new one, apart from training runs."""
    reap_dead_runs([experiment_id(experiment, charts=False)])
    run_id = adopt_run(experiment)
    # Python lets no other thread take signals, where a notebook or a server may have called from.
    taken = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in taken}

    def interrupt(*_: object) -> None:
        # On Ctrl-C `mlflow run` sends SIGTERM after the terminal's SIGINT, which must not disturb the run's end.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    try:
        with ended_properly(run_id):
            for number, handler in before.items():
                if handler != signal.SIG_IGN:
                    signal.signal(number, interrupt)
            Recorder(run_id).tags({"verb": verb, "mlflow.runName": verb})
            yield run_id
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def run_if_launched(verb: str) -> Iterator[str]:
    """Under `mlflow run` the id of its run, moved out of the way of training runs; otherwise nothing is recorded."""
    if launched_run() is None:
        yield ""
    else:
        with housekeeping_run(verb) as run_id:
            yield run_id
