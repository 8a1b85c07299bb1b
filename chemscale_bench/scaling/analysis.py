"""Everything the table of runs can tell, in one go: what the `fit` verb prints, logs and draws."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import figures, figures_fit
from chemscale_bench.scaling.base import ScalingLaw
from chemscale_bench.scaling.choice import Extrapolation, LawChoice, choose_law, hold_out
from chemscale_bench.scaling.figures import LOSS_TITLE
from chemscale_bench.scaling.forecast import Forecast
from chemscale_bench.scaling.forms import Array
from chemscale_bench.scaling.frontier import FLOPS_PER_PARAM_TOKEN, Frontier, compute_optimal, undominated
from chemscale_bench.scaling.identify import UnidentifiedError
from chemscale_bench.scaling.isoflop import IsoFlop, isoflop
from chemscale_bench.scaling.laws import JointLaw, PowerLaw
from chemscale_bench.scaling.regimes import Regimes, find_regimes
from chemscale_bench.scaling.table import RunTable, describe
from chemscale_bench.scaling.verdict import Verdict, headline, judge

FRAMES_HAVE_NO_FLOPS = (
    "a frontier needs the data in tokens, got frames, whose FLOPs are not 6 params tokens; "
    "compare models at equal frames"
)
SURFACE = "loss_over_params_and_tokens"


class Analysis(NamedTuple):
    """What one table of runs says; what it cannot say is in `refusals`, with the reason."""

    table: RunTable
    level: float
    regimes: tuple[Regimes, Regimes]
    """Along params and along tokens."""
    joint: JointLaw | None
    forecast: Forecast | None
    verdict: Verdict
    choice: LawChoice | None
    """Between laws in params, at the data size with the most model sizes (the largest such)."""
    extrapolation: Extrapolation | None
    """The forecast from the runs of less compute, predicting those of more."""
    compute: LawChoice | None
    """Between laws in FLOPs, over the runs that no cheaper one beats."""
    frontier: Frontier | None
    """Of the forecast."""
    parabolas: IsoFlop | None
    refusals: dict[str, str]

    @property
    def columns(self) -> tuple[Array, Array, Array]:
        """params, tokens, loss, each (n,)."""
        return _columns(self.table)

    def numbers(self) -> dict[str, float]:
        """Every fitted number under a flat name, with `_low` and `_high` ends of its interval."""
        found: dict[str, float] = {
            "runs/rows": len(self.table.frame),
            "runs/left_out": sum(self.table.left_out.values()),
        }
        for regimes in self.regimes:
            law = next((curve.law for curve in reversed(regimes.curves) if curve.law is not None), None)
            if law is not None:
                found |= _with_interval(f"power_law/{regimes.along}_exponent", law, "exponent", self.level)
            limited = regimes.label != "power_law"
            found[f"regimes/limited_along_{regimes.along}"] = float(np.sum(limited))
        if self.joint is not None:
            found["joint/objective"] = self.joint.objective_
            found["joint/rms"] = _rms(self.joint.residuals_)
            for name in self.joint.parameters_:
                found |= _with_interval(f"joint/{name}", self.joint, name, self.level)
        if self.forecast is not None:
            found |= {f"forecast/weight_{name}": share for name, share in self.forecast.weights_.items()}
            found |= {"forecast/rms": _rms(self.forecast.residuals_), "forecast/drift": self.forecast.drift_}
            found["forecast/warnings"] = len(self.verdict.warnings)
        if self.frontier is not None:
            low, high = self.frontier.params_power_interval
            found |= {"frontier/params_power": self.frontier.params_power}
            found |= {"frontier/params_power_low": float(low), "frontier/params_power_high": float(high)}
        if self.extrapolation is not None:
            found["extrapolation/coverage"] = self.extrapolation.coverage
            found["extrapolation/error"] = self.extrapolation.error
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def figures(self, unit: str = LOSS_TITLE) -> dict[str, Any]:
        """Plotly figures by name; those that need a refused law are missing."""
        params, tokens, loss = self.columns
        data = self.table.data_column
        drawn = {
            f"loss_against_{regimes.along}": figures.figure_4(regimes, params, tokens, loss, unit, data, self.level)
            for regimes in self.regimes
            if any(len(curve.rows) > 2 for curve in regimes.curves)
        }
        surface = figures.figure_5(params, tokens, loss, self.joint, self.frontier, unit, data)
        drawn[SURFACE] = surface
        if self.joint is not None:
            drawn["residuals"] = figures_fit.figure_residuals(self.joint, data)
        if self.frontier is not None:
            largest = FLOPS_PER_PARAM_TOKEN * float((params * tokens).max())
            drawn["frontier"] = figures_fit.figure_frontier(self.frontier, self.parabolas, largest, self.level)
        return drawn

    def figure(self, name: str = SURFACE, unit: str = LOSS_TITLE) -> Any:
        """One of the `figures`.

        Raises:
            UserError: if there is none of that name.
        """
        return chosen(self.figures(unit), name)

    def headline(self) -> str:
        """The fit in the length of a name: the exponents that these runs tell, or that they don't."""
        return headline(self.joint, self.table.frame, self.level)

    def text(self) -> str:
        """The readable report."""
        return "\n".join(self._lines())

    def __repr__(self) -> str:
        """The report, as a console shows it."""
        return self.text()

    def _repr_html_(self) -> str:
        """The report, as a notebook shows it."""
        return f"<pre>{html.escape(self.text())}</pre>"

    def _lines(self) -> Iterator[str]:
        frame, data = self.table.frame, self.table.data_column
        yield self.verdict.found
        for warning in self.verdict.warnings:
            yield f"Warning: {warning}."
        yield (
            f"\n{len(frame)} rows: {frame['params'].nunique()} sizes x {frame['tokens'].nunique()} values of {data}; "
            f"{describe(self.table.left_out)}"
        )
        for regimes, other in zip(self.regimes, (data, "params"), strict=True):
            yield from self._regime_lines(regimes, other)
        if self.joint is not None:
            yield f"\nJoint law L = E + A params^-alpha + B {data}^-beta, objective {self.joint.objective_:.7f}"
            yield f"     rms {_rms(self.joint.residuals_):>34.2%}  of the residuals, in log loss"
            letters = ("E", "A", "alpha", "B", "beta")
            for letter, name in zip(letters, self.joint.parameters_, strict=True):
                note = f"  not told: {self.joint.unidentified_[name]}" if name in self.joint.unidentified_ else ""
                yield f"{letter:>8} {_number(self.joint, name, self.level):>34}  {name}{note}"
        if self.forecast is not None:
            shares = ", ".join(f"{name} {share:.0%}" for name, share in self.forecast.weights_.items())
            yield f"\nForecast beyond these runs: forms weighted by backtest ({shares})"
            yield (
                f"  rms {_rms(self.forecast.residuals_):.2%}, drift {self.forecast.drift_:.1%} per root decade of "
                f"params x {data}"
            )
            for test in self.forecast.backtests_:
                off = ", ".join(
                    f"{name} {np.abs(error).mean():.1%}"
                    for name, error in zip(self.forecast.weights_, test.errors, strict=True)
                )
                above = len(test.held_out)
                yield f"  {test.fitted:4d} runs up to {test.compute:.2g}, {above:3d} above it off by: {off}"
        if self.frontier is not None:
            low, high = self.frontier.params_power_interval
            yield (
                f"Compute-optimal parameters grow as FLOPs^{self.frontier.params_power:.3f} [{low:.3f}, {high:.3f}]"
                + (f"; isoFLOP parabolas (biased) say {self.parabolas.params_power:.3f}" if self.parabolas else "")
            )
        for what, choice in (
            ("params", self.choice),
            ("compute alone, of the runs that no cheaper one beats", self.compute),
        ):
            if choice is not None:
                yield from _comparison(what, choice)
        if self.extrapolation is not None:
            yield f"\nForecast from runs of up to {self.extrapolation.share:.2g} of the compute, predicting the others"
            yield self.extrapolation.table()
        for what, reason in self.refusals.items():
            yield f"\nNo {what}: {reason}"

    def _regime_lines(self, regimes: Regimes, other: str) -> Iterator[str]:
        along = self.table.data_column if regimes.along == "tokens" else "params"
        long = [curve for curve in regimes.curves if len(curve.rows) > 2]
        if not long:
            yield f"\nNo power law along {along}: no value of {other} has 3 or more rows (only a joint law fits)"
            return
        yield f"\nPower law along {along} (loss = scale x^-exponent), {self.level:.0%} intervals"
        yield f"{other:>12} {'exponent':>28} {'all points':>11} {'on line':>7} {'off line':>8} {'from':>10}"
        for curve in long[::-1][:12]:
            limited = int(np.sum(regimes.label[curve.rows] != "power_law"))
            left = "-" if not np.isfinite(curve.limited_beyond) else f"{curve.limited_beyond:.2g}"
            yield (
                f"{curve.at:12.3g} {_number(curve.law, 'exponent', self.level):>28} "
                f"{_plain(curve.law_of_all):>11} {len(curve.rows) - limited:7d} {limited:8d} {left:>10}"
            )
        yield (
            f"  exponent: of the runs on the straight line of log loss over log {along}; all points: of all; off "
            f"line: runs, from this value of {along} on, that something else limits, such as {other}; not told: "
            "too few runs, or too close together, to tell the exponent from none"
        )
        if len(long) > 12:
            yield f"  ... and {len(long) - 12} more values of {other}"


def analyse(table: RunTable, level: float = 0.9, replicates: int = 1000) -> Analysis:
    """Fit everything that the table can tell.

    Args:
        table: from `validate`.
        level: of all intervals.
        replicates: bootstrap refits.
    """
    params, tokens, loss = _columns(table)
    refusals: dict[str, str] = {}

    def attempt(what: str, work: Any) -> Any:
        try:
            return work()
        except UnidentifiedError as refusal:
            refusals[what] = re.sub(r"\btokens\b", table.data_column, str(refusal))
            return None

    law = JointLaw(replicates=replicates, on_flat="nan")
    regimes = find_regimes(params, tokens, loss, "params"), find_regimes(params, tokens, loss, "tokens")
    joint = attempt("joint law", lambda: law.fit(params, tokens, loss, table.seed_weight))
    forecast = attempt("forecast", lambda: Forecast(replicates=replicates).fit(params, tokens, loss, table.seed_weight))
    extrapolation = attempt(
        "test on held-out runs", lambda: hold_out(Forecast(replicates=replicates), (params, tokens), loss, level)
    )
    frontier, parabolas, compute = None, None, None
    if table.data_column == "frames":
        refusals["frontier"] = FRAMES_HAVE_NO_FLOPS
    else:
        flops = FLOPS_PER_PARAM_TOKEN * params * tokens
        # Means over seeds: the best of some is not what one run gives.
        means = table.frame.groupby(["params", "tokens"])["loss"].mean().reset_index().to_numpy(dtype=float)
        spent, reached = FLOPS_PER_PARAM_TOKEN * means[:, 0] * means[:, 1], means[:, 2]
        front = undominated(spent, reached)
        compute = attempt("law of compute alone", lambda: choose_law(spent[front], reached[front]))
        parabolas = attempt("isoFLOP comparison", lambda: isoflop(params, tokens, loss))
        if forecast is not None:
            grid = np.geomspace(flops.min(), 100 * flops.max(), 40)
            frontier = attempt("frontier", lambda: compute_optimal(forecast, grid, level))
    curve = max(regimes[0].curves, key=lambda curve: (len(np.unique(params[curve.rows])), curve.at))
    choice = attempt("choice between laws", lambda: choose_law(params[curve.rows], loss[curve.rows]))
    why_not = refusals.get("forecast", "")
    verdict = judge(table.frame, table.data_column, joint, forecast, extrapolation, compute, level, why_not)
    return Analysis(
        table, level, regimes, joint, forecast, verdict, choice, extrapolation, compute, frontier, parabolas, refusals
    )


def _comparison(what: str, choice: LawChoice) -> Iterator[str]:
    yield (
        f"\nLaws along {what} by error on the {choice.held_out} largest held-out runs "
        f"(differences below {choice.noise:.2%} are chance)"
    )
    for candidate in choice.candidates:
        mark = "<- chosen" if candidate.law is choice.chosen else ""
        error = candidate.refusal or f"{candidate.error:.2%}"
        yield f"  {type(candidate.law).__name__:<18} {error} {mark}"
    yield f"  {choice.runner_up}"


def _rms(residuals: Array) -> float:
    return float(np.sqrt(np.mean(residuals**2)))


def _columns(table: RunTable) -> tuple[Array, Array, Array]:
    params, tokens, loss = (table.frame[name].to_numpy(dtype=float) for name in ("params", "tokens", "loss"))
    return params, tokens, loss


def _with_interval(key: str, law: ScalingLaw, name: str, level: float) -> dict[str, float]:
    low, high = law.confidence_interval(name, level)
    return {key: law.parameters_[name], f"{key}_low": low, f"{key}_high": high}


def _number(law: ScalingLaw | None, name: str, level: float) -> str:
    if law is None or not np.isfinite(law.parameters_[name]):
        return "not told"
    low, high = law.confidence_interval(name, level)
    return f"{law.parameters_[name]:.4g} [{low:.4g}, {high:.4g}]"


def _plain(law: PowerLaw | None) -> str:
    return "not told" if law is None or not np.isfinite(law.exponent_) else f"{law.exponent_:.3f}"


def chosen(drawn: dict[str, Any], name: str) -> Any:
    """The figure of that name.

    Raises:
        UserError: if there is none.
    """
    if name not in drawn:
        raise UserError(f"name must be one of {', '.join(drawn)}, got {name!r}; use one of these")
    return drawn[name]
