"""The force fields by name, their ladders of sizes, and their checkpoints.

A model is one file with a frozen dataclass `Config` (`layers`, `width`, then what else it has, with defaults), a
`Potential` called `Network` that is made from a config and the atomic numbers it knows, `layers_for(params)`, the depth
of its ladder, `WIDTH_STEP`, what widths are multiples of, and `PEAK_RATE`, a learning rate and the width where it was
found.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from chemscale_bench.errors import UserError
from chemscale_bench.models.potential import Potential

NAMES = ("schnet", "painn", "mace", "spookynet", "allegro")
STACKED = ("schnet", "painn")  # those that many can be trained of at once
TOLERANCE = 0.05  # of the requested number of parameters
WIDTHS = (*range(4, 64), *range(64, 1025, 4))  # steps small enough for small sizes to come within the tolerance


def check_name(name: str) -> None:
    """Refuse a model that is not there.

    Raises:
        UserError: naming the nearest model.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else "choose one of them"
        raise UserError(f"model must be one of {', '.join(NAMES)}, got {name!r}; {hint}")


def check_stacked(parameter: str, number: int, name: str) -> None:
    """Refuse to train many models of a kind at once that can't be stacked, for a parameter that asks for it."""
    if name not in STACKED:
        raise UserError(
            f"{parameter}={number} needs a model that can be stacked, got model={name}; "
            f"choose {' or '.join(STACKED)}, or leave {parameter} out"
        )


def family(name: str) -> Any:
    """The module of a model."""
    check_name(name)
    return import_module(f"chemscale_bench.models.{name}")


def build(name: str, config: Any, elements: tuple[int, ...], seed: int) -> Potential:
    """A fresh network; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Potential = family(name).Network(config, elements)
    return network


def default_config(name: str, **changes: Any) -> Any:
    """The default config of a model, with fields changed."""
    return replace(family(name).Config(), **changes)


@cache
def size_polynomial(name: str, elements: tuple[int, ...], **config: Any) -> np.poly1d:
    """Non-embedding parameters as a function of the width: a quadratic in all of these models, from three builds."""
    widths = np.array([8, 16, 32])
    sizes = [
        build(name, default_config(name, width=int(width), **config), elements, seed=0).non_embedding_params
        for width in widths
    ]
    return np.poly1d(np.rint(np.polyfit(widths, sizes, 2) * 1e6) / 1e6)


def config_for(name: str, params: int, elements: tuple[int, ...], **changes: Any) -> Any:
    """The config of a model's ladder whose non-embedding parameters are within 5 % of `params`.

    Args:
        name: of the model.
        params: requested number of non-embedding parameters.
        elements: atomic numbers that the network has to know.
        changes: other fields of the config, such as `cutoff`.

    Raises:
        UserError: if no width comes within 5 %; the message names the nearest sizes.
    """
    config = {"layers": family(name).layers_for(params)} | changes
    size = size_polynomial(name, elements, **config)
    nearest = sorted(
        (width for width in WIDTHS if width % family(name).WIDTH_STEP == 0), key=lambda w: abs(size(w) - params)
    )
    if abs(size(nearest[0]) / params - 1) > TOLERANCE:
        raise UserError(
            f"params must be within 5 % of a size that {name} has, got {params:,}; the nearest are "
            f"{' and '.join(f'{round(size(width)):,}' for width in sorted(nearest[:2]))}"
        )
    return default_config(name, width=nearest[0], **config)


def save(
    folder: Path, name: str, network: Potential, config: Any, elements: tuple[int, ...], about: dict[str, Any]
) -> None:
    """Write `model.safetensors` and `config.json`; `about` holds plain values such as the reference energy."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / "model.safetensors")
    record = {"model": name, "config": asdict(config), "elements": list(elements), **about}
    (folder / "config.json").write_text(json.dumps(record, indent=1))


def load(folder: Path) -> tuple[Potential, dict[str, Any]]:
    """A network from its checkpoint, and its `config.json`; nothing in either is executed.

    Raises:
        UserError: if the folder does not hold a checkpoint of ours.
    """
    try:
        record: dict[str, Any] = json.loads((folder / "config.json").read_text())
        name, elements = record["model"], tuple(record["elements"])
        network = build(name, family(name).Config(**record["config"]), elements, seed=0)
        weights = load_file(folder / "model.safetensors")
        network.to(weights["scale"].dtype).load_state_dict(weights)
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        problem = str(error).splitlines()[0]
        raise UserError(
            f"a force field must be a folder with config.json and model.safetensors of one model, got {folder} "
            f"({problem}); take the `model` artifact of a run"
        ) from None
    return network, record
