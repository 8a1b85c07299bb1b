"""What MLflow loads from this package into `mlflow run`: a store made only once, the experiment, a word on misspelling.

Both act only in a process that runs this project; every other use of MLflow in the same environment is left alone.
MLflow loads this module while it is being imported itself: nothing heavy, and nothing of MLflow, at the top.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

PROJECT = "chemscale-bench"


def runs_this_project(arguments: list[str]) -> bool:
    """Whether a command line is `mlflow run` of this project, given as a folder or as a git URL."""
    program = Path(arguments[0]) if arguments else Path()
    if "run" not in arguments[1:] or not (program.name == "mlflow" or program.parent.name == "mlflow"):
        return False
    return any(names_this_project(argument) for argument in arguments[1:])


def names_this_project(argument: str) -> bool:
    """Whether a project URI is this project's: its MLproject says so, or its last part is the project's name."""
    uri = argument.removeprefix("file://").partition("#")[0]
    try:
        return f"name: {PROJECT}\n" in (Path(uri) / "MLproject").read_text()
    except (OSError, ValueError):
        return "/" in uri and Path(uri).name.removesuffix(".git") == PROJECT


def speak_plainly() -> None:
    """Keep MLflow's own log of a project from the screen, such as the command with its every default: 700 characters.

    What it says of errors is kept.
    """
    logging.getLogger("mlflow.projects").setLevel(logging.WARNING)


def refuse_misspelled() -> None:
    """End `mlflow run` with one line if it was called with an entry point or a parameter that there is not."""
    from chemscale_bench.tracking.misspelled import complaint

    if reason := complaint(sys.argv[1:]):
        print(f"error: {reason}", file=sys.stderr)
        sys.exit(2)


class ProjectExperiment:
    """MLflow's `default_experiment_provider`: runs go to the benchmark's experiment, not to "Default"."""

    def in_context(self) -> bool:
        """Whether this process is `mlflow run` of this project."""
        return runs_this_project(sys.argv)

    def get_experiment_id(self) -> str:
        """The id of the benchmark's experiment, created if need be."""
        from chemscale_bench.errors import UserError
        from chemscale_bench.tracking.adoption import DEFAULT_EXPERIMENT
        from chemscale_bench.tracking.store import experiment_id

        speak_plainly()
        refuse_misspelled()
        try:
            return experiment_id(DEFAULT_EXPERIMENT)
        except UserError as error:
            sys.exit(f"error: {error}")


def sqlite_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """MLflow's `tracking_store` for sqlite: MLflow's own, whose database was first made under our lock.

    The experiment provider alone is not enough: MLflow does not ask it under `--experiment-name`.
    """
    from mlflow.tracking._tracking_service.utils import _get_sqlalchemy_store

    if runs_this_project(sys.argv):
        from chemscale_bench.errors import UserError
        from chemscale_bench.tracking.store import prepare_store

        speak_plainly()
        refuse_misspelled()
        try:
            prepare_store(store_uri)
        except UserError as error:
            sys.exit(f"error: {error}")
    return _get_sqlalchemy_store(store_uri, artifact_uri)
