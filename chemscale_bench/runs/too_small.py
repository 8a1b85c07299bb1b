"""What is said of a study's budget that is too small: the smallest that would do."""

from __future__ import annotations

import math

from chemscale_bench.errors import UserError
from chemscale_bench.scaling.design import TooSmallError
from chemscale_bench.settings.study import StudySettings


def too_small(
    error: TooSmallError, settings: StudySettings, flops: float, seconds: float, word: str = "tokens"
) -> UserError:
    """The refusal of a budget, in the words of whoever typed it.

    Args:
        error: of the design.
        settings: of the study.
        flops: that a search before has used.
        seconds: that are left, where hours are given; the others are used, or kept for the report.
        word: what data are counted in, tokens or frames.
    """
    if settings.hours:
        name, given = "hours", settings.hours
        needed = given + (max(error.needed / settings.workers, error.longest) - seconds) / 3600
    else:
        name, given, needed = "flops", settings.flops, error.needed + flops
    digit = 10 ** (math.floor(math.log10(needed)) - 1)
    least = math.ceil(needed / digit) * digit
    cheapest = ", ".join(f"{cell.params:.2g} on {max(cell.data):.2g}" for cell in error.missing)
    return UserError(
        f"a study needs three sizes at least; of these the cheapest (params on {word}: {cheapest}) takes "
        f"{name}={least:.2g} here, got {name}={given:.3g}; give it that, or smaller params= or "
        f"{'tokens=' if word == 'tokens' else 'steps='}"
    )
