"""What the speed suites measure: one row per comparison, as JSON lines, as a table and as a figure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from plotly.graph_objects import Figure, Scatter

if TYPE_CHECKING:
    from chemscale_bench.speed.ceilings import Ceiling

OURS, SAME = "#0072B2", "#999999"  # Okabe & Ito


@dataclass(frozen=True)
class Row:
    """One measurement of ours, and of what a user would pick instead; NaN where there is nothing to say."""

    suite: str
    """Of benchmarks/speed."""
    what: str
    """What was measured; if nothing was, the name of the test."""
    unit: str = ""
    """Of both sides; more is better if it ends in `/s`, else less."""
    ours: float = math.nan
    """Median of the rounds."""
    alternative: str = ""
    """What a user would pick instead."""
    theirs: float = math.nan
    """Its median."""
    ratio: float = math.nan
    """How many times better ours is: median of the rounds' ratios."""
    ratio_low: float = math.nan
    """The worst round's."""
    ratio_high: float = math.nan
    """The best round's."""
    flops_per_s: float = math.nan
    """Rate of the model's arithmetic in ours, FLOP/s."""
    precision: str = "fp32"
    """Of that arithmetic."""
    note: str = ""
    """Why the test was skipped, or how it failed: perhaps only in its goal, and then its rows stand."""

    @classmethod
    def measured(
        cls,
        suite: str,
        what: str,
        unit: str,
        ours: ArrayLike,
        alternative: str = "",
        theirs: ArrayLike = math.nan,
        *,
        flops: float = math.nan,
        precision: str = "fp32",
    ) -> Row:
        """A row from rounds that alternated: their values are paired; a single one is paired with all of the others.

        Args:
            suite: of benchmarks/speed.
            what: was measured.
            unit: of both sides; more is better if it ends in `/s`, else less.
            ours: value of each round.
            alternative: what a user would pick instead.
            theirs: its value in each round.
            flops: of the model per unit of a rate `ours`.
            precision: of the model's arithmetic, `fp32` or `bf16`.
        """
        mine, other = np.asarray(ours, float), np.asarray(theirs, float)
        ratios = mine / other if unit.endswith("/s") else other / mine
        middle = float(np.median(mine))
        return cls(
            suite, what, unit, middle, alternative, float(np.median(other)), float(np.median(ratios)),
            float(ratios.min()), float(ratios.max()), middle * flops, precision,
        )  # fmt: skip

    def __str__(self) -> str:
        """The row in one line."""
        text = f"{self.what}: {number(self.ours)} {self.unit}"
        return text + (f"; {self.alternative} {number(self.theirs)}, {self.spread}" if self.alternative else "")

    @property
    def spread(self) -> str:
        """The ratio and its range."""
        if not self.ratio_low < self.ratio_high:
            return f"ratio {number(self.ratio)}"
        return f"ratio {number(self.ratio)} ({number(self.ratio_low)} to {number(self.ratio_high)})"

    def share_of_peak(self, ceilings: Mapping[str, Ceiling]) -> float:
        """The model's arithmetic as a share of the highest measured rate of matrix products in its precision."""
        return self.flops_per_s / 1e9 / ceilings[f"matrix_{self.precision}_gflop_per_s"].high

    def metrics(self, ceilings: Mapping[str, Ceiling]) -> dict[str, float]:
        """All numbers of the row by the name of their metric."""
        what, unit = (re.sub(r"[^\w.]+", "_", text.lower().replace("/", "_per_")) for text in (self.what, self.unit))
        values = {
            f"ours_{unit}": self.ours, f"alternative_{unit}": self.theirs, "ratio": self.ratio,
            "ratio_low": self.ratio_low, "ratio_high": self.ratio_high, "share_of_peak": self.share_of_peak(ceilings),
        }  # fmt: skip
        return {f"speed/{self.suite}/{what}/{key}": value for key, value in values.items() if math.isfinite(value)}


def append(row: Row, file: Path) -> None:
    """Add a row to a file of JSON lines."""
    with file.open("a") as stream:
        stream.write(lines([row]))


def lines(rows: Iterable[Row]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(asdict(row)) + "\n" for row in rows)


def read(file: Path) -> list[Row]:
    """The rows of a file of JSON lines; none if it is not there."""
    return [Row(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def number(value: float) -> str:
    """A number with the digits that a timing deserves."""
    return f"{float(f'{value:.4g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Iterable[Row], ceilings: Mapping[str, Ceiling]) -> str:
    """The rows in Markdown, and below them what could not be measured."""
    written = ["| suite | what | ours | the alternative | ratio | share of peak |", "|---|---|---|---|---|---|"]
    notes = []
    for row in rows:
        if row.note:
            notes.append(f"- {row.suite}, {row.what}: {row.note}")
            continue
        other = f"{row.alternative}: {number(row.theirs)}" if row.alternative else ""
        ratio = row.spread.removeprefix("ratio ") if row.alternative else ""
        share = row.share_of_peak(ceilings)
        peak = f"{share:.0%}" if math.isfinite(share) else ""
        what = f"{row.what}, {row.unit}"
        written.append(f"| {row.suite} | {what} | {number(row.ours)} | {other} | {ratio} | {peak} |")
    return "\n".join([*written, *(["", *notes] if notes else [])])


def figure(rows: Iterable[Row], title: str) -> Figure:
    """Every ratio with its range, on a log axis; right of the line at 1 ours is better."""
    compared = [row for row in rows if math.isfinite(row.ratio)][::-1]
    ratios, low, high = (
        np.array([getattr(row, name) for row in compared]) for name in ("ratio", "ratio_low", "ratio_high")
    )
    drawn = Figure(
        Scatter(
            x=ratios, y=[f"{row.what} ({row.suite})" for row in compared], mode="markers",
            marker={"color": OURS, "size": 10}, text=[str(row) for row in compared], hoverinfo="text",
            error_x={"type": "data", "symmetric": False, "array": high - ratios, "arrayminus": ratios - low},
        )
    )  # fmt: skip
    drawn.add_vline(1, line={"color": SAME, "dash": "dot"})
    drawn.update_layout(
        title=title, template="plotly_white", xaxis={"type": "log", "title": "times better than the alternative"},
        yaxis={"automargin": True}, height=200 + 30 * len(compared),
    )  # fmt: skip
    return drawn
