"""Verbs as a user calls them, in this process: one of its own takes seconds to start, and is for tests that end it."""

import io
from contextlib import redirect_stderr, redirect_stdout

import mlflow
from mlflow.entities import Run

from chemscale_bench.cli import main


def call(*arguments: str, expected: int = 0) -> str:
    """Run the tool; gives what it prints on both streams."""
    printed, code = io.StringIO(), 0
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            main(list(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    assert code == expected, printed.getvalue()[-2000:]
    return printed.getvalue()


def runs() -> list[Run]:
    """All of the store, the newest first."""
    client = mlflow.MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments))


def curve(run: Run, key: str) -> list[tuple[int, float]]:
    """Steps and values of a metric."""
    return sorted((p.step, p.value) for p in mlflow.MlflowClient().get_metric_history(run.info.run_id, key))
