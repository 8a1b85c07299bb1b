"""The models by name. A new model is one file of this folder and one line here.

models/language_models.py and models/force_fields.py say what the file has to declare.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from chemscale_bench.errors import UserError

TOLERANCE = 0.05  # of the requested number of parameters


@dataclass(frozen=True)
class Registry:
    """The models of a kind: their modules by name, imported only when asked for."""

    modules: dict[str, str]
    degrees: dict[str, int] = field(default_factory=dict)
    """Of equivariant models the largest degree l that they may have; `nequip-l2` is nequip with another than its own,
    so that each is a model of its own in studies and on the board."""

    def __contains__(self, name: str) -> bool:
        return name in self.names

    @property
    def names(self) -> list[str]:
        """All of them."""
        equivariant = [f"{name}-l{degree}" for name, most in self.degrees.items() for degree in range(most + 1)]
        return [*self.modules, *equivariant]

    def check(self, name: str) -> None:
        """Refuse a model that is not there.

        Raises:
            UserError: naming the nearest model.
        """
        if name not in self:
            near = difflib.get_close_matches(name, self.names, n=1)
            hint = f"did you mean {near[0]}?" if near else "choose one of them"
            raise UserError(f"model must be one of {', '.join(self.modules)}, got {name!r}; {hint}")

    def family(self, name: str) -> Any:
        """What a model declares: its module, or that with another degree in its `Config`."""
        self.check(name)
        if name in self.modules:
            return import_module(self.modules[name])
        base, degree = name.split("-l")
        module = import_module(self.modules[base])
        config = partial(module.Config, **{module.DEGREE: int(degree)})
        return SimpleNamespace(**vars(module) | {"Config": config})

    def check_stacked(self, parameter: str, number: int, name: str) -> None:
        """Refuse to train many models of a kind at once that can't be stacked, for a parameter that asks for it.

        Raises:
            UserError: naming those that can.
        """
        if not self.family(name).STACKED:
            stacked = [other for other in self.modules if self.family(other).STACKED]
            raise UserError(
                f"{parameter}={number} needs a model that can be stacked, got model={name}; "
                f"choose {' or '.join(stacked)}, or leave {parameter} out"
            )


class SizeError(UserError):
    """A model has no size near the one that is wanted."""


def check_size(params: int, sizes: list[int], who: str) -> None:
    """Refuse a number of parameters that no size comes within 5 % of.

    Raises:
        SizeError: naming the nearest sizes.
    """
    near = sorted(set(sizes), key=lambda size: abs(size - params))[:2]
    if abs(near[0] / params - 1) > TOLERANCE:
        raise SizeError(
            f"params must be within 5 % of a size that {who} has, got {params:,}; the nearest are "
            f"{' and '.join(f'{size:,}' for size in sorted(near))}"
        )


LANGUAGE_MODELS = Registry({name: f"chemscale_bench.models.{name}" for name in ("chemgpt", "llama", "lstm")})
FORCE_FIELDS = Registry(
    {name: f"chemscale_bench.models.{name}" for name in ("schnet", "painn", "mace", "spookynet", "allegro", "nequip")},
    degrees={"mace": 2, "allegro": 3, "nequip": 2},
)
