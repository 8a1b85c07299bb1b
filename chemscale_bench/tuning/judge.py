"""What a trial of the verb `tune` reports to its study, and what it is told."""

from __future__ import annotations

from optuna.trial import Trial

from chemscale_bench.training.schedules import ForwardArea
from chemscale_bench.tuning.decision import Decision
from chemscale_bench.tuning.study import REPORTS


class Judge:
    """Reports a trial's loss to the study at steps 1 to `REPORTS`, and asks whether to stop it.

    Steps are parts of the area under the trial's own schedule, so that a pruner compares trials with different warm-ups
    and decays where they are comparable.

    Args:
        trial: of the study.
        budgets: units at which a full trial is measured; it ends at the last. The decays at smaller ones are left out
            of its curve.
        warmup: share of the last budget that is its warm-up.
        decay: share that is its decay.
    """

    def __init__(self, trial: Trial, budgets: list[int], warmup: float, decay: float) -> None:
        self.trial, self.schedule = trial, ForwardArea(warmup, decay)
        *self.smaller, self.budget = budgets
        self.values: list[float] = []
        self.reported = 0

    def __call__(self, position: int, metrics: dict[str, float]) -> str | None:
        """Why to stop, or nothing; the value reported is the mean since the last one."""
        names = ("val/force_mae_mev_per_angstrom", "train/loss_nats_per_token", "decay/loss_nats_per_token")
        if names[-1] in metrics and self.smaller:
            if position >= self.smaller[0]:  # the decay to it is over
                self.smaller.pop(0)
            return None
        self.values.append(next(metrics[name] for name in names if name in metrics))
        due = int(REPORTS * self.schedule.at(position / self.budget))
        if due <= self.reported:
            return None
        self.reported = due
        self.trial.report(sum(self.values) / len(self.values), due)
        self.values.clear()
        if position >= 0.98 * self.budget or not self.trial.should_prune():  # nothing is left to save at the end
            return None
        return f"stopped at {position:,} of {self.budget:,}: {verdict(self.trial)}"


def verdict(trial: Trial) -> str:
    """The reason that the pruner left with the trial; Optuna's own pruners leave none."""
    decision = Decision.of(trial.study.get_trials(deepcopy=False)[trial.number])
    if decision is None:
        return "the pruner's decision"
    text = decision.reason
    if decision.rank is not None:
        text = f"rank {decision.rank} of the {decision.trials} that came this far"
        if decision.standing is not None:
            if round(decision.standing, 1) != decision.rank:
                text += f", {decision.standing:.1f} averaged with its earlier ranks"
            text += f"; only the best {decision.gate} go on" if decision.gate != 1 else "; only the best goes on"
    if decision.predicted is not None:
        text += f"; predicted to end at {decision.predicted:.4g} [{decision.low:.4g}, {decision.high:.4g}]"
    return text
