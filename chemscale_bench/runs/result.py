"""What a verb found, as an object: the command prints it, the library returns it."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from chemscale_bench.scaling.analysis import chosen


class Told:
    """The report of a verb: each part is kept, and printed when it comes.

    Args:
        prints: whether it is.
    """

    def __init__(self, prints: bool) -> None:
        self.prints, self.parts = prints, list[str]()

    def __call__(self, part: str) -> None:
        """Add to the report."""
        self.parts.append(part)
        if self.prints:
            print(part)


class Result:
    """What was found: its table, numbers, report and figures.

    Args:
        table: a row for each thing that was measured.
        told: the report.
        numbers: under flat names, as MLflow has them.
        figures: by name, the first one first.
        run_id: of the MLflow run that has all of it; nothing if it is not logged.
    """

    def __init__(
        self, table: pd.DataFrame, told: Told, numbers: Mapping[str, float], figures: Mapping[str, Any], run_id: str
    ) -> None:
        self.table, self.run_id = table, run_id
        self._told, self._figures = told, dict(figures)
        self._numbers = {name: value for name, value in numbers.items() if math.isfinite(value)}

    def numbers(self) -> dict[str, float]:
        """Every number under a flat name, as MLflow has them."""
        return dict(self._numbers)

    def figures(self) -> dict[str, Any]:
        """All figures by name: plotly's, but for the picture of drawn molecules."""
        return dict(self._figures)

    def figure(self, name: str = "") -> Any:
        """One of the `figures`, without a name the first.

        Raises:
            UserError: if there is none of that name.
        """
        return chosen(self._figures, name or next(iter(self._figures), ""))

    def text(self) -> str:
        """The readable report."""
        return "\n".join(self._told.parts)

    def __repr__(self) -> str:
        """The report, as a console shows it."""
        return self.text()

    def _repr_html_(self) -> str:
        """The report, as a notebook shows it."""
        return f"<pre>{html.escape(self.text())}</pre>"
