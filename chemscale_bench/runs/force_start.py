"""The network that a force field's training begins with: fresh, of a checkpoint, or that of the run to carry on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from ase.data import chemical_symbols

from chemscale_bench.data.frames import FrameSplit
from chemscale_bench.data.opening import user_path
from chemscale_bench.data.references import ReferenceEnergies, fit_reference
from chemscale_bench.errors import UserError
from chemscale_bench.models import force_fields
from chemscale_bench.models.force_recipe import Recipe
from chemscale_bench.models.logged import fetch_model
from chemscale_bench.models.potential import Potential
from chemscale_bench.models.registry import FORCE_FIELDS
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.training.forces import energies_of
from chemscale_bench.training.mixed_frames import on_device


class Start(NamedTuple):
    """A network, its config and the atomic numbers that it knows."""

    potential: Potential
    config: Any
    elements: tuple[int, ...]


def check(settings: ForceFieldSettings) -> None:
    """Refuse what a checkpoint decides.

    Raises:
        UserError: naming it.
    """
    if settings.init and settings.recipe == "paper":
        raise UserError("recipe must be quick with init, whose size is given, got paper; leave out either")
    for name in ("params", "depth", "cutoff"):
        if settings.init and (value := getattr(settings, name)) != "auto":
            raise UserError(f"{name} must be left out with init, which sets it, got {name}={value}; leave out either")


def starting_network(
    settings: ForceFieldSettings, recipe: Recipe, frames: FrameSplit, saved: Mapping[str, Any] | None,
    checkpoint: Start | None,
) -> Start:  # fmt: skip
    """The network of a run.

    Raises:
        UserError: if no size comes near what is wanted, or the frames are not for it.
    """
    elements = tuple(int(number) for number in np.unique(frames.train.numbers))
    scale = float(np.sqrt(np.square(frames.train.forces).mean()))
    if not scale > 0:
        raise UserError(f"training forces must not all be zero, those of {frames.name} are; check the file")
    if checkpoint:
        if unknown := [chemical_symbols[number] for number in elements if number not in checkpoint.elements]:
            raise UserError(
                f"init must know the elements of the frames, {settings.init} lacks {', '.join(unknown)}; start from "
                "a model that was trained on them"
            )
        return checkpoint
    name, changes = settings.model, recipe.changes(settings.params != "auto", settings.depth)
    if saved and "network" in saved:  # whatever a version makes of these settings
        elements = tuple(saved.get("elements", elements))
        config = FORCE_FIELDS.family(name).Config(**saved["network"])
    elif settings.params == "auto":
        config = force_fields.default_config(name, **changes)
    else:
        config = force_fields.config_for(name, settings.params, elements, **changes)
    potential = force_fields.build(name, config, elements, settings.seed)
    potential.scale.fill_(scale)
    return Start(potential, config, elements)


def of_checkpoint(settings: ForceFieldSettings) -> Start:
    """The network that `init` names: the id of a run, the folder of a model, or a file of the model's own package.

    Raises:
        UserError: if there is none, or it is of another model.
    """
    family, path = FORCE_FIELDS.family(settings.model), user_path(settings.init)
    if path.is_file():
        if not hasattr(family, "imported"):
            raise UserError(f"init must be no file for model={settings.model}, got {path}; give a run or a folder")
        found = Start(*family.imported(path))
        for name, value in getattr(family.Config, "keywords", {}).items():
            if (other := getattr(found.config, name)) != value:
                raise UserError(
                    f"init must be a {settings.model}, whose {name} is {value}, got {path} with {other}; give "
                    f"model={settings.model.partition('-')[0]}"
                )
        return found
    with TemporaryDirectory() as temporary:
        potential, record = force_fields.load(folder_of(settings.init, temporary))
    if record["model"] != settings.model:
        raise UserError(
            f"init must be a checkpoint of {settings.model}, {settings.init} is one of {record['model']}; "
            f"give model={record['model']}"
        )
    return Start(potential.train(), family.Config(**record["config"]), tuple(record["elements"]))


def starting_reference(
    frames: FrameSplit, saved: Mapping[str, Any] | None, checkpoint: Start | None, device: torch.device
) -> tuple[ReferenceEnergies, tuple[str, ...]]:
    """What is subtracted from energies: the reference of the training frames, beyond what a checkpoint tells of them.

    Returns:
        It, and notes for a reader.
    """
    train = frames.train
    if saved and "reference" in saved:
        return ReferenceEnergies.from_record(saved["reference"]), fit_reference(train)[1]
    if checkpoint:
        potential = checkpoint.potential.to(device).eval()
        ready = on_device(train, potential.cutoff, ReferenceEnergies(0.0), device, potential.scale.dtype)
        train = replace(train, energies=train.energies - energies_of(potential, ready))
        potential.train()
    return fit_reference(train)


def folder_of(init: str, temporary: str) -> Path:
    """Where the checkpoint lies, perhaps in `temporary`."""
    path = user_path(init)
    if path.is_dir():
        return path / "model" if (path / "model" / "config.json").is_file() else path
    return fetch_model(init, temporary, "init")
