"""The verb `tasks`: what can be measured, and what of its data is already here."""

from __future__ import annotations

import yaml

from chemscale_bench import tasks as all_tasks
from chemscale_bench.data.catalogue import DATA_SETS
from chemscale_bench.models.registry import FORCE_FIELDS, LANGUAGE_MODELS
from chemscale_bench.settings.tasks import TasksSettings
from chemscale_bench.tasks import LanguageTask, Task
from chemscale_bench.tracking.housekeeping import run_if_launched


def tasks(settings: TasksSettings) -> None:
    """Print every task in a few lines, or one as it is declared."""
    with run_if_launched("tasks"):
        if settings.task:
            task = all_tasks.load(settings.task)
            declared = yaml.safe_dump(task.model_dump(mode="json"), sort_keys=False, width=110)
            print(f"{described(task, settings.task)}\n\n{declared}digest: {task.digest}")
        else:
            print("\n\n".join(described(all_tasks.load(name), name) for name in all_tasks.names()))


def described(task: Task, typed: str) -> str:
    """What a task measures, on what, and what trains on it; `typed` is what names it on the command line."""
    known = DATA_SETS.get((task.family, task.data))
    data = f"{task.data}: {known.size}, {known.licence}; {known.here()}" if known else f"{task.data}: a file of yours"
    if isinstance(task, LanguageTask):
        budgets, verb, models = task.budgets_tokens, "language", LANGUAGE_MODELS
        unit = f"training tokens, {'SMILES' if task.vocabulary == 'smiles' else 'SELFIES'}"
    else:
        assert isinstance(task, all_tasks.ForceTask)
        budgets, verb, models = task.budgets_frames, "forcefield", FORCE_FIELDS
        many = task.joint and len(task.molecules) > 1
        unit = f"training frames{' of each of ' + ', '.join(task.molecules) if many else ''}"
    lines = {
        "data": data,
        "budgets": f"{' '.join(f'{budget:.4g}' for budget in budgets)} {unit}",
        "metric": task.primary_metric,
        "models": f"{', '.join(models.names)}; chemscale {verb} --task {typed}",
    }
    return "\n".join([f"{task.name}: {task.description}", *(f"  {key:<8} {value}" for key, value in lines.items())])
