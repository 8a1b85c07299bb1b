"""The models by name. A new model is one file of this folder and one line here.

models/language_models.py and models/force_fields.py say what the file has to declare.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from chemscale_bench.errors import UserError

TOLERANCE = 0.05  # of the requested number of parameters


@dataclass(frozen=True)
class Registry:
    """The models of a kind: their modules by name, imported only when asked for."""

    modules: dict[str, str]

    def __contains__(self, name: str) -> bool:
        return name in self.modules

    def check(self, name: str) -> None:
        """Refuse a model that is not there.

        Raises:
            UserError: naming the nearest model.
        """
        if name not in self.modules:
            near = difflib.get_close_matches(name, self.modules, n=1)
            hint = f"did you mean {near[0]}?" if near else "choose one of them"
            raise UserError(f"model must be one of {', '.join(self.modules)}, got {name!r}; {hint}")

    def family(self, name: str) -> Any:
        """The module of a model."""
        self.check(name)
        return import_module(self.modules[name])

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
    {name: f"chemscale_bench.models.{name}" for name in ("schnet", "painn", "mace", "spookynet", "allegro")}
)
