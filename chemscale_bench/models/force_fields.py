"""What a force field declares in its one file of models/, their ladders of sizes, and their checkpoints.

- `Config`, a frozen dataclass (`layers`, `width`, then what else it has, with defaults);
- `Network`, a `Potential` that is made from a config and the atomic numbers it knows;
- `layers_for(params)`, the depth of its ladder, and `WIDTH_STEP`, what widths are multiples of;
- `PEAK_RATE`, a learning rate and the width where it was found, with the root of which it falls; None instead of the
  width if weights have unit variance and are divided by the root of their fan-in when they are used: then the rate is
  that of every width;
- `STACKED`, whether many can be trained as one (training/stacked.py);
- `PAPER`, if it likes, what its paper trained rMD17 with: fields of `Recipe` (models/force_recipe.py);
- of its `Network`, if it likes, `DIRECT = True`: then `forward` gives energies and forces, and runs and the board say
  that the forces are predicted (the shortest one is in `tests/models/toy_direct.py`);
- `imported(path)`, if there are checkpoints of its own package's: network, config and atomic numbers of such a file;
- `DEGREE`, of equivariant models, the field of `Config` that has their largest degree l, and `AT_DEGREE`, if it likes,
  what they declare otherwise at some degree.

models/registry.py has their names.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from chemscale_bench.errors import UserError, first_line
from chemscale_bench.models.potential import Potential
from chemscale_bench.models.registry import FORCE_FIELDS, check_size

WIDTHS = (*range(4, 64), *range(64, 1025, 4))  # steps small enough for small sizes to come within the tolerance


def build(name: str, config: Any, elements: tuple[int, ...], seed: int) -> Potential:
    """A fresh network; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Potential = FORCE_FIELDS.family(name).Network(config, elements)
    return network


def default_config(name: str, **changes: Any) -> Any:
    """The default config of a model, with fields changed."""
    return replace(FORCE_FIELDS.family(name).Config(), **changes)


@cache
def size_of(name: str, width: int, elements: tuple[int, ...], **config: Any) -> int:
    """Non-embedding parameters of a width, from a build."""
    return build(name, default_config(name, width=width, **config), elements, seed=0).non_embedding_params


@cache
def size_polynomial(name: str, elements: tuple[int, ...], **config: Any) -> np.poly1d:
    """Non-embedding parameters as a function of the width, from three builds: a quadratic in all models of ours.

    But for PaiNN and SchNet of odd widths, whose last layers are of half the width, rounded down: .03 % less.
    """
    widths = first_widths(name)[:3]
    sizes = [size_of(name, width, elements, **config) for width in widths]
    return np.poly1d(np.rint(np.polyfit(widths, sizes, 2) * 1e6) / 1e6)


def first_widths(name: str) -> list[int]:
    """Four small widths of a model."""
    step = FORCE_FIELDS.family(name).WIDTH_STEP
    return [-(-8 // step) * step * factor for factor in (1, 2, 4, 3)]


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
    config = {"layers": FORCE_FIELDS.family(name).layers_for(params)} | changes
    widths = [width for width in WIDTHS if width % FORCE_FIELDS.family(name).WIDTH_STEP == 0]
    size, check = size_polynomial(name, elements, **config), first_widths(name)[3]
    if round(size(check)) == size_of(name, check, elements, **config):
        sizes = {width: round(size(width)) for width in widths}
    else:  # sizes grow otherwise: the two widths on either side, found by building networks, none far too large
        reach = 1
        while reach < len(widths) and size_of(name, widths[reach], elements, **config) < params:
            reach *= 2
        tried = widths[: reach + 1]
        above = bisect_left(tried, params, key=lambda width: size_of(name, width, elements, **config))
        sizes = {width: size_of(name, width, elements, **config) for width in tried[max(above - 1, 0) : above + 1]}
    check_size(params, list(sizes.values()), name)
    return default_config(name, width=min(sizes, key=lambda width: abs(sizes[width] - params)), **config)


def save(
    folder: Path, name: str, network: Potential, config: Any, elements: tuple[int, ...], about: dict[str, Any]
) -> None:
    """Write `model.safetensors` and `config.json`; `about` holds plain values such as the reference energy."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / "model.safetensors")
    record = {"model": name, "config": asdict(config), "elements": list(elements), **about}
    (folder / "config.json").write_text(json.dumps(record, indent=1))


def load(folder: Path) -> tuple[Potential, dict[str, Any]]:
    """A network from its checkpoint, for evaluation, and its `config.json`; nothing in either is executed.

    Raises:
        UserError: if the folder does not hold a checkpoint of ours.
    """
    try:
        record: dict[str, Any] = json.loads((folder / "config.json").read_text())
        name, elements = record["model"], tuple(record["elements"])
        make = FORCE_FIELDS.family(name).Config
        for what, value in getattr(make, "keywords", {}).items():
            if record["config"].get(what) != value:
                raise ValueError(f"{what} of {name} is {value}, not {record['config'].get(what)}")
        network = build(name, make(**record["config"]), elements, seed=0)
        weights = load_file(folder / "model.safetensors")
        network.to(weights["scale"].dtype).load_state_dict(weights)
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        problem = first_line(error)
        raise UserError(
            f"a force field must be a folder with config.json and model.safetensors of one model, got {folder} "
            f"({problem}); take the `model` artifact of a run"
        ) from None
    return network.eval(), record
