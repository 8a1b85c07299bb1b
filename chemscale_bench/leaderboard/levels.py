"""How far an entry can be trusted, and what keeps it from the next level."""

from __future__ import annotations

import html
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import (
    consistent,
    files,
    forecasts,
    molecules,
    probed,
    regenerate,
    reprobe,
    reproduce,
    resimulate,
    simulated,
)


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

    def text(self, name: str = "it") -> str:
        """In words, of an entry of that name."""
        if not self.level:
            return f"{name} is refused: {self.why_not_next}"
        lines = [f"{name} is {self.level.word}: {MEANING[self.level]}"]
        if self.level >= Level.CONSISTENT and self.loaded and (told := self.loaded.entry.foretold):
            found = forecasts.summary(told, self.loaded.entry.runs, self.loaded.entry.family)
            lines.append(f"its forecast follows from the smaller runs alone: {found}")
        if self.level == Level.REPRODUCED and self.loaded:
            if run := regenerate.chosen(self.loaded.entry):
                lines.append(f"the molecules of run {run.run} were drawn again, and all their metrics agree")
            if run := reprobe.chosen(self.loaded.entry):
                sets = ", ".join(run.results[-1].probes or {})
                lines.append(f"the features of run {run.run} were probed again on {sets}, and all numbers agree")
            if run := resimulate.chosen(self.loaded.entry):
                lines.append(f"the molecule of run {run.run} was simulated again, and {resimulate.agreement(run)}")
        if self.why_not_next:
            lines.append(f"not {Level(self.level + 1).word}: {self.why_not_next}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        """In words, as a console shows it."""
        return self.text()

    def _repr_html_(self) -> str:
        """In words, as a notebook shows it."""
        return f"<pre>{html.escape(self.text())}</pre>"


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
            molecules.check(loaded.entry)
            probed.check(loaded.entry)
            simulated.check(loaded.entry)
            forecasts.check(loaded.entry)
            level = Level.CONSISTENT
        if up_to >= Level.REPRODUCED:
            reproduce.check(loaded, copies)
            level = Level.REPRODUCED
    except UserError as problem:
        return Verdict(level, str(problem), loaded)
    return Verdict(level, "", loaded)
