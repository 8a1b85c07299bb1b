"""Which kind of run a task asks for, and which parameters mean nothing to it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from chemscale_bench.data.frames import NAMES as FRAME_NAMES
from chemscale_bench.data.sources import NAMES, official_name
from chemscale_bench.errors import UserError
from chemscale_bench.models.language_models import optimizer_for
from chemscale_bench.runs.force import ForceRun
from chemscale_bench.runs.language import LanguageRun
from chemscale_bench.runs.tracked import TrackedRun
from chemscale_bench.settings.base import Settings
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.settings.tune import TuneSettings
from chemscale_bench.tasks import Task

Chosen = TypeVar("Chosen", StudySettings, TuneSettings)
KINDS: dict[str, type[TrackedRun]] = {"language_model": LanguageRun, "force_field": ForceRun}
HALF_DECADES = tuple(digit * 10**power for power in range(4, 11) for digit in (1, 3))
OWN_FRAMES = ("test_data", "energy_unit", "length_unit", "force_unit", "energy_key", "forces_key")
FRAMES = ("molecule", "train_size", "depth", "steps", *OWN_FRAMES)
"""Parameters that only force fields have."""
MOLECULES = ("tokens", "vocabulary", "optimizer", "column")
"""Parameters that only language models have."""


def about(task: Task, data: str) -> str:
    """What is trained on, for names of runs: the task, or a file of the user's with the budgets of the task."""
    named = data == "auto" or official_name(data) in (*NAMES, *FRAME_NAMES)
    return task.name if named else f"own data {Path(data).name}, {task.name}"


def usual_sizes(kind: type[TrackedRun], model: str) -> tuple[int, ...]:
    """What a study takes where no size is typed: half decades, from the `LEAST_PARAMS` of the model's family on."""
    least = getattr(kind.MODELS.family(model), "LEAST_PARAMS", 0)
    return tuple(size for size in HALF_DECADES if size >= least)


def model_of(task: Task, model: str) -> str:
    """What `auto` is for a task, or the model that was named."""
    return str(KINDS[task.family].SETTINGS.model_fields["model"].default) if model == "auto" else model


def with_optimizer(settings: Chosen, task: Task) -> Chosen:
    """Settings of a verb for both families, with the optimizer that `auto` is for their language model."""
    if task.family != "language_model":
        return settings
    optimizer = optimizer_for(model_of(task, settings.model), settings.optimizer)
    return settings.model_copy(update={"optimizer": optimizer})


def refuse_other_family(settings: Settings, task: Task, foreign: tuple[str, ...]) -> None:
    """Refuse parameters that mean nothing for a task.

    Args:
        settings: of a verb for both families.
        task: that it was given.
        foreign: parameters of the other family.

    Raises:
        UserError: naming the first one.
    """
    for name in foreign:
        given = getattr(settings, name)
        if given != type(settings).model_fields[name].default:
            raise UserError(
                f"{name} must be left out for a {task.family} task, got {given!r} with task {task.name}; "
                "leave it out or choose another task"
            )
