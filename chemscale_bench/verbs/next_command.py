"""The command that a report ends with: the next one to type."""

from __future__ import annotations

import shlex
from typing import get_args

import pandas as pd

from chemscale_bench import tasks
from chemscale_bench.scaling.planning import NextRun
from chemscale_bench.settings.language import LanguageSettings
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.shell import typed

SMALLEST: int = next(rule.ge for rule in LanguageSettings.model_fields["params"].metadata if hasattr(rule, "ge"))
"""Parameters that the verb `language` takes."""

VOCABULARIES: tuple[str, ...] = get_args(tasks.LanguageTask.model_fields["vocabulary"].annotation)
"""What a task's molecules can be written in; what is not the task's own is part of a run's task, as a molecule is."""

MOST_TIMES = 2
"""So many times a task's largest budget, which is one to two passes over its data: beyond four, they teach less than
new ones (Muennighoff et al. 2023), and no law here speaks of that."""


def training(frame: pd.DataFrame, run: NextRun | None, experiment: str) -> str:
    """The command that trains a run, or nothing.

    There is none if it is too small, if the table does not say of what model and task, or if the task has too few data.

    Args:
        frame: the runs that it should join, with the columns `task` and `model`.
        run: size and tokens.
        experiment: of those runs, or nothing.
    """
    chosen = what_was_trained(frame)
    if run is None or not chosen or run.params < SMALLEST:
        return ""
    task = tasks.load(str(frame["task"].iloc[0]).partition("@")[0])
    if isinstance(task, tasks.LanguageTask) and run.tokens > MOST_TIMES * task.budgets_tokens[-1]:
        return ""
    command = f"{typed('chemscale')} language {chosen} --params {run.params:.2g} --tokens {run.tokens:.2g}"
    return command + (f" --experiment {shlex.quote(experiment)}" if experiment else "")


def settings(verb: str, chosen: TrainingSettings, **more: str) -> str:
    """The command that trains with settings; those that are the verb's own defaults are left out, as is the experiment.

    Args:
        verb: `language` or `forcefield`.
        chosen: its settings.
        more: others, by name.
    """
    words = [typed("chemscale"), verb]
    for name, value in chosen:
        if name not in ("experiment", *more) and value != type(chosen).model_fields[name].default:
            words += [f"--{name}", shlex.quote(f"{value:.4g}" if isinstance(value, float) else str(value))]
    return " ".join([*words, *(f"--{name} {shlex.quote(value)}" for name, value in more.items())])


def study(frame: pd.DataFrame) -> str:
    """The command of a study of the same, under the same condition."""
    chosen = what_was_trained(frame)
    return f"{typed('chemscale')} study {chosen} --hours 2" if chosen else ""


def what_was_trained(frame: pd.DataFrame) -> str:
    """Model and task as parameters; nothing for data or a task of the user's own, whose paths a table does not know."""
    if any(name not in frame or not str(frame[name].iloc[0]) for name in ("task", "model")):
        return ""
    model, trained = frame["model"].iloc[0], str(frame["task"].iloc[0])
    name, _, rest = trained.partition("@")
    if name not in tasks.names():
        return ""
    task, known = tasks.load(name), {"": ""}
    if isinstance(task, tasks.ForceTask):
        known |= {molecule: f" --molecule {molecule}" for molecule in task.molecules}
    elif isinstance(task, tasks.LanguageTask):
        known |= {string: f" --vocabulary {string}" for string in VOCABULARIES}
    return f"--model {model} --task {name}{known[rest]}" if rest in known else ""


def show(commands: dict[str, str]) -> None:
    """Print commands with what each is for; those that are empty are left out."""
    there = {what: command for what, command in commands.items() if command}
    if there:
        print("\nNext:")
    for what, command in there.items():
        print(f"  {command}    # {what}")
