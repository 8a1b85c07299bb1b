"""What a scaling study found, as an object: the command prints it, the library returns it."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from chemscale_bench.scaling import Forecast, JointLaw
from chemscale_bench.scaling.analysis import SURFACE, Analysis, chosen
from chemscale_bench.scaling.base import tells_upper
from chemscale_bench.scaling.figures_fit import figure_foretold


class WrittenForecast(NamedTuple):
    """What was foretold of the largest trainings before they began."""

    written: str
    """When, in UTC."""
    runs: int
    """From how many runs."""
    table: pd.DataFrame
    """Beside what was measured: columns params, data, foretold, low, high, measured, inside."""


class StudyResult(NamedTuple):
    """The runs of a scaling study and what they say of scaling."""

    run_id: str
    """The study's run of MLflow, with a child run for each training; `read_runs` and `fit` take it."""
    trainings: int
    """How many are over, those that diverged included."""
    analysis: Analysis
    """All laws, as `fit` gives them."""
    foretold: WrittenForecast | None
    """Nothing if no training was large enough beside the others to be foretold."""
    unit: str
    """Title of what was measured, for axes."""

    @property
    def table(self) -> pd.DataFrame:
        """The runs: columns params, tokens (frames of a force field), loss, seed, run_id; `fit` takes it."""
        runs = self.analysis.table
        return runs.frame.rename(columns={"tokens": runs.data_column})

    @property
    def law(self) -> JointLaw | None:
        """The joint law in params and tokens; nothing if the runs cannot tell it, see `refusals`."""
        return self.analysis.joint

    @property
    def forecast(self) -> Forecast | None:
        """The loss of larger runs, with intervals; nothing if the runs cannot tell it, see `refusals`."""
        return self.analysis.forecast

    @property
    def refusals(self) -> dict[str, str]:
        """What the runs cannot tell, why, and which runs are missing."""
        return self.analysis.refusals

    @property
    def _worst(self) -> float:
        return float(self.analysis.table.frame["loss"].max())

    def numbers(self) -> dict[str, float]:
        """Every number under a flat name, as MLflow has them."""
        found = self.analysis.numbers()
        if self.foretold is not None:
            table = self.foretold.table
            found |= {"forecast/points": float(len(table)), "forecast/inside": float(table["inside"].sum())}
            if len(table):
                off = np.abs(np.log(table["measured"] / table["foretold"]))
                found["forecast/mean_error"] = float(off.mean())
        return found

    def figures(self) -> dict[str, Any]:
        """Plotly figures by name; those that need a refused law are missing."""
        drawn = self.analysis.figures(self.unit)
        if self.foretold is not None and len(self.foretold.table):
            data, level = self.analysis.table.data_column, self.analysis.level
            drawn["forecast"] = figure_foretold(self.foretold.table, self.unit, data, level, self._worst)
        return drawn

    def figure(self, name: str = SURFACE) -> Any:
        """One of the `figures`.

        Raises:
            UserError: if there is none of that name.
        """
        return chosen(self.figures(), name)

    def text(self) -> str:
        """The readable report."""
        if self.foretold is None:
            return self.analysis.text()
        written, runs, table = self.foretold
        highs = [
            high if tells_upper(value, high, self._worst) else "no bound"
            for value, high in zip(table["foretold"], table["high"], strict=True)
        ]
        shown = table.drop(columns="inside").assign(high=highs)
        lines = [
            self.analysis.text(),
            f"\nForetold at {written} from {runs} runs, before the largest began:",
            shown.to_string(index=False, float_format=lambda value: f"{value:.5g}"),
            f"{int(table['inside'].sum())} of {len(table)} lie inside their {self.analysis.level:.0%} intervals",
        ]
        return "\n".join([*lines, "  no bound: these runs tell none"] if "no bound" in highs else lines)

    def __repr__(self) -> str:
        """The report, as a console shows it."""
        return self.text()

    def _repr_html_(self) -> str:
        """The report, as a notebook shows it."""
        return f"<pre>{html.escape(self.text())}</pre>"
