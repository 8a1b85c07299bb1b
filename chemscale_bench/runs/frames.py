"""The frames that a force field's settings name: those it is trained on, and those a simulation is compared with."""

from __future__ import annotations

from chemscale_bench.data.frames import FrameSplit, prepare_frames
from chemscale_bench.models.force_recipe import recipe_of
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.tasks import ForceTask


def frames_of(task: ForceTask, settings: ForceFieldSettings, cutoff: float | None = None) -> FrameSplit:
    """Training, validation and test frames of a task, on one molecule or on all of them.

    Their atoms have to have neighbours within `cutoff`, that of the settings if it is not given.
    """
    return prepare_frames(
        task.data if settings.data == "auto" else settings.data, molecule=task.molecules, split=settings.split,
        train_size=task.frames(settings.train_size), validation_frames=task.validation_frames,
        test_frames=task.test_frames, test_data=settings.test_data, energy_unit=settings.energy_unit,
        length_unit=settings.length_unit, force_unit=settings.force_unit, energy_key=settings.energy_key,
        forces_key=settings.forces_key, cutoff=cutoff or recipe_of(settings).cutoff,
    )  # fmt: skip
