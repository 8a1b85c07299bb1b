"""The verb `verify`: the level that an entry reaches, and why not the next."""

from __future__ import annotations

from pathlib import Path

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.levels import Level, Verdict, judge
from chemscale_bench.leaderboard.reproduce import Copies
from chemscale_bench.settings.verify import VerifySettings
from chemscale_bench.tracking.housekeeping import run_if_launched


def verify(settings: VerifySettings) -> None:
    """Print the level that an entry reaches, and why not the next.

    Raises:
        UserError: if it is not valid, or below the level that is asked for.
    """
    with run_if_launched("verify"):
        verdict, least = judged(settings), Level[settings.level.upper()]
        if verdict.level < least:
            level = f"{verdict.level.word} only" if verdict.level else "refused"
            raise UserError(f"{settings.entry} must be {least.word}, it is {level}: {verdict.why_not_next}")
        print(verdict.text(settings.entry))


def judged(settings: VerifySettings) -> Verdict:
    """How far the entry gets.

    Raises:
        UserError: for another kind of file.
    """
    if not settings.entry.endswith(".json"):
        raise UserError(f"entry must be the path of an entry's .json, got {settings.entry!r}; `submit` names it")
    checkpoints = Path(settings.checkpoints) if settings.checkpoints else None
    copies = Copies(checkpoints, settings.data, settings.test_data)
    return judge(Path(settings.entry).absolute(), Level.REPRODUCED, copies)
