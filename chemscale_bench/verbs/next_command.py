"""The command that a report ends with: the next one to type."""

from __future__ import annotations

import pandas as pd

from chemscale_bench.scaling.planning import NextRun


def training(frame: pd.DataFrame, run: NextRun | None, experiment: str) -> str:
    """The command that trains a run; nothing if the table does not say of what task and model.

    Args:
        frame: the runs that it should join, with the columns `task` and `model`.
        run: size and tokens.
        experiment: of those runs, or nothing.
    """
    if run is None or any(name not in frame or not str(frame[name].iloc[0]) for name in ("task", "model")):
        return ""
    task, _, data = str(frame["task"].iloc[0]).partition("@")
    command = f"chemscale language --model {frame['model'].iloc[0]} --task {task}"
    command += f" --data {data}" if data else ""
    command += f" --params {run.params:.2g} --tokens {run.tokens:.2g}"
    return command + (f" --experiment {experiment}" if experiment else "")


def show(commands: dict[str, str]) -> None:
    """Print commands with what each is for; those that are empty are left out."""
    there = {what: command for what, command in commands.items() if command}
    if there:
        print("\nNext:")
    for what, command in there.items():
        print(f"  {command}    # {what}")
