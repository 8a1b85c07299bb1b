"""Have the last word on the run that `mlflow run` made, after `mlflow run` has ended.

When its command ends, `mlflow run` sets the run to FINISHED or FAILED by the exit code, even if it has ended as KILLED,
and breaks off with a traceback if it was deleted: MLflow 3.17 compares the status's name with numbers
(``_maybe_set_run_terminated`` in projects/__init__.py). So the final state is noted in a tag, and a small process of
ours sets it once `mlflow run` is gone. Should that process be killed too, the next start of the tool does it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from chemscale_bench.launcher import find_launcher, is_alive
from chemscale_bench.tracking.store import open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

FINAL_TAG = "chemscale.final"
DELETED = "deleted"


def settle_after_launcher(run_id: str) -> None:
    """Start the process that gives a run the state its tag asks for, once the `mlflow run` above this one has ended."""
    nothing = subprocess.DEVNULL
    command = [sys.executable, "-m", "chemscale_bench.tracking.settling", run_id]
    subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)


def settle(client: MlflowClient, run_id: str) -> None:
    """Give a run the state that its tag asks for."""
    run = client.get_run(run_id)
    final = run.data.tags.get(FINAL_TAG)
    if final == DELETED:
        client.delete_run(run_id)
    elif final and run.info.status != final:
        client.set_terminated(run_id, final, end_time=run.info.end_time)


def settle_all(client: MlflowClient, experiment_ids: list[str]) -> None:
    """Settle the ended runs whose settling process was killed."""
    for unsettled in (f"= '{DELETED}'", "= 'KILLED' AND attributes.status != 'KILLED'"):
        query = f"attributes.status != 'RUNNING' AND tags.`{FINAL_TAG}` {unsettled}"
        for run in client.search_runs(experiment_ids, query):
            settle(client, run.info.run_id)


def main() -> None:
    """Wait for `mlflow run` to end, then settle the run named on the command line."""
    client = open_store()
    while is_alive(find_launcher()):
        time.sleep(0.1)
    settle(client, sys.argv[1])


if __name__ == "__main__":
    main()
