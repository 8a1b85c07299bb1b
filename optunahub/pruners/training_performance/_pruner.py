"""An Optuna pruner that stops the trials that will lose, by where their curves stand early on."""

from __future__ import annotations

import hashlib
import math
from typing import Literal, get_args

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from ._curves import CurveTable, Field
from ._decision import Decision
from ._gates import (
    LOWEST,
    MIDDLE,
    expected_correlation,
    let_through,
    looks_before,
    reliability,
    remembered,
    second_chance,
)
from ._prediction import Prediction, predict, rank_correlation

Rule = Literal["rank", "paper"]
PAPER_FRACTION = 0.2
BETWEEN_LOOKS = "between looks"
RECENT = 200
"""Completed trials that the correlation is measured on, the latest ones: a sampler may drift."""
LEAST_LEVELS = 5
"""Trials below which nothing is said about noise."""
EVIDENCE = 10
"""Finished trials at which the measured correlation weighs as much as the expected one."""


class TrainingPerformancePruner(BasePruner):
    """Pruner that ranks a trial, at a few looks, among all trials that got as far, and stops what will not win.

    At 6, 10, 15, 20, 30 and 45 % of the budget, a trial goes on if its best report so far ranks within a gate; half of
    the rank is the one it had at the looks before. The best so far always goes on, and so does, at 10 to 20 %, one that
    falls fast enough. The gate is set by how well the standing at a look foretells the final one, so that the eventual
    best is stopped with the chance `miss`: wide early in a run, where rivals are few, where reports are noisy and where
    finished trials show that early standing means little, narrow later.
    Unlike a line fitted from early to final values ("will it beat the best?"), ranks are not biased by the fact that
    only the good trials finish, nor do they regress the record-breakers to the mean. Hyperparameters are not looked
    at: any will do, or none. Trials that differ in warm-up or decay are best reported at steps that count the area
    under their schedules, where they are comparable, as ``chemscale_bench.tuning.judge.Judge`` does.

    Everything follows from the study's trials, so that any storage, parallel workers and resumed studies will do. Every
    decision is kept in the trial: ``Decision.of(trial)``.

    A report that is not finite is a divergence: the trial is stopped, and a trial that diverged ranks last. Before a
    first trial has completed nothing else is stopped, unless `budget` says how long a trial is.

    Example:
        ::

            import optuna
            import optunahub


            def objective(trial):
                rate = trial.suggest_float("rate", 1e-3, 1e-1, log=True)
                loss = 1.0
                for step in range(100):
                    loss *= 1 - rate
                    trial.report(loss, step)
                    if trial.should_prune():
                        raise optuna.TrialPruned()
                return loss


            package = optunahub.load_module("pruners/training_performance")
            study = optuna.create_study(pruner=package.TrainingPerformancePruner(budget=99))
            study.optimize(objective, n_trials=60)

    Args:
        budget:
            Last step of a full trial. If :obj:`None`, the largest last step among the completed trials.
        miss:
            Design target for the chance that one gate stops the trial that would have won. Smaller keeps more.
            benchmarks/replay.md has what was measured for it.
        explore:
            Share of trials that is never stopped, drawn by trial number and `seed`. Their predictions are free of
            the bias that stopped trials never show their final value.
        rule:
            ``rank``, or ``paper``, the rule of Frey et al. (2023): at 20 % of the budget, stop a trial whose final
            value, predicted by least squares from the sum of its reports, is worse than the best so far.
        seed:
            Of the draw of trials that are never stopped.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        budget: int | None = None,
        miss: float = 0.05,
        explore: float = 0.0,
        rule: Rule = "rank",
        seed: int = 0,
    ) -> None:
        if budget is not None and not budget > 0:
            raise ValueError(f"budget must be positive or None, got {budget}; give the last step of a full trial")
        if not 0 < miss < 0.5:
            raise ValueError(f"miss must lie between 0 and 0.5, got {miss}; 0.05 is the default")
        if not 0 <= explore <= 1:
            raise ValueError(f"explore must lie between 0 and 1, got {explore}; it is a share of the trials")
        if rule not in get_args(Rule):
            raise ValueError(f"rule must be one of {', '.join(get_args(Rule))}, got {rule!r}; `rank` is the default")
        self._budget = budget
        self._miss = miss
        self._explore = explore
        self._rule = rule
        self._seed = seed
        self._curves = CurveTable()

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Decide about a trial; the decision and its reason are kept in the trial."""
        step = trial.last_step
        if step is None:
            return False
        last = Decision.of(trial)
        if last and last.step == step:  # asked again about the same report
            return last.prune
        decision = self.decide(study, trial, step)
        if decision.reason != BETWEEN_LOOKS:
            decision.keep(study, trial)
        return decision.prune

    def is_explored(self, number: int) -> bool:
        """Whether the trial of this number is one of those that are never stopped."""
        digest = hashlib.blake2b(f"{self._seed}:{number}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self._explore * 2**64

    def decide(self, study: Study, trial: FrozenTrial, step: int) -> Decision:
        """What to do about a trial that has reported up to `step`; changes nothing."""
        explored = self.is_explored(trial.number)
        if not math.isfinite(trial.intermediate_values[step]):
            return Decision(not explored, "explored" if explored else "diverged", step)
        if self._budget and self._is_between_looks(trial, step / self._budget):  # the usual case, spared the reading
            return Decision(False, BETWEEN_LOOKS, step, step / self._budget)
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        field = self._curves.at(study.get_trials(deepcopy=False), trial, sign, self._budget)
        if not field.budget:
            return Decision(False, "no budget yet", step)
        fraction = min(step / field.budget, 1.0)
        if self._is_between_looks(trial, fraction):
            return Decision(False, BETWEEN_LOOKS, step, fraction)
        decision = (self._by_rank if self._rule == "rank" else self._by_the_paper)(trial, field, fraction, sign)
        return decision._replace(prune=False, reason="explored") if explored and decision.prune else decision

    def _is_between_looks(self, trial: FrozenTrial, fraction: float) -> bool:
        """Whether no look has come since the latest decision; the paper's rule has one of its own."""
        last = Decision.of(trial)
        seen = looks_before(last.fraction or 0.0) if last else 0
        return self._rule == "rank" and looks_before(fraction) <= seen

    def _by_rank(self, trial: FrozenTrial, field: Field, fraction: float, sign: float) -> Decision:
        step = trial.last_step
        assert step is not None
        reached, completed = field.reached, np.isfinite(field.final)
        early, final = field.level[completed], field.final[completed]
        trials = int(reached.sum() + field.stopped.sum())
        rank = 1 + int((field.level[reached] < field.level[field.own]).sum())
        standing = float(remembered(rank, _share_before(trial), trials))
        correlation = self._correlation(fraction, rank_correlation(early[-RECENT:], final[-RECENT:]), len(final))
        levels = field.level[reached & np.isfinite(field.level)]
        if len(levels) >= LEAST_LEVELS:
            low, middle = np.quantile(levels, [LOWEST, MIDDLE])
            reports = len(trial.intermediate_values)
            correlation *= float(reliability(low, middle, field.noise, reports, fraction)) ** 0.5
        gate = int(let_through(correlation, trials, self._miss))
        behind = rank > 1 and round(standing) > gate
        there = np.where(reached, field.level, np.inf)
        falls = behind and bool(second_chance(there, field.before, field.own, gate, fraction))
        decision = Decision(
            prune=behind and not falls,
            reason="slope" if falls else "rank",
            step=step,
            fraction=fraction,
            rank=rank,
            standing=standing,
            gate=gate,
            trials=trials,
            correlation=correlation,
        )
        return _with_prediction(decision, predict(early, final, float(field.level[field.own])), sign)

    @staticmethod
    def _correlation(fraction: float, measured: float | None, pairs: int) -> float:
        """The expected correlation, lowered if the finished trials speak against it.

        Finished trials were mostly selected for standing well, which hides part of the correlation: one standard
        error in favour is granted.
        """
        expected = expected_correlation(fraction)
        if measured is None:
            return expected
        granted = math.tanh(math.atanh(min(max(measured, -0.999), 0.999)) + 1 / math.sqrt(pairs - 3))
        weight = pairs / (pairs + EVIDENCE)
        return min(expected, max(0.0, (1 - weight) * expected + weight * granted))

    @staticmethod
    def _by_the_paper(trial: FrozenTrial, field: Field, fraction: float, sign: float) -> Decision:
        *earlier, step = sorted(trial.intermediate_values)
        if fraction < PAPER_FRACTION or (earlier and earlier[-1] >= PAPER_FRACTION * field.budget):
            return Decision(False, "not at 20 %", step, fraction)
        completed = np.isfinite(field.final)
        early, final = field.sum[completed], field.final[completed]
        predicted = predict(early, final, float(field.sum[field.own]), local=False)
        if predicted is None:
            return Decision(False, "too few trials", step, fraction, trials=1 + len(final))
        stop = predicted.value > final.min()
        return _with_prediction(Decision(bool(stop), "paper", step, fraction, trials=1 + len(final)), predicted, sign)


def _share_before(trial: FrozenTrial) -> float:
    """The share of trials at or above this one at its last look; NaN if there was none."""
    last = Decision.of(trial)
    if last is None or last.standing is None or last.trials is None:
        return math.nan
    return (last.standing - 0.5) / last.trials


def _with_prediction(decision: Decision, predicted: Prediction | None, sign: float) -> Decision:
    """The decision with its prediction in the study's own direction."""
    if predicted is None:
        return decision
    low, high = sorted((sign * predicted.low, sign * predicted.high))
    return decision._replace(predicted=sign * predicted.value, low=low, high=high)
