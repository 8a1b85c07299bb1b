"""The verb `verify`: the level that an entry reaches, and why not the next."""

from __future__ import annotations

from pathlib import Path

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import regenerate, reprobe
from chemscale_bench.leaderboard.levels import MEANING, Level, judge
from chemscale_bench.leaderboard.reproduce import Copies
from chemscale_bench.settings.verify import VerifySettings
from chemscale_bench.tracking.housekeeping import run_if_launched


def verify(settings: VerifySettings) -> None:
    """Print the level that an entry reaches, and why not the next.

    Raises:
        UserError: if it is not valid, or below the level that is asked for.
    """
    with run_if_launched("verify"):
        if not settings.entry.endswith(".json"):
            raise UserError(f"entry must be the path of an entry's .json, got {settings.entry!r}; `submit` names it")
        least = Level[settings.level.upper()]
        checkpoints = Path(settings.checkpoints) if settings.checkpoints else None
        copies = Copies(checkpoints, settings.data, settings.test_data)
        verdict = judge(Path(settings.entry).absolute(), Level.REPRODUCED, copies)
        if verdict.level < least:
            level = f"{verdict.level.word} only" if verdict.level else "refused"
            raise UserError(f"{settings.entry} must be {least.word}, it is {level}: {verdict.why_not_next}")
        print(f"{settings.entry} is {verdict.level.word}: {MEANING[verdict.level]}")
        if verdict.level == Level.REPRODUCED and verdict.loaded:
            if run := regenerate.chosen(verdict.loaded.entry):
                print(f"the molecules of run {run.run} were drawn again, and all their metrics agree")
            if run := reprobe.chosen(verdict.loaded.entry):
                sets = ", ".join(run.results[-1].probes or {})
                print(f"the features of run {run.run} were probed again on {sets}, and all numbers agree")
        if verdict.why_not_next:
            print(f"not {Level(verdict.level + 1).word}: {verdict.why_not_next}")
