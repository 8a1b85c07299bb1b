"""Hyperparameters of a whole study: searched at its smallest size, carried to the others, checked at a large one.

The trials of a search train as the study does, to its largest budget if that can be paid, and the first of them has the
settings of `auto`: what a search ends with is no worse, at that size and seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from optuna.trial import TrialState

from chemscale_bench.errors import UserError
from chemscale_bench.models.force_recipe import Recipe
from chemscale_bench.runs.cells import Training, Tuned
from chemscale_bench.runs.kinds import OWN_FRAMES
from chemscale_bench.runs.queue import RATE, Queue, space_of
from chemscale_bench.runs.study_plan import StudyPlan
from chemscale_bench.runs.sweep import Sweep
from chemscale_bench.settings.tune import TuneSettings

FACTORS = (0.5, 1.0, 2.0)
"""Of the carried learning rate, tried at the large size; more of them while the best lies at an end."""
MOST = 6
HOLDS = 2.0
"""By which factor the best rate may lie beside the carried one: neighbours on this grid are hardly apart in loss."""
MOST_SHARE, SEARCH_SHARE, CHECK_SHARE = 0.5, 0.25, 0.25
"""Of what a study may take: for search and check, were no trial stopped; for one at larger budgets; for the check."""
SHARED = (
    "task", "seed", "storage", "data", "optimizer", "column", *OWN_FRAMES, "molecule", "depth", "steps", "device",
    "workers", "engine", "engine_options",
)  # fmt: skip


class Where(NamedTuple):
    """Where a study searches and checks."""

    small: int
    """Parameters of the search."""
    large: int
    """Of the check; as many if none can be paid."""
    data: int
    """Tokens or frames of both."""


def tune(plan: StudyPlan, name: str, where: Where, together: int) -> Tuned:
    """Search at one size, check at a larger one, and say what was found.

    Args:
        plan: of the study, with the paces of its sizes.
        name: of the study, from which those of its searches follow.
        where: it searches and checks.
        together: trials that are trained as one stack.

    Raises:
        UserError: if no trial of the search ends well.
    """
    small, large, data = where
    auto = auto_settings(plan, small)
    found = sweep(plan, small, data, f"{name}-search", [auto], plan.settings.tune, together, "performance").queue
    if not any(trial.value is not None for trial in found.trials(TrialState.COMPLETE)):
        raise UserError(f"a search must have a trial that ends well, all of {found.name} diverged; add trials: tune=")
    best = found.study.best_trial
    chosen = {key: float(value) for key, value in best.params.items()}
    tuned = Tuned(small, chosen, 0.0, flops_of(found))
    lines = [f"searched at {small:.3g} params, {data:,} {plan.word}: {shown(tuned.chosen)} ({best.value:.4f})"]
    if same(chosen, auto):
        lines.append("  nothing was better than what auto gives: all stays as it is")
    else:
        lines.append(f"  auto gives {shown(auto)} ({told(loss_of(found, auto))})")
    if large == small:
        lines.append("  no larger size can be paid for a check: the rate is carried as the parametrization says")
    else:
        tuned, more = check(plan, tuned, where, name)
        lines += more
    if plan.prints:
        print("\n".join(lines))
    return tuned


def where_to_tune(plan: StudyPlan, seconds: float) -> Where:
    """The smallest size, to search at, the largest whose check can be paid, and how much data they see.

    Args:
        plan: of the study, with the paces of its sizes.
        seconds: that are left, where hours are given.

    Raises:
        UserError: if the search would take most of the budget.
    """
    small, chosen = plan.sizes[0], plan.settings

    def cost(size: int, data: int) -> float:
        one = plan.cost(Training(size, data, 0))
        return one.seconds if chosen.hours else one.flops

    each = plan.data if plan.task.family == "language_model" else plan.data[-1:]
    if plan.designed:
        budget = seconds if chosen.hours else chosen.flops
        share = chosen.tune * cost(small, each[0]) / budget
        if share > MOST_SHARE:
            raise UserError(
                f"tune must leave half of the budget to the study, {chosen.tune} trials of {small:.3g} params may take "
                f"{share:.0%} of it; give fewer trials, or more time"
            )
        data = max([each[0], *(one for one in each if chosen.tune * cost(small, one) <= SEARCH_SHARE * budget)])
        left, trials = MOST_SHARE * budget - chosen.tune * cost(small, data), MOST + 1
    else:  # nobody set a limit, and most checks end with the first rates
        budget, data = sum(one.flops for one in plan.wanted([], [], math.inf)), each[-1]
        left, trials = math.inf, len(FACTORS) + 1
    paid = [size for size in plan.sizes if trials * cost(size, data) <= min(left, CHECK_SHARE * budget)]
    return Where(small, max([small, *paid]), data)


def auto_settings(plan: StudyPlan, size: int) -> dict[str, float]:
    """What trainings have that nobody tunes, as far as the ranges of a search reach."""
    defaults, chosen = plan.kind.SETTINGS.model_fields, {}
    for name, low, high, *_ in space_of(plan.task.family, plan.model, plan.settings.optimizer):
        if name != plan.kind.BATCH:
            usual = plan.pace_of(size).learning_rate if name == RATE else float(defaults[name].default)
            chosen[name] = min(max(usual, low), high)
    return chosen


def flops_of(queue: Queue) -> float:
    """What the trials of a search took."""
    return sum(float(trial.user_attrs.get("flops", 0.0)) for trial in queue.trials())


def check(plan: StudyPlan, tuned: Tuned, where: Where, name: str) -> tuple[Tuned, list[str]]:
    """Try the carried rate, its neighbours and `auto` at a large size, and let the rate go where the best is.

    Returns:
        What is carried on, and what there is to say of it.
    """
    size, auto = where.large, auto_settings(plan, where.large)
    carried = plan.tuned_at(size, tuned)
    space = space_of(plan.task.family, plan.model, plan.settings.optimizer)
    low, high = next((one.low, one.high) for one in space if one.name == RATE)
    factors = list(FACTORS)
    while True:
        tried = {factor: carried | {RATE: factor * carried[RATE]} for factor in factors}
        tried = {factor: point for factor, point in tried.items() if low <= point[RATE] <= high}
        if not tried:
            return tuned, [f"  the rate carried to {size:.3g} params is not one that is searched: it is not checked"]
        points = [*tried.values(), *([] if any(same(auto, point) for point in tried.values()) else [auto])]
        queue = sweep(plan, size, where.data, f"{name}-check", points, len(points)).queue
        reached = {factor: loss_of(queue, point) for factor, point in tried.items()}
        best = min(reached, key=lambda factor: reached[factor])
        further = {factors[0]: factors[0] / 2, factors[-1]: factors[-1] * 2}.get(best)
        if further is None or len(factors) == MOST or not low <= further * carried[RATE] <= high:
            break
        factors = sorted([*factors, further])
    of_auto = loss_of(queue, auto)
    beside = [f"{factor:g}x {told(loss)}" for factor, loss in reached.items()]
    checked = f"checked at {size:.3g} params: {', '.join(beside)}, auto {told(of_auto)}"
    tuned = tuned._replace(flops=tuned.flops + flops_of(queue))
    if of_auto < reached[best]:
        small = tuned.searched_at
        tuned = Tuned(small, auto_settings(plan, small), 0.0, tuned.flops)
        return tuned, [checked, "  what was found does not hold at this size: the study trains with auto"]
    if reached[best] == math.inf:
        return tuned, [checked, "  none of them ended well: the rate is carried as the parametrization says"]
    if 1 / HOLDS <= best <= HOLDS:
        return tuned, [checked, f"  the best is {best:g} times the carried rate: it holds, and is carried on"]
    power = math.log(best) / math.log(size / tuned.searched_at)
    moved = f"  the best has moved by {best:g}: rates go with size^{power:.2f} beside the parametrization"
    return tuned._replace(power=power), [checked, moved]


def sweep(
    plan: StudyPlan, size: int, data: int, name: str, points: Sequence[dict[str, float]], trials: int,
    together: int = 1, pruner: Literal["performance", "none"] = "none",
) -> Sweep:  # fmt: skip
    """Search at a size, from some points on."""
    given: dict[str, Any] = {key: getattr(plan.settings, key) for key in SHARED}
    if plan.task.family == "language_model":
        given |= {"tokens": data, "smaller_budgets": True, "batch_tokens": "auto"}
    else:
        given |= {"train_size": data, "batch_frames": Recipe().batch_frames}
    settings = TuneSettings(
        **given, model=plan.model, params=size, trials=trials, study=name, together=min(together, trials),
        pruner=pruner,
    )  # fmt: skip
    work = Sweep(settings, plan.prints, describes_data=False)
    for point in points:
        work.queue.study.enqueue_trial(point, skip_if_exists=True)
    work.run()
    return work


def loss_of(queue: Queue, point: dict[str, float]) -> float:
    """What a trial with these hyperparameters reached; infinity if none ended well."""
    reached = [trial.value for trial in queue.trials(TrialState.COMPLETE) if same(trial.params, point)]
    return min([loss for loss in reached if loss is not None], default=math.inf)


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two sets of hyperparameters are equal but for rounding."""
    return all(math.isclose(one[name], value, rel_tol=1e-9) for name, value in other.items())


def told(loss: float) -> str:
    """What a trial reached, in words if it did not end well."""
    return "no end" if math.isinf(loss) else f"{loss:.4f}"


def shown(chosen: dict[str, float]) -> str:
    """Hyperparameters on one line."""
    return " ".join(f"{name}={value:.3g}" for name, value in chosen.items())
