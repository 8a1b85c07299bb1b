"""How a run ends: with the right status and its reason, whatever happened."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chemscale_bench.data.cache import run_folder
from chemscale_bench.tracking.lifetime import end_run, how_to_go_on
from chemscale_bench.tracking.store import open_store


class Interrupted(Exception):
    """The run was asked to stop and has saved its state."""


class Pruned(Exception):
    """The run was judged not worth going on with; the text says why."""


@contextmanager
def ended_properly(run_id: str, records: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Give the run its final status and reason whatever happens inside; then a finished one needs no resume state.

    Args:
        run_id: a RUNNING run.
        records: whether this process has the last word on the run; asked at the end.
    """
    status, reason = "FINISHED", ""
    try:
        yield
    except Interrupted as stopped:
        status, reason = "KILLED", f"{stopped}; go on with resume={run_id}"
        print(reason, file=sys.stderr)
    except Pruned as verdict:
        status, reason = "KILLED", str(verdict)
    except (KeyboardInterrupt, GeneratorExit):  # the latter: another of those that train together has failed
        status, reason = "KILLED", "interrupted"
        raise
    except BaseException as error:
        status, reason = "FAILED", f"{type(error).__name__}: {error}"
        raise
    finally:
        if records():
            try:
                end_run(open_store(), run_id, status, reason)
                if status == "FINISHED":
                    shutil.rmtree(run_folder(run_id), ignore_errors=True)
            except Exception as error:
                print(
                    f"the tracking store did not take the end of run {run_id} ({error}); {how_to_go_on(run_id)}",
                    file=sys.stderr,
                )
