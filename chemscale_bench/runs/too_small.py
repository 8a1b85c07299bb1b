"""What is said of a study's budget that is too small: the smallest that would do."""

from __future__ import annotations

import math

from chemscale_bench.errors import UserError
from chemscale_bench.scaling.design import TooSmallError
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.tasks import LanguageTask, Task, load, names


def too_small(error: TooSmallError, settings: StudySettings, task: Task, flops: float, seconds: float) -> UserError:
    """The refusal of a budget, in the words of whoever typed it.

    Args:
        error: of the design.
        settings: of the study.
        task: of the study.
        flops: that a search before has used.
        seconds: that are left, where hours are given; the others are used, or kept for the report.
    """
    if settings.hours:
        name, given = "hours", settings.hours
        needed = given + (max(error.needed / settings.workers, error.longest) - seconds) / 3600
    else:
        name, given, needed = "flops", settings.flops, error.needed + flops
    digit = 10 ** (math.floor(math.log10(needed)) - 1)
    least = math.ceil(needed / digit) * digit
    cheapest = ", ".join(f"{cell.params:.2g} on {max(cell.data):.2g}" for cell in error.missing)
    word, cures = "frames", ["fewer steps="]
    if isinstance(task, LanguageTask):
        word, cures = "tokens", of_smaller_budgets(task)
    return UserError(
        f"a study needs three sizes at least; the cheapest (params on {word}: {cheapest}) take {name}={least:.2g} "
        f"here, got {name}={given:.3g}; give it {' or '.join(['that', 'smaller params=', *cures])}"
    )


def of_smaller_budgets(task: LanguageTask) -> list[str]:
    """The tasks whose budgets begin below those of a task, in words; nothing if there are none."""
    known = [other for other in map(load, names()) if isinstance(other, LanguageTask)]
    others = [f"task={other.name}" for other in known if other.budgets_tokens[0] < task.budgets_tokens[0]]
    return [f"{' or '.join(others)}, whose budgets are smaller"] * bool(others)
