"""What a fit comes to, in words: what was found, how sure it is, what to run next, and what to distrust."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from chemscale_bench.errors import UserError
from chemscale_bench.scaling.base import Interval, between, bounded
from chemscale_bench.scaling.choice import Extrapolation, LawChoice
from chemscale_bench.scaling.forecast import Forecast
from chemscale_bench.scaling.frontier import FLOPS_PER_PARAM_TOKEN
from chemscale_bench.scaling.laws import JointLaw
from chemscale_bench.scaling.planning import NextRun, Plan, plan

CURES = {
    "params": "; add smaller and larger sizes", "tokens": "; add smaller and larger budgets of {data}",
    "irreducible": "; add runs of more compute",
}  # fmt: skip
"""What tells a parameter of the joint law."""
CHANCE = 0.05
"""Fewer runs inside their intervals than chance would leave there, this rarely, call for a warning."""


class Verdict(NamedTuple):
    """A fit in words."""

    found: str
    warnings: list[str]
    next_run: NextRun | None
    """What tells most of the loss at ten times the largest compute."""


def judge(
    frame: pd.DataFrame,
    data: str,
    joint: JointLaw | None,
    forecast: Forecast | None,
    extrapolation: Extrapolation | None,
    compute: LawChoice | None,
    level: float,
    why_not: str = "",
) -> Verdict:
    """Put a fit in words.

    Args:
        frame: the runs, with params, tokens and loss.
        data: `tokens` or `frames`.
        joint: the joint law, unless it was refused.
        forecast: of all runs, unless it was refused.
        extrapolation: of the cheaper runs, to the others.
        compute: laws of compute alone, unless none could be compared.
        level: of the intervals.
        why_not: there is no forecast.
    """
    if forecast is None:
        found = f"These runs do not tell how the loss scales with params and {data}: {why_not or 'see below'}."
        found += _of_compute(compute, frame, level) if compute is not None else ""
        return Verdict(found, list(_rising(frame, data)), None)
    sentences, following = list(_law(joint, data)), None
    if extrapolation is not None:
        sentences.append(_of_larger(extrapolation, level))
    if data == "tokens":
        try:
            spend = plan(forecast, 10 * FLOPS_PER_PARAM_TOKEN * 10**forecast.largest_, level)
        except UserError:
            sentences.append("It does not tell the best size for more compute.")
        else:
            sentences += _of_more_compute(spend, level)
            following = spend.next_run
    return Verdict(" ".join(sentences), list(_warnings(frame, data, joint, forecast, extrapolation)), following)


def headline(joint: JointLaw | None, frame: pd.DataFrame, level: float) -> str:
    """A fit in the length of a name: "alpha .34 [.31, .37], beta .21 [.14, .40], 7 sizes"."""
    told = []
    for letter, name in (("alpha", "params_exponent"), ("beta", "tokens_exponent")):
        if joint is not None and np.isfinite(joint.parameters_[name]):
            value, ends = joint.parameters_[name], joint.confidence_interval(name, level)
            low, high = (f"{end:.2f}".removeprefix("0") for end in ends)
            told.append(f"{letter} {value:.2f} [{low}, {high}]".replace(" 0.", " ."))
    count = frame["params"].nunique()
    sizes = f"{count} size{'s' if count > 1 else ''}"
    return ", ".join([*told, sizes]) if told else f"no law told by {len(frame)} rows, {sizes}"


def named(frame: pd.DataFrame, positions: Sequence[int], data: str) -> str:
    """Some runs by what they are, for somebody who has to find them."""
    texts = []
    for position in list(positions)[:5]:
        row = frame.iloc[position]
        text = f"row {frame.index[position]} ({row['params']:.3g} params, {row['tokens']:.3g} {data}"
        text += f", seed {row['seed']}" if "seed" in frame else ""
        texts.append(f"{text}, run {str(row['run_id'])[:8]})" if "run_id" in frame else f"{text})")
    rest = len(positions) - len(texts)
    return ", ".join(texts) + (f" and {rest} more" if rest > 0 else "")


def _law(joint: JointLaw | None, data: str) -> Iterator[str]:
    if joint is None:
        return
    told = {name: value for name, value in joint.parameters_.items() if np.isfinite(value)}
    falls = [
        f"{name} to the power -{told[f'{raw}_exponent']:.2g}"
        for name, raw in (("params", "params"), (data, "tokens"))
        if f"{raw}_exponent" in told
    ]
    if falls:
        floor = f", towards {told['irreducible']:.3g}" if "irreducible" in told else ""
        yield f"The loss falls with {' and '.join(falls)}{floor}."


def _of_compute(compute: LawChoice, frame: pd.DataFrame, level: float) -> str:
    """What laws of compute alone say, where there is no forecast."""
    ten = [10 * FLOPS_PER_PARAM_TOKEN * float((frame["params"] * frame["tokens"]).max())]
    value, ((low,), (high,)) = compute.chosen.predict(ten)[0], compute.chosen.predict_interval(ten, level)
    alone = [name for name in ("params", "tokens") if frame[name].nunique() == 1]
    how = f"of the same {alone[0]}" if alone else "spent in the same proportion"
    return (
        f" They tell the loss against compute alone: ten times as much, {how}, should "
        f"reach {value:.4g} {bounded(value, Interval(low, high), frame['loss'].max())}."
    )


def _of_larger(extrapolation: Extrapolation, level: float) -> str:
    """How well the cheaper runs foretold the others."""
    count = len(extrapolation.measured)
    return (
        f"Fitted to the runs of up to {extrapolation.share:.2g} of the largest compute, it foretold the {count} "
        f"larger one{'s' if count > 1 else ''} to {extrapolation.error:.1%}{' on average' if count > 1 else ''}, "
        f"{round(extrapolation.coverage * count)} of {count} inside {'their' if count > 1 else 'its'} {level:.0%} "
        f"interval{'s' if count > 1 else ''}."
    )


def _of_more_compute(spend: Plan, level: float) -> Iterator[str]:
    """What ten times the compute should reach, and the run that would tell most of it."""
    best, following = spend.frontier, spend.next_run
    low, high = best.loss_interval.low[0], best.loss_interval.high[0]
    if np.isinf(high):
        yield (
            f"These runs do not tell what ten times the compute would reach: {low:.4g} or more ({level:.0%}), "
            "with no upper bound."
        )
    else:
        yield (
            f"Ten times the compute should reach {best.loss[0]:.4g} {between(low, high)}, with "
            f"{best.params[0]:.2g} params on {best.tokens[0]:.2g} tokens, none seen twice"
            + (f": {spend.far}, so take it for a direction." if spend.far else ".")
        )
    if following is not None:
        yield (
            f"The run that would tell most of that for its compute: {following.params:.2g} params on "
            f"{following.tokens:.2g} tokens ({following.flops:.2g} FLOPs); it should take away "
            f"{following.narrows:.0%} of the variance."
        )


def _rising(frame: pd.DataFrame, data: str) -> Iterator[str]:
    """A remark on values that grow with compute."""
    compute = frame["params"] * frame["tokens"]
    if len(frame) < 3 or compute.nunique() == 1 or frame["loss"].nunique() == 1:
        return
    rank = stats.spearmanr(compute, frame["loss"])
    if rank.statistic > 0 and rank.pvalue < CHANCE:
        yield (
            f"the values rise with params and {data}, where a loss falls: of an accuracy give 1 - accuracy, "
            "of a loss look at how the larger runs were trained"
        )


def _warnings(
    frame: pd.DataFrame, data: str, joint: JointLaw | None, forecast: Forecast, extrapolation: Extrapolation | None
) -> Iterator[str]:
    yield from _rising(frame, data)
    if extrapolation is not None:
        count = len(extrapolation.measured)
        inside = round(extrapolation.coverage * count)
        if stats.binom.cdf(inside, count, extrapolation.level) < CHANCE:
            yield (
                f"only {inside} of {count} larger runs lie inside their {extrapolation.level:.0%} intervals: "
                "these runs do not follow one law, so do not trust it beyond them"
            )
    for size in forecast.off_curve():
        params = frame["params"].iloc[size.rows[0]]
        side = "above" if size.error > 0 else "below"
        yield (
            f"size {params:.3g} is off the curve of the others, {abs(np.expm1(size.error)):.1%} {side} it in all "
            f"{len(size.rows)} runs: look for what is different there (learning rate, precision, shape)"
        )
    if len(forecast.suspects_):
        one = len(forecast.suspects_) == 1
        yield (
            f"{named(frame, forecast.suspects_.tolist(), data)} {'lies' if one else 'lie'} far off the law, which is "
            f"not taken for the noise of other runs: rerun or explain {'it' if one else 'them'}"
        )
    for name, reason in (joint.unidentified_ if joint is not None else {}).items():
        called, wanted = name.replace("tokens", data), CURES.get(name.partition("_")[0], "").format(data=data)
        yield f'{called} can\'t be read off these runs ("not told" below): {reason}{wanted}'
    if not forecast.backtests_:
        yield "too few runs to test a forecast on themselves: its intervals assume what published studies show"
