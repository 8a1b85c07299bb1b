"""Hyperparameters of a whole study: searched at its smallest size, carried to the others, checked at a large one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from optuna.trial import TrialState

from chemscale_bench.errors import UserError
from chemscale_bench.runs.cells import Training, Tuned
from chemscale_bench.runs.kinds import OWN_FRAMES
from chemscale_bench.runs.queue import Queue
from chemscale_bench.runs.study_plan import StudyPlan
from chemscale_bench.runs.sweep import Sweep
from chemscale_bench.settings.tune import TuneSettings
from chemscale_bench.tuning.study import SPACES

FACTORS = (0.5, 1.0, 2.0)
"""Of the carried learning rate, tried at the large size; more of them while the best lies at an end."""
MOST = 6
HOLDS = 2.0
"""By which factor the best rate may lie beside the carried one: neighbours on this grid are hardly apart in loss."""
MOST_SHARE, SHARE = 0.5, 0.1
"""Of what a study may take: at most for the search, and for the check."""
SHARED = (
    "task", "seed", "storage", "data", "column", *OWN_FRAMES, "molecule", "depth", "steps", "device", "workers",
    "engine", "engine_options",
)  # fmt: skip


def tune(plan: StudyPlan, name: str, small: int, large: int, together: int) -> Tuned:
    """Search at one size, check at a larger one, and say what was found.

    Args:
        plan: of the study, with the paces of its sizes.
        name: of the study, from which those of its searches follow.
        small: parameters of the search.
        large: of the check.
        together: trials that are trained as one stack.

    Raises:
        UserError: if no trial of the search ends well.
    """
    found = sweep(plan, small, f"{name}-search", trials=plan.settings.tune, together=together).queue
    if not found.count(TrialState.COMPLETE) or not losses(found):
        raise UserError(f"a search must have a trial that ends well, all of {found.name} diverged; add trials: tune=")
    best = found.study.best_trial
    chosen = {key: float(value) for key, value in best.params.items()}
    tuned = Tuned(small, chosen, 0.0, flops_of(found))
    lines = [f"searched at {small:.3g} params: {shown(tuned.chosen)} ({best.value:.4f})"]
    if large == small:
        lines.append("  no larger size can be paid for a check: the rate is carried as the parametrization says")
    else:
        tuned, more = check(plan, tuned, large, name)
        lines += more
    if plan.prints:
        print("\n".join(lines))
    return tuned


def sizes_to_tune(plan: StudyPlan, seconds: float) -> tuple[int, int]:
    """The smallest size, to search at, and the largest at which the share of the check pays for every factor.

    Args:
        plan: of the study, with the paces of its sizes.
        seconds: that are left, where hours are given.

    Raises:
        UserError: if the search would take most of the budget.
    """
    small, budget = plan.sizes[0], seconds if plan.settings.hours else plan.settings.flops

    def cost(size: int) -> float:
        one = plan.cost(Training(size, data_of(plan), 0))
        return one.seconds if plan.settings.hours else one.flops

    if not budget:
        return small, plan.sizes[-1]
    share = plan.settings.tune * cost(small) / budget
    if share > MOST_SHARE:
        raise UserError(
            f"tune must leave half of the budget to the study, {plan.settings.tune} trials of {small:.3g} params may "
            f"take {share:.0%} of it; give fewer trials, or more time"
        )
    return small, max(size for size in plan.sizes if size == small or MOST * cost(size) <= SHARE * budget)


def flops_of(queue: Queue) -> float:
    """What the trials of a search took."""
    return sum(float(trial.user_attrs.get("flops", 0.0)) for trial in queue.trials())


def data_of(plan: StudyPlan) -> int:
    """The data size of searches: the smallest budget of tokens, all frames."""
    return plan.data[0] if plan.task.family == "language_model" else plan.data[-1]


def check(plan: StudyPlan, tuned: Tuned, size: int, name: str) -> tuple[Tuned, list[str]]:
    """Try the carried rate and its neighbours at a large size; where the best is elsewhere, let the rate go there.

    Returns:
        What is carried on, and what there is to say of it.
    """
    carried = plan.tuned_at(size, tuned)
    (low, high) = next((one.low, one.high) for one in SPACES[plan.task.family] if one.name == "learning_rate")
    factors = list(FACTORS)
    while True:
        rates = [factor * carried["learning_rate"] for factor in factors]
        inside = [carried | {"learning_rate": rate} for rate in rates if low <= rate <= high]
        if not inside:
            return tuned, []
        queue = sweep(plan, size, f"{name}-check", trials=len(inside), points=inside).queue
        values = losses(queue)
        reached = [values.get(rate, math.inf) for rate in rates]
        best = factors[reached.index(min(reached))]
        further = {factors[0]: factors[0] / 2, factors[-1]: factors[-1] * 2}.get(best)
        if further is None or len(factors) == MOST or not low <= further * carried["learning_rate"] <= high:
            break
        factors = sorted([*factors, further])
    beside = ", ".join(
        f"{factor:g}x {'no end' if math.isinf(value) else f'{value:.4f}'}"
        for factor, value in zip(factors, reached, strict=True)
    )
    checked = f"checked at {size:.3g} params: {beside}"
    tuned = tuned._replace(flops=tuned.flops + flops_of(queue))
    if min(reached) == math.inf:
        return tuned, [checked, "  none of them ended well: the rate is carried as the parametrization says"]
    if 1 / HOLDS <= best <= HOLDS:
        return tuned, [checked, f"  the best is {best:g} times the carried rate: it holds, and is carried on"]
    power = math.log(best) / math.log(size / tuned.searched_at)
    moved = f"  the best has moved by {best:g}: rates go with size^{power:.2f} beside the parametrization"
    return tuned._replace(power=power), [checked, moved]


def sweep(
    plan: StudyPlan, size: int, name: str, trials: int, together: int = 1, points: Sequence[dict[str, float]] = ()
) -> Sweep:
    """Search at a size, or try the points that are given."""
    given: dict[str, Any] = {key: getattr(plan.settings, key) for key in SHARED}
    if plan.task.family == "language_model":
        given |= {"tokens": data_of(plan), "batch_tokens": "auto"}
    else:
        given |= {
            "train_size": data_of(plan), "batch_frames": plan.kind.SETTINGS.model_fields["batch_frames"].default,
        }  # fmt: skip
    settings = TuneSettings(
        **given, model=plan.model, params=size, trials=trials, study=name, together=min(together, trials),
        pruner="none" if points else "performance",
    )  # fmt: skip
    work = Sweep(settings, plan.prints)
    for point in points:
        work.queue.study.enqueue_trial(point, skip_if_exists=True)
    work.run()
    return work


def losses(queue: Queue) -> dict[float, float]:
    """What the trials of a search reached, by their learning rates."""
    return {
        trial.params["learning_rate"]: float(trial.value)
        for trial in queue.trials(TrialState.COMPLETE)
        if trial.value is not None
    }


def shown(chosen: dict[str, float]) -> str:
    """Hyperparameters on one line."""
    return " ".join(f"{name}={value:.3g}" for name, value in chosen.items())
