"""What a study wrote down of its largest runs before they began, as an entry tells it."""

from __future__ import annotations

import datetime
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from chemscale_bench.leaderboard.record import Count, Identifier, Positive, Record


class Point(Record):
    """What one size should reach on one budget."""

    params: Count
    budget: Count
    """Training tokens, or frames."""
    loss: Positive
    """The primary metric."""
    low: float = Field(ge=0, lt=1e40)
    """Lower end of the interval of a single run."""
    high: Positive | None = None
    """Upper end; none where the smaller runs tell none."""

    @model_validator(mode="after")
    def _lies_inside(self) -> Self:
        if not self.low <= self.loss <= (self.loss if self.high is None else self.high):
            raise ValueError(f"what is foretold must lie inside its interval, got {self.loss}")
        return self


class Foretold(Record):
    """A forecast, which follows from the smaller runs alone, so that `verify` makes it again."""

    written: AwareDatetime
    """When: after the smaller runs, before the others."""
    level: float = Field(gt=0, lt=1)
    """Of the intervals."""
    runs: tuple[Identifier, ...] = Field(min_length=2, max_length=500)
    """The smaller runs that it is made from, in this order."""
    points: tuple[Point, ...] = Field(min_length=1, max_length=200)
    """Of more compute than any of those, by params and budget, ascending."""
    centre: tuple[Positive, Positive] | None = None
    """Params and budget about which a prior was told, where these runs were too few for a forecast without one."""

    @model_validator(mode="after")
    def _is_plain(self) -> Self:
        if self.written.utcoffset() != datetime.timedelta(0) or not 2020 <= self.written.year < 2100:
            raise ValueError(f"written must be a time in UTC from 2020 to 2099, got {self.written.isoformat()}")
        at = [(point.params, point.budget) for point in self.points]
        if len(set(self.runs)) < len(self.runs) or at != sorted(set(at)):
            raise ValueError(f"every run may stand once, and points must ascend, got {len(self.runs)} runs, {at[:3]}")
        return self

    @property
    def when(self) -> str:
        """Date and time in UTC."""
        return f"{self.written:%Y-%m-%d %H:%M}"
