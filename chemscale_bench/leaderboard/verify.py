"""The verb `verify`: how far an entry can be trusted, and what keeps it from the next level."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import consistent, files, reproduce
from chemscale_bench.settings.analysis import VerifySettings
from chemscale_bench.tracking.housekeeping import run_if_launched


class Level(IntEnum):
    """What has been shown of an entry."""

    REFUSED = 0
    VALID = 1
    CONSISTENT = 2
    REPRODUCED = 3

    @property
    def word(self) -> str:
        """As settings and tables write it."""
        return self.name.lower()


MEANING = {
    Level.VALID: "its files hold to the schema",
    Level.CONSISTENT: "every number follows from the curves; tokens, FLOPs, time and device agree",
    Level.REPRODUCED: "its checkpoints give the stated results on the pinned split",
}


class Verdict(NamedTuple):
    """How far an entry got."""

    level: Level
    why_not_next: str
    """What keeps it from the next level; empty if that was not tried."""
    loaded: files.Loaded | None
    """None if it was refused."""


def judge(path: Path, up_to: Level = Level.CONSISTENT, copies: reproduce.Copies = reproduce.NO_COPIES) -> Verdict:
    """Verify an entry; what is wrong with it is part of the verdict, never an exception."""
    try:
        loaded = files.load(path)
    except UserError as problem:
        return Verdict(Level.REFUSED, str(problem), None)
    level = Level.VALID
    try:
        if up_to >= Level.CONSISTENT:
            consistent.check(loaded.entry, loaded.curves)
            level = Level.CONSISTENT
        if up_to >= Level.REPRODUCED:
            reproduce.check(loaded, copies)
            level = Level.REPRODUCED
    except UserError as problem:
        return Verdict(level, str(problem), loaded)
    return Verdict(level, "", loaded)


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
        copies = reproduce.Copies(checkpoints, settings.data, settings.test_data)
        verdict = judge(Path(settings.entry).absolute(), Level.REPRODUCED, copies)
        if verdict.level < least:
            level = f"{verdict.level.word} only" if verdict.level else "refused"
            raise UserError(f"{settings.entry} must be {least.word}, it is {level}: {verdict.why_not_next}")
        print(f"{settings.entry} is {verdict.level.word}: {MEANING[verdict.level]}")
        if verdict.why_not_next:
            print(f"not {Level(verdict.level + 1).word}: {verdict.why_not_next}")
