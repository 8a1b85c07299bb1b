"""Which runs tell most about a law, or about one large run, for what they cost: numbers alone, nothing is trained.

To first order the runs of a design leave a Gaussian belief (belief.py) with a known covariance, before anything is
measured (Bayesian optimal design: Chaloner and Verdinelli 1995).

Shapes: P = 7 parameters, S sizes, T data sizes, K candidate runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chemscale_bench.errors import UserError
from chemscale_bench.scaling.belief import Belief, Target, relevance
from chemscale_bench.scaling.forms import Array

FEWEST_SIZES = 4
"""A law needs three; with a fourth a size that is off the curve can be told."""
MOST_SEEDS = 5
"""Of a size; beyond, its own distance from the law is what limits."""
EXPENSIVE, MOST_STARTS, MOST_STEPS = 0.05, 16, 1500
"""Share of the budget from which on a run is also tried as the first choice, and how many are: cheap ones would crowd
it out. Of a design of hundreds of runs fewer are tried, so that all together choose so many: planning stays a matter of
seconds, and one run more or less matters less there."""


class Cell(NamedTuple):
    """A run that may be made."""

    params: float
    data: tuple[float, ...]
    """Tokens (or frames) at which its loss is measured."""
    cost: float
    """In any unit: seconds, FLOPs."""


class TooSmallError(UserError):
    """A budget is too small for three sizes.

    Args:
        missing: the cheapest runs of the sizes that there are to add.
        budget: what there is.
    """

    def __init__(self, missing: Sequence[Cell], budget: float) -> None:
        self.missing, needed = missing, sum(cell.cost for cell in missing)
        self.needed, self.longest = needed, max((cell.cost for cell in missing), default=0.0)
        super().__init__(
            f"a study needs three sizes at least, the next {len(missing)} take {needed:.3g}, got a budget of "
            f"{max(0.0, budget):.3g}; give it more, or smaller sizes or data"
        )


class Design(NamedTuple):
    """Runs to make."""

    counts: dict[int, int]
    """How often each candidate is made, from another seed each time; by its place."""
    cost: float
    uncertainty: float
    """`Belief.uncertainty` of what is asked, once they are made."""

    def cells(self, candidates: Sequence[Cell]) -> list[Cell]:
        """The runs, the cheapest first."""
        chosen = [candidates[place] for place, count in self.counts.items() for _ in range(count)]
        return sorted(chosen, key=lambda cell: (cell.cost, cell.params))


def choose(
    candidates: Sequence[Cell], budget: float, belief: Belief, target: Target = "exponent",
    made: Sequence[Cell] = (), longest: float = np.inf,
) -> Design:  # fmt: skip
    """The runs within a budget that tell most about the target.

    Runs are added one by one, each the one that takes most uncertainty away for its cost. Because that never saves for
    an expensive one, it is tried with each of those as the first choice, too, and the best of these designs is taken.

    Args:
        candidates: what can be run; each may be made from several seeds.
        budget: for all of them, in the unit of their costs.
        belief: the prior; what `made` runs measured may have moved its middle, but not narrowed it.
        target: what is asked.
        made: runs that are made or under way.
        longest: what one run may cost: of several workers each has only so much time.

    Raises:
        UserError: if the budget is too small for three sizes.

    Example:
        >>> from chemscale_bench.scaling.belief import prior
        >>> from chemscale_bench.scaling.design import Cell, choose
        >>> sizes, tokens = (1e4, 3e4, 1e5, 3e5, 1e6), (1e5, 3e5, 1e6, 3e6)
        >>> cells = [Cell(n, tokens[: k + 1], n * tokens[k]) for n in sizes for k in range(4)]
        >>> design = choose(cells, 1e13, prior("language_model", 1e5, 1e6))
        >>> 0.9e13 < design.cost <= 1e13
        True
    """
    plan = _Plan(candidates, budget, belief, target, made, longest)
    designs = [plan.extend(start) for start in ([], plan.three_sizes())]
    expensive = np.flatnonzero((plan.cost >= EXPENSIVE * budget) & (plan.cost <= plan.longest))
    most = min(MOST_STARTS, MOST_STEPS // max(1, sum(designs[0].counts.values())))
    if len(expensive) > most:
        expensive = expensive[np.linspace(0, len(expensive) - 1, most).astype(int)]
    designs += [plan.extend([int(place)]) for place in expensive]
    enough = [design for design in designs if plan.sizes_of(design) >= min(3, plan.most_sizes)]
    return min(enough, key=lambda design: design.uncertainty)


def expected(made: Sequence[Cell], belief: Belief) -> Belief:
    """A belief with the precision that some runs leave, whatever they will measure."""
    plan = _Plan([], 0.0, belief, "exponent", made, np.inf)
    told = sum((plan.told(size, runs) for size, runs in enumerate(plan.made)), np.zeros_like(belief.precision))
    return belief._replace(precision=belief.precision + told)


class _Plan:
    """The tables behind `choose`."""

    def __init__(
        self, candidates: Sequence[Cell], budget: float, belief: Belief, target: Target, made: Sequence[Cell],
        longest: float,
    ) -> None:  # fmt: skip
        self.budget, self.belief, self.target, self.longest = budget, belief, target, min(longest, budget)
        self.candidates, self.cost = candidates, np.array([cell.cost for cell in candidates])
        self.reach = np.array([cell.params * max(cell.data) for cell in candidates])
        self.sizes, self.of_size = np.unique([cell.params for cell in [*candidates, *made]], return_inverse=True)
        self.data = sorted({value for cell in [*candidates, *made] for value in cell.data})
        covers = np.array([np.isin(self.data, cell.data) for cell in [*candidates, *made]], dtype=float)
        overlaps = covers[:, :, None] * covers[:, None, :]
        self.made = np.zeros((len(self.sizes), len(self.data), len(self.data)))
        np.add.at(self.made, self.of_size[len(candidates) :], overlaps[len(candidates) :])
        self.of_size, self.overlaps = self.of_size[: len(candidates)], overlaps[: len(candidates)]
        self.most = max([cell.params * max(cell.data) for cell in made], default=1.0)
        largest = max([self.most, *self.reach[self.cost <= self.longest]])
        self.gradient = np.array(
            [
                belief.gradient(np.full(len(self.data), size), self.data)
                * relevance(size, np.array(self.data), largest)[:, None]
                for size in self.sizes
            ]
        )
        self.furthest = np.array([self.data.index(max(cell.data)) for cell in candidates], dtype=int)
        self.most_sizes = len(self.sizes)

    def told(self, size: int | NDArray[np.intp], runs: Array) -> Array:
        """The precision (..., P, P) that runs (..., T, T) of a size add."""
        gradient = self.gradient[size]
        return np.asarray(np.swapaxes(gradient, -1, -2) @ self.belief.noise.weight(runs) @ gradient)

    def sizes_of(self, design: Design) -> int:
        """How many sizes there are with a design."""
        return len({*np.flatnonzero(self.made.any(axis=(1, 2))), *self.of_size[list(design.counts)]})

    def three_sizes(self) -> list[int]:
        """The cheapest candidates that make the sizes three; a budget that is too small for them is refused."""
        known = np.flatnonzero(self.made.any(axis=(1, 2)))
        missing = max(0, min(3, self.most_sizes) - len(known))
        new = [size for size in np.unique(self.of_size) if size not in known]
        places = [int(min(np.flatnonzero(self.of_size == size), key=lambda place: self.cost[place])) for size in new]
        places = sorted(places, key=lambda place: float(self.cost[place]))[:missing]
        if self.cost[places].sum() > self.budget or any(self.cost[place] > self.longest for place in places):
            raise TooSmallError([self.candidates[place] for place in places], self.budget)
        return places

    def extend(self, first: list[int]) -> Design:
        """The design that begins with some candidates and takes what helps most for its cost."""
        runs = self.made.copy()
        chosen: list[list[int]] = [[] for _ in self.sizes]  # candidates, the cheapest first
        left, waiting = self.budget, list(first)
        told = np.array([self.told(size, each) for size, each in enumerate(runs)])
        with_one_more, extra = np.empty((len(self.cost), *self.belief.precision.shape)), np.empty(len(self.cost))

        def offer(size: int) -> None:
            """What each candidate of a size would tell, and cost, next."""
            same = np.flatnonzero(self.of_size == size)
            full, shortest = np.diagonal(runs[size]).max() >= MOST_SEEDS, chosen[size][:1]
            replaces = full and bool(shortest)
            base = runs[size] - self.overlaps[shortest[0]] if replaces else runs[size]
            with_one_more[same] = self.told(self.of_size[same], base + self.overlaps[same])
            extra[same] = self.cost[same] - (self.cost[shortest[0]] if replaces else 0.0)
            # A size that has all its seeds may still report further, and a short run of the design be a longer one.
            reported = runs[size][self.furthest[same], self.furthest[same]]
            extra[same[(reported >= MOST_SEEDS) | (extra[same] <= 0)]] = np.inf

        for size in range(len(self.sizes)):
            offer(size)
        while True:
            precision = self.belief.precision + told.sum(axis=0)
            largest = np.array([max([self.most, *(self.reach[place] for each in chosen for place in each)])])
            now = self.belief.uncertainty(precision[None], self.target, largest)
            if waiting:
                place = waiting.pop()
            else:
                fits = (self.cost <= self.longest) & (extra <= left)
                seen = np.diagonal(runs, axis1=1, axis2=2).max(axis=1) > 0
                new = fits & ~seen[self.of_size]
                if np.count_nonzero(seen) < FEWEST_SIZES and new.any():
                    fits = new
                places = np.flatnonzero(fits)
                if not len(places):
                    break
                after = precision + with_one_more[places] - told[self.of_size[places]]
                then = self.belief.uncertainty(after, self.target, np.maximum(largest, self.reach[places]))
                place = int(places[np.argmax((now - then) / extra[places])])
            size = int(self.of_size[place])
            if np.diagonal(runs[size]).max() >= MOST_SEEDS and chosen[size]:
                runs[size] -= self.overlaps[chosen[size].pop(0)]
            left -= float(extra[place])
            chosen[size] = sorted([*chosen[size], place], key=lambda each: self.cost[each])
            runs[size] += self.overlaps[place]
            told[size] = self.told(size, runs[size])
            offer(size)
        counts = Counter(place for each in chosen for place in each)
        spent = self.budget - left
        return Design(dict(counts), spent, float(now[0]))
