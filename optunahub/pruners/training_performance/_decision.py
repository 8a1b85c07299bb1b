"""What a pruner decided about a trial and why, as the trial's attributes keep it."""

from __future__ import annotations

from typing import Any, NamedTuple

from optuna.study import Study
from optuna.trial import FrozenTrial

ATTRIBUTE = "training_performance:decision"


class Decision(NamedTuple):
    """The latest decision about a trial; values are in the study's own direction, None where nothing can be said."""

    prune: bool
    """Whether the trial is to be stopped."""
    reason: str
    """Why: ``rank``, ``slope`` (it falls fast enough to go on), ``explored``, ``diverged``, ``too few trials``,
    ``no budget yet``, ``paper``, ..."""
    step: int
    """Step of the report that it rests on."""
    fraction: float | None = None
    """That step over the budget."""
    rank: int | None = None
    """1 + number of trials that stood better at this step."""
    standing: float | None = None
    """The rank once earlier looks are weighed in; rounded, it is what the gate is compared with."""
    gate: int | None = None
    """Standings up to this one pass."""
    trials: int | None = None
    """Trials that the rank is out of, this one included, those stopped earlier too."""
    correlation: float | None = None
    """Correlation between the standing at this step and the final one that the gate assumes."""
    predicted: float | None = None
    """Predicted final value."""
    low: float | None = None
    """Lower end of its 90 % interval."""
    high: float | None = None
    """Upper end of its 90 % interval."""

    @classmethod
    def of(cls, trial: FrozenTrial) -> Decision | None:
        """The latest decision about a trial; None if there was none."""
        record: dict[str, Any] | None = trial.system_attrs.get(ATTRIBUTE)
        return None if record is None else cls(**record)

    def keep(self, study: Study, trial: FrozenTrial) -> None:
        """Write the decision into the trial, if it still runs."""
        if not trial.state.is_finished():
            study._storage.set_trial_system_attr(trial._trial_id, ATTRIBUTE, self._asdict())
