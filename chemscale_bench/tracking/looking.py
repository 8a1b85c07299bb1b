"""Where a user sees a run: the command that serves MLflow's pages, and the address of the one in question."""

from __future__ import annotations

from urllib.parse import urlsplit

from chemscale_bench.shell import mlflow_ui
from chemscale_bench.tracking import charts
from chemscale_bench.tracking.store import open_store

PORT = "http://localhost:5000/"
"""Where `mlflow ui` serves, unless it is told otherwise."""


def look_at(run_id: str, beside_others: bool = False) -> str:
    """The command for a shell that shows a run, and what to open in a browser.

    MLflow's own start page leads to a table without a single loss.

    Args:
        run_id: of the run.
        beside_others: whether to show the charts of its experiment, rather than its own page.
    """
    import mlflow

    experiment = open_store().get_run(run_id).info.experiment_id
    page = charts.address(experiment) if beside_others else charts.page(experiment, run_id)
    server = urlsplit(mlflow.get_tracking_uri())
    if server.scheme in ("http", "https"):  # it serves the pages, too
        return f"{server.scheme}://{server.netloc.rpartition('@')[2]}{server.path.rstrip('/')}/{page}"
    return f"{mlflow_ui()}    # then open {PORT}{page}"
