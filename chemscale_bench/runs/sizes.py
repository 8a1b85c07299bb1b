"""The sizes of a scaling study, and the pace of each on this machine."""

from __future__ import annotations

import sys

import torch

from chemscale_bench.errors import UserError
from chemscale_bench.models.registry import SizeError
from chemscale_bench.progress import progress_bar
from chemscale_bench.runs.cells import Training
from chemscale_bench.runs.pace import STEPS, measure_pace, undisturbed
from chemscale_bench.runs.study_plan import StudyPlan
from chemscale_bench.scaling.design import FEWEST_SIZES
from chemscale_bench.tracking.lifetime import Stop
from chemscale_bench.training.devices import start_fabric
from chemscale_bench.training.sharding import fits

LONGEST = 60.0
"""Seconds that measuring a size may take; a larger one is told from the largest that was measured, by its FLOPs."""


def measure_sizes(plan: StudyPlan, seconds: float, stop: Stop) -> None:
    """Give a plan the pace of every size; without typed ones from the smallest to the first that fits no training.

    Args:
        plan: of the study; its sizes become those that were measured.
        seconds: that are left, where hours are given.
        stop: interrupts it.

    Raises:
        UserError: if the model has no size that was typed.
    """
    typed = plan.settings.params != "auto"
    fabric = start_fabric(plan.settings_of(Training(plan.sizes[0], plan.data[0], 0)))
    with progress_bar(plan.sizes, desc="measuring this machine", unit="size", leave=False) as bar:
        for size in bar:
            bar.set_postfix_str(f"{size:.0e} params")
            tops = plan.tops(size)
            if not tops:
                break
            try:
                settings = plan.settings_of(Training(size, tops[0], plan.settings.seed))
                with stop.at_once():
                    if not plan.paces:  # the data are prepared once, by whoever comes first
                        first = plan.kind(settings, fabric, "", stop, None)
                        for line in first.remarks() if plan.prints else ():
                            bar.write(line, file=sys.stderr)
                    if is_too_long(plan, size):
                        plan.kind.check(settings)
                        plan.paces[size] = plan.pace_of(size)._replace(measured=False)
                    else:
                        plan.paces[size] = measure_pace(plan.kind, settings, fabric, stop)
                if not (plan.paces[size].measured or plan.settings.dry_run or fits(size, fabric)):
                    raise torch.OutOfMemoryError
            except SizeError:
                if typed:
                    raise
                continue
            except torch.OutOfMemoryError:
                if typed:
                    raise UserError(f"params must fit this device, {size:.3g} do not; leave it out") from None
                break
            if not typed and len(plan.paces) > FEWEST_SIZES and beyond(plan, size, tops[0], seconds):
                del plan.paces[size]
                break
    plan.paces = undisturbed(plan.paces)
    plan.sizes = tuple(plan.paces)


def is_too_long(plan: StudyPlan, size: int) -> bool:
    """Whether the first step of a language model, and those to be timed, are too much to wait for."""
    if not plan.paces or plan.task.family != "language_model":  # small, and their rates depend on the width
        return False
    pace = plan.pace_of(size)
    return pace.start + (1 + STEPS) * pace.step * pace.per_unit > LONGEST


def beyond(plan: StudyPlan, size: int, data: int, seconds: float) -> bool:
    """Whether even the shortest training of a size is more than the budget."""
    cost = plan.cost(Training(size, data, 0))
    return cost.flops > plan.settings.flops if plan.settings.flops else cost.seconds > seconds
