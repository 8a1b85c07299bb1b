"""Which trainings a scaling study makes: all of a grid, or those that tell most within a budget of time or FLOPs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from chemscale_bench import tasks
from chemscale_bench.errors import UserError
from chemscale_bench.models.force_recipe import Recipe
from chemscale_bench.runs.cells import Ended, Training, Tuned
from chemscale_bench.runs.kinds import HALF_DECADES, KINDS, OWN_FRAMES, model_of, usual_sizes
from chemscale_bench.runs.pace import Pace
from chemscale_bench.runs.too_small import too_small
from chemscale_bench.scaling.belief import Belief, Measured, prior
from chemscale_bench.scaling.design import Cell, TooSmallError, choose, expected
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.training.sharding import BYTES_PER_PARAM

FEWEST_TOKENS_PER_PARAM = 0.3
"""Below, a model of the design has hardly been trained."""
WIDE = 1.645
"""Standard deviations of half a 90 % interval."""
FARTHEST = 1e4
"""Times the largest training's compute to which a study may be asked to foretell: a judgement. Laws were tested a
decade beyond their runs (benchmarks/extrapolation.md); from there on intervals grow by a drift that nobody measured."""
BESIDES = 3.0
"""Seconds of a training for its records, validation and model, until some have been measured."""


class Planned(NamedTuple):
    """A training and what it should cost."""

    training: Training
    seconds: float
    flops: float


class StudyPlan:
    """What a study may train and what that costs.

    Args:
        settings: of the verb `study`.
        task: that they name.
        prints: whether the study prints what it is about to train and what it finds.
    """

    def __init__(self, settings: StudySettings, task: tasks.Task, prints: bool = True) -> None:
        self.settings, self.task, self.prints = settings, task, prints
        self.kind = KINDS[task.family]
        self.designed = bool(settings.hours or settings.flops)
        self.model = model_of(task, settings.model)
        typed = () if settings.params == "auto" else tuple(sorted(set(settings.params)))
        self.sizes = typed or usual_sizes(self.kind, self.model)
        self.paces: dict[int, Pace] = {}
        self.tuned: Tuned | None = None
        self.word = "tokens" if task.family == "language_model" else "frames"
        if isinstance(task, tasks.LanguageTask):
            self.data = tuple(task.budgets_up_to(settings.tokens))
        else:
            assert isinstance(task, tasks.ForceTask)
            self.data = task.budgets_frames if settings.train_size == "auto" else settings.train_size
            self.data = tuple(sorted(set(self.data)))

    def settings_of(self, training: Training) -> TrainingSettings:
        """What somebody would type for a training."""
        chosen = self.settings
        given: dict[str, Any] = {
            "task": chosen.task, "model": self.model, "params": training.params, "seed": training.seed,
            "data": chosen.data, "device": chosen.device, "experiment": chosen.experiment,
            "learning_rate": chosen.learning_rate,
        }  # fmt: skip
        if self.task.family == "language_model":
            names: tuple[str, ...] = ("vocabulary", "optimizer", "column")
            given |= {"tokens": training.data} | {name: getattr(chosen, name) for name in names}
        else:
            names = ("molecule", "depth", "steps", *OWN_FRAMES)
            given |= {"train_size": training.data} | {name: getattr(chosen, name) for name in names}
        if self.tuned:
            given |= self.tuned_at(training.params, self.tuned)
        return self.kind.SETTINGS.read(given, "study")

    def tuned_at(self, size: int, tuned: Tuned) -> dict[str, float]:
        """What a search found, carried to a size."""
        factor = self.pace_of(size).rate_factor / self.pace_of(tuned.searched_at).rate_factor
        rate = tuned.chosen["learning_rate"] * factor * (size / tuned.searched_at) ** tuned.power
        return tuned.chosen | {"learning_rate": rate}

    # -- what it costs -------------------------------------------------------------------------------------------

    def points(self, data: int) -> tuple[int, ...]:
        """The data sizes at which a training to `data` reports."""
        if self.task.family == "language_model":
            return (*(budget for budget in self.data if budget < data), data)
        return (data,)

    def units(self, data: int) -> float:
        """Tokens or frames that it trains on, decays at smaller budgets included."""
        if isinstance(self.task, tasks.ForceTask):
            return self.task.steps(self.settings.steps) * Recipe().batch_frames
        decay: float = self.kind.SETTINGS.model_fields["decay"].default
        return data + decay * sum(self.points(data)[:-1])

    def pace_of(self, size: int) -> Pace:
        """The pace of a size; of one that only others have measured, that of the nearest by the FLOPs of a token."""
        if size in self.paces:
            return self.paces[size]
        near = min(self.paces, key=lambda other: abs(math.log(other / size)))
        pace, ratio = self.paces[near], size / near
        return pace._replace(
            params=round(pace.params * ratio), per_unit=pace.per_unit * ratio,
            flops_per_unit=pace.flops_per_unit * ratio,
        )  # fmt: skip

    def cost(self, training: Training) -> Planned:
        """What a training should take, by the pace of its size."""
        pace, units = self.pace_of(training.params), self.units(training.data)
        return Planned(training, pace.start + BESIDES + pace.per_unit * units, pace.flops_per_unit * units)

    def learn(self, results: Sequence[Ended]) -> None:
        """Replace measured moments by what whole trainings took."""
        ratios = []
        for size, pace in self.paces.items():
            of_size = [result for result in results if result.training.params == size and result.losses]
            if not of_size:
                continue
            longest = max(of_size, key=lambda result: result.seconds)
            units = self.units(longest.training.data)
            per_unit = max(longest.seconds - pace.start - BESIDES, 0.3 * longest.seconds) / units
            ratios.append(per_unit / pace.per_unit)
            self.paces[size] = pace._replace(per_unit=per_unit)
        measured = {result.training.params for result in results if result.losses}
        for size, pace in self.paces.items():
            if ratios and size not in measured:
                self.paces[size] = pace._replace(per_unit=pace.per_unit * float(np.median(ratios)))

    # -- what is to be trained -----------------------------------------------------------------------------------

    def tops(self, size: int) -> list[int]:
        """Largest data sizes that a training of a size may have in a design; for a size that was typed there is one."""
        if self.task.family == "force_field":
            return list(self.data)
        enough = [data for data in self.data if data >= FEWEST_TOKENS_PER_PARAM * size]
        return enough or ([] if self.settings.params == "auto" else [self.data[-1]])

    def prior(self) -> Belief:
        """What is expected of the law before anything is measured."""
        family: Any = self.task.family
        sizes = [pace.params for pace in self.paces.values()]
        return prior(family, math.sqrt(min(sizes) * max(sizes)), math.sqrt(self.data[0] * self.data[-1]))

    def belief(self, results: Sequence[Ended]) -> Belief:
        """What is expected after some results."""
        return self.prior().after(
            [
                Measured(float(result.params), tuple(result.losses), tuple(result.losses.values()))
                for result in results
                if result.losses
            ]
        )

    def wanted(
        self, results: Sequence[Ended], going: Sequence[tuple[Training, float]], seconds: float
    ) -> list[Planned]:
        """The trainings still to begin, the cheapest first.

        Args:
            results: of those that are over.
            going: those under way, and for how long.
            seconds: that are left; only what fits is wanted.

        Raises:
            UserError: if a budget is too small for three sizes.
        """
        taken = [result.training for result in results] + [training for training, _ in going]
        if not self.designed:
            seeds = range(self.settings.seed, self.settings.seed + self.settings.seeds)
            tops = self.data[-1:] if self.task.family == "language_model" else self.data
            whole = [Training(size, data, seed) for size in self.sizes for data in tops for seed in seeds]
            return in_order(self.cost(training) for training in whole if training not in taken)
        return self.chosen(results, taken, going, seconds)

    def chosen(
        self, results: Sequence[Ended], taken: list[Training], going: Sequence[tuple[Training, float]], seconds: float
    ) -> list[Planned]:
        """What the design takes from the sizes and data sizes that there are."""
        every = [Training(size, data, 0) for size in self.paces for data in self.tops(size)]
        searched = self.tuned.flops if self.tuned else 0.0
        if self.settings.hours:
            still = sum(max(0.0, self.cost(training).seconds - spent) for training, spent in going)
            budget, longest = self.settings.workers * seconds - still, seconds
            costs = [self.cost(training).seconds for training in every]
        else:
            budget = self.settings.flops - searched - sum(self.cost(training).flops for training in taken)
            costs, longest = [self.cost(training).flops for training in every], math.inf
        before = self.prior()
        belief = self.belief(results)._replace(precision=before.precision)
        cells = [self.cell(training, cost) for training, cost in zip(every, costs, strict=True)]
        made = [self.cell(training, 0.0) for training in taken]
        target: Any = self.settings.target
        if budget <= 0 and taken:
            return []
        try:
            design = choose(cells, budget, belief, target, made, longest)
        except TooSmallError as error:
            if taken:  # what is left is too little for anything
                return []
            raise too_small(error, self.settings, self.task, searched, seconds) from None
        held = {(training.params, training.seed) for training in taken}
        planned = []
        for place, times in sorted(design.counts.items()):
            size, data, _ = every[place]
            for _ in range(times):
                seed = next(seed for seed in count(self.settings.seed) if (size, seed) not in held)
                held.add((size, seed))
                planned.append(Training(size, data, seed))
        return in_order(map(self.cost, planned))

    def cell(self, training: Training, cost: float) -> Cell:
        """A training as the design sees it."""
        return Cell(float(self.pace_of(training.params).params), self.points(training.data), cost)

    # -- what it says --------------------------------------------------------------------------------------------

    def table(self, planned: Sequence[Planned]) -> str:
        """The trainings as a table, with times and what they should tell."""
        lines = [f"{'params':>12} {self.word:>12} {'seeds':>6} {'s each':>9} {'FLOPs each':>11} {'GiB each':>9}"]
        groups: dict[tuple[int, int], list[Planned]] = {}
        for one in planned:
            groups.setdefault((one.training.params, one.training.data), []).append(one)
        for (size, data), group in sorted(groups.items()):
            pace, (_, seconds, flops) = self.pace_of(size), group[0]
            each = f"{'' if pace.measured else '*'}{seconds:.0f}"
            memory = pace.params * BYTES_PER_PARAM / 2**30
            lines.append(f"{pace.params:>12,} {data:>12,} {len(group):>6} {each:>9} {flops:>11.2g} {memory:>9.2g}")
        seconds = sum(one.seconds for one in planned) / self.settings.workers
        lines.append(
            f"{len(planned)} trainings, {duration(seconds)} with {self.settings.workers} at a time, "
            f"{sum(one.flops for one in planned):.3g} FLOPs"
        )
        lines.append("GiB: of weights, gradients and the optimizer's moments; activations come on top")
        if any(not self.pace_of(size).measured for size, _ in groups):
            lines.append("*: a step takes too long to be measured; told from the largest size that was, by its FLOPs")
        return "\n".join(lines)

    def expectation(self, planned: Iterable[Planned], results: Sequence[Ended]) -> str:
        """What a design is expected to tell, in a line."""
        belief, reach = self.told(planned, results)
        (_, of_alpha), (_, of_beta) = belief.exponents()
        text = f"expected: alpha +-{WIDE * of_alpha:.2f}, beta +-{WIDE * of_beta:.2f} (90 %)"
        if self.settings.target == "exponent":
            return text
        size = float(self.settings.target)
        spread = belief.uncertainty(belief.precision[None], size, np.array([reach]))[0]
        within = f"{WIDE * math.exp(spread):.1%}"
        return f"{text}, the loss of {size:.3g} params on {belief.best_data(size):.2g} within {within} of itself"

    def check_target(self, planned: Iterable[Planned], results: Sequence[Ended]) -> None:
        """Refuse a size so far beyond the trainings that a forecast of its loss would mean nothing.

        Raises:
            UserError: naming one that can be asked for.
        """
        if self.settings.target == "exponent":
            return
        belief, reach = self.told(planned, results)
        size = float(self.settings.target)
        times = size * belief.best_data(size) / reach
        if times > FARTHEST:
            near = [at for at in HALF_DECADES if at * belief.best_data(at) <= FARTHEST * reach]
            raise UserError(
                f"target must be a size of at most {FARTHEST:g} times the largest training's params x {self.word} on "
                f"its best {self.word}, got {size:.3g}, {times:.2g} times; "
                + (f"ask for target={near[-1]:.0e}, or give it more" if near else "give it more")
            )

    def told(self, planned: Iterable[Planned], results: Sequence[Ended]) -> tuple[Belief, float]:
        """What is believed once all has been trained, and the largest params x data of it."""
        cells = [self.cell(one.training, 0.0) for one in planned]
        cells += [self.cell(result.training, 0.0) for result in results]
        middle = self.belief(results)._replace(precision=self.prior().precision)
        return expected(cells, middle), max(cell.params * max(cell.data) for cell in cells)


def in_order(planned: Iterable[Planned]) -> list[Planned]:
    """The cheapest first; of one size and data size by seed."""
    return sorted(planned, key=lambda one: (one.seconds, one.training))


def duration(seconds: float) -> str:
    """A time for people: 12 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
