"""Runs drawn from random laws that are known, to measure how often intervals hold the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from chemscale_bench.scaling.base import ScalingLaw
from chemscale_bench.scaling.bootstrap import Method
from chemscale_bench.scaling.forms import Array
from chemscale_bench.scaling.laws import BrokenPowerLaw, JointLaw, PowerLaw, PowerLawWithFloor

Points = Literal["few", "many"]


class Planted(NamedTuple):
    """A law, the truth in it, and runs drawn from it."""

    law: ScalingLaw
    """Not fitted yet."""
    truth: dict[str, float]
    """Parameters to be recovered."""
    curve: Callable[..., Array]
    """The true loss at given sizes."""
    sizes: tuple[Array, ...]
    """One array (n,) for each feature."""
    loss: Array
    """(n,), the curve with noise."""


def plant(kind: str, points: Points, random: np.random.Generator, noise: float = 0.01) -> Planted:
    """Draw a law of a kind (`KINDS`), sizes, and losses with log-normal noise of relative size `noise`."""
    law, truth, curve, sizes = KINDS[kind](points == "few", random)
    repeats = int(random.integers(1, 4)) if len(sizes) == 1 else 1
    sizes = tuple(np.repeat(column, repeats) for column in sizes)
    loss = curve(*sizes) * np.exp(noise * random.normal(size=len(sizes[0])))
    return Planted(law, truth, curve, sizes, loss)


Draw = tuple[ScalingLaw, dict[str, float], Callable[..., Array], tuple[Array, ...]]


def _ladder(few: bool, random: np.random.Generator, low: tuple[int, int], high: tuple[int, int]) -> Array:
    count = int(random.integers(*(low if few else high)))
    ladder: Array = np.geomspace(1e6, 1e6 * 10 ** random.uniform(2, 4), count)
    return ladder


def _power(few: bool, random: np.random.Generator) -> Draw:
    x = _ladder(few, random, (4, 8), (8, 20))
    exponent = random.uniform(0.05, 0.5)
    return PowerLaw(), {"exponent": exponent}, lambda x: 2 * (x / 1e6) ** -exponent, (x,)


def _floor(few: bool, random: np.random.Generator) -> Draw:
    x = _ladder(few, random, (6, 9), (9, 20))
    exponent, share = random.uniform(0.25, 0.6), random.uniform(0.3, 0.7)
    truth = {"exponent": exponent, "irreducible": share}
    return PowerLawWithFloor(), truth, lambda y: share + (1 - share) * (y / x[-1]) ** -exponent, (x,)


def _joint(few: bool, random: np.random.Generator) -> Draw:
    counts = (4, 5) if few else random.integers(6, 9, size=2)
    params, tokens = (np.geomspace(1, 10 ** random.uniform(2, 3), count) for count in counts)
    alpha, beta = random.uniform(0.25, 0.5, size=2)
    share, split = random.uniform(0.3, 0.6), random.uniform(0.35, 0.65)

    def curve(n: Array, d: Array) -> Array:
        reducible: Array = split * (n / 1e6 / params[-1]) ** -alpha + (1 - split) * (d / 1e8 / tokens[-1]) ** -beta
        return share + (1 - share) * reducible

    grid = np.meshgrid(1e6 * params, 1e8 * tokens)
    truth = {"params_exponent": alpha, "tokens_exponent": beta, "irreducible": share}
    return JointLaw(), truth, curve, (grid[0].ravel(), grid[1].ravel())


def _broken(few: bool, random: np.random.Generator, breaks: Literal[1, 2] = 1) -> Draw:
    x = np.geomspace(1e4, 1e4 * 10 ** random.uniform(4, 5), int(random.integers(*((12, 16) if few else (18, 30)))))
    places = np.quantile(x, [random.uniform(0.35, 0.65)] if breaks == 1 else [0.3, 0.7])
    changes = random.uniform(0.2, 0.4, size=breaks) * (1, -1)[:breaks]
    exponent, width = random.uniform(0.05, 0.2), 0.3

    def curve(x: Array) -> Array:
        loss: Array = 3 * (x / 1e4) ** -exponent
        for place, change in zip(places, changes, strict=True):
            loss = loss * (1 + (x / place) ** (1 / width)) ** (-change * width)
        return loss

    truth = {"exponent": exponent}
    for i, (place, change) in enumerate(zip(places, changes, strict=True), 1):
        truth |= {f"change_{i}": change, f"break_{i}": place}
    return BrokenPowerLaw(breaks, floor=False), truth, curve, (x,)


KINDS: dict[str, Callable[[bool, np.random.Generator], Draw]] = {
    "power law": _power,
    "power law with floor": _floor,
    "joint law": _joint,
    "broken law": _broken,
    "broken law, 2 breaks": lambda few, random: _broken(few, random, 2),
}


def coverage(
    kind: str, points: Points, laws: int, seed: int = 0, replicates: int = 400, method: Method = "auto"
) -> dict[str, float]:
    """Share of `laws` random laws whose truth lies in its 90 % interval: for each parameter, and for predictions.

    Predictions are asked for at the largest size and at ten times that size. A law whose data cannot tell it counts
    as `refused` and not as covered or missed.
    """
    random = np.random.default_rng(seed)
    held: dict[str, list[bool]] = {}
    refused = 0
    for _ in range(laws):
        planted = plant(kind, points, random)
        law = planted.law.set_params(replicates=replicates, bootstrap=method, on_flat="nan")
        law.fit(*planted.sizes, planted.loss)
        refused += bool(law.unidentified_)
        for name, value in planted.truth.items():
            if name not in law.unidentified_:
                low, high = law.confidence_interval(name)
                held.setdefault(name, []).append(bool(low <= value <= high))
        for name, factor in (("at the largest size", 1.0), ("at ten times that", 10.0)):
            sizes = [np.array([factor * column.max()]) for column in planted.sizes]
            low, high = law.predict_interval(*sizes)
            held.setdefault(name, []).append(bool(low[0] <= planted.curve(*sizes)[0] <= high[0]))
    return {name: float(np.mean(values)) for name, values in held.items()} | {"refused": refused / laws}
