"""The models by name: ours, and those of installed packages.

A new model of ours is one file of this folder and one line here. A package adds one by an entry point of the group
`chemscale_bench.force_fields` or `chemscale_bench.language_models`: the model's name, and its module. Names are read
from metadata alone; nothing of a package is imported until its model is asked for.
models/language_models.py and models/force_fields.py say what the module has to declare.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, is_dataclass
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

from chemscale_bench.errors import UserError, did_you_mean, first_line

TOLERANCE = 0.05  # of the requested number of parameters
GROUPS = ("chemscale_bench.language_models", "chemscale_bench.force_fields")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")  # as in entries of the leaderboard


@cache
def installed() -> dict[str, list[EntryPoint]]:
    """What installed packages declare, by the name of the model."""
    found: dict[str, list[EntryPoint]] = {}
    for group in GROUPS:
        for point in entry_points(group=group):
            found.setdefault(point.name, []).append(point)
    return found


def package_of(name: str) -> dict[str, str]:
    """The package that adds a model, and its version; empty for ours."""
    return {point.dist.name: point.dist.version for point in installed().get(name, []) if point.dist}


@dataclass(frozen=True)
class Registry:
    """The models of a kind, imported only when asked for."""

    modules: dict[str, str]
    """Ours, by name."""
    group: str
    """Entry points of packages that add more."""
    declared: tuple[str, ...]
    """What the module of a model has to have."""
    degrees: dict[str, int] = field(default_factory=dict)
    """Of equivariant models the largest degree l that they may have; `nequip-l2` is nequip with another than its own,
    so that each is a model of its own in studies and on the board."""

    @property
    def of_degrees(self) -> list[str]:
        """Ours with a degree in the name."""
        return [f"{name}-l{degree}" for name, most in self.degrees.items() for degree in range(most + 1)]

    @property
    def names(self) -> list[str]:
        """All of this kind but those with a degree in the name: ours first."""
        added = [name for name, points in installed().items() if any(point.group == self.group for point in points)]
        return [*self.modules, *sorted(set(added) - our_names())]

    def __contains__(self, name: str) -> bool:
        return name in self.names or name in self.of_degrees

    def check(self, name: str) -> None:
        """Refuse a model that is not there, or that more than one package has.

        Raises:
            UserError: naming the nearest model, or the packages.
        """
        points = installed().get(name, [])
        ours = ["chemscale-bench"] if name in our_names() else []
        if points and len(points) + len(ours) > 1:
            packages = sorted({f"the package {package}" for package in package_of(name)})
            who = " and ".join([*ours, *packages])
            raise UserError(f"a model must have a name of its own, {name} is declared by {who}; uninstall the package")
        if name not in self:
            if any(point.group != self.group for point in points) or name in our_names():
                words = ("force field", "-ff", "forcefield"), ("language model", "-lm", "language")
                kind, end, verb = words[GROUPS.index(self.group)]
                raise UserError(
                    f"model must be one of {', '.join(self.names)} here, {name} is a {kind}; for it give a task whose "
                    f"name ends with {end}, to the verb {verb}, tune or study"
                )
            hint = did_you_mean(name, [*self.names, *self.of_degrees], "choose one of them,")
            raise UserError(
                f"model must be one of {', '.join(self.names)}, got {name!r}; {hint} or install the package "
                "that adds it"
            )
        if not NAME.fullmatch(name):
            raise UserError(
                f"the name of a model must be of a-z, 0-9 and -, the package {', '.join(package_of(name))} declares "
                f"{name!r}; rename it there"
            )

    def family(self, name: str) -> Any:
        """What a model declares: its module, or that with another degree in its `Config`.

        Raises:
            UserError: if there is none, or the package that adds it does not work.
        """
        self.check(name)
        if name in self.modules:
            return import_module(self.modules[name])
        if name not in self.of_degrees:
            return load(name, self.declared)
        base, degree = name.split("-l")
        module = import_module(self.modules[base])
        config = partial(module.Config, **{module.DEGREE: int(degree)})
        there = getattr(module, "AT_DEGREE", {}).get(int(degree), {})
        return SimpleNamespace(**vars(module) | there | {"Config": config})

    def ours(self) -> dict[str, Any]:
        """The modules of our own models, by name."""
        return {name: import_module(module) for name, module in self.modules.items()}

    def check_stacked(self, parameter: str, number: int, name: str) -> None:
        """Refuse to train many models of a kind at once that can't be stacked, for a parameter that asks for it.

        Raises:
            UserError: naming those that can.
        """
        if not self.family(name).STACKED:
            stacked = [other for other, module in self.ours().items() if module.STACKED]
            raise UserError(
                f"{parameter}={number} needs a model that can be stacked, got model={name}; "
                f"choose {' or '.join(stacked)}, or leave {parameter} out"
            )


@cache
def load(name: str, declared: tuple[str, ...]) -> Any:
    """Import the module of an installed package's model.

    Raises:
        UserError: naming the package, if that fails or the module lacks something.
    """
    (point,) = installed()[name]
    package = f"the package {', '.join(package_of(name))}"
    try:
        module = point.load()
    except Exception as error:  # whatever somebody else's code raises
        reason = first_line(error)
        raise UserError(
            f"model {name} must be a module that can be imported, {point.value} of {package} can't ({reason}); install "
            "what it needs, or uninstall it"
        ) from error
    missing = [wanted for wanted in declared if not has(module, wanted)]
    if missing:
        raise UserError(
            f"model {name} must declare {', '.join(missing)}, {point.value} of {package} does not; add it there"
        )
    if not (isinstance(module.Config, type) and is_dataclass(module.Config)):
        raise UserError(f"Config must be a dataclass, {point.value} of {package} has another; change it there")
    if not (isinstance(rate := getattr(module, "PEAK_RATE", (1, 1)), tuple) and len(rate) == 2):
        raise UserError(
            f"PEAK_RATE must be a learning rate and its width or None, {point.value} of {package} has {rate!r}; change "
            "it there"
        )
    if module.STACKED and getattr(module.Network, "DIRECT", False):
        raise UserError(
            f"STACKED must be False where Network.DIRECT is True, {point.value} of {package} has both; change it there"
        )
    if getattr(module, "MODEL_TYPE", name) != name:
        raise UserError(
            f"MODEL_TYPE of a package's model must be its name, {name}, got {module.MODEL_TYPE!r} in {point.value} of "
            f"{package}; change it there"
        )
    return module


def has(module: Any, wanted: str) -> bool:
    """Whether a module declares a name; `Config.width` is a field with a default."""
    try:
        attrgetter(wanted)(module)
    except AttributeError:
        return False
    return True


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


LANGUAGE_MODELS = Registry(
    {name: f"chemscale_bench.models.{name}" for name in ("chemgpt", "llama", "lstm")},
    GROUPS[0],
    (
        *("TITLE", "MODEL_TYPE", "STACKED", "OPTIONS", "CONFIG_KEYS", "Config", "Network", "config_for", "stated"),
        *("build", "untrained", "parameter_groups", "check_gpu", "save_pretrained", "load_pretrained", "sizes_of"),
        "weight_bytes",
    ),
)
FORCE_FIELDS = Registry(
    {name: f"chemscale_bench.models.{name}" for name in ("schnet", "painn", "mace", "spookynet", "allegro", "nequip")},
    GROUPS[1],
    ("Config.layers", "Config.width", "Config.cutoff", "Network", "layers_for", "PEAK_RATE", "STACKED", "WIDTH_STEP"),
    degrees={"mace": 2, "allegro": 3, "nequip": 2},
)


def our_names() -> set[str]:
    """All names of the models of this package."""
    return {name for kind in (LANGUAGE_MODELS, FORCE_FIELDS) for name in (*kind.modules, *kind.of_degrees)}
