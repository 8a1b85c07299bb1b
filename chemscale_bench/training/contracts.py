"""What the training loop works with: the objective that it trains, and whom it tells what happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol


class Objective(Protocol):
    """What is trained: data in a reproducible order and the loss of a forward pass."""

    diverged_loss: float
    """Mean loss at which training has diverged: clearly above that of a uniform prediction, or of zero forces."""

    @property
    def unit_size(self) -> int:
        """What one unit counts for in the limit of a forward pass: a token one, a frame its atoms."""

    def take(self, cursor: Any, amount: int) -> tuple[Any, Any]:
        """The next items (a sequence) worth exactly `amount` units, and the cursor (plain values) behind them."""

    def passes(self, items: Any, limit: int) -> Iterator[Any]:
        """The items as forward passes of about `limit` units at most (padded), on the training device."""

    def batch_amount(self, position: int) -> int:
        """Units of the optimizer step that starts at `position`."""

    @property
    def stacks(self) -> bool:
        """Whether its items can be `stacked`; else members of a stack take their steps one after another."""

    def stacked(self, others: Any, items: list[Any]) -> Any:
        """One forward pass of the items of several members, this one the first.

        All have molecules of the same file (language models), or frames of the same molecule (force fields).
        """


class Report(NamedTuple):
    """What happened since the report before."""

    kind: str  # "trunk" or "decay"
    position: int  # units seen on the way to this point
    loss: float  # mean over the units since the last report
    learning_rate: float  # of the first parameter group
    gradient_norm: float  # before clipping, of the last step
    amount: int  # units since the last report
    seconds: float  # wall time since the last report, without validation and checkpoints


class Events(Protocol):
    """What the loop tells its owner; one that inherits from this hears only what it overrides."""

    def report(self, report: Report) -> None:
        """Progress to record."""

    def measure(self, budget: int) -> Any:
        """The decay to `budget` is complete: validate the weights, perhaps while other threads validate others.

        None in the processes that don't record.
        """

    def budget_reached(self, budget: int, measured: Any) -> None:
        """Record what `measure` has given, unless that is None."""

    def save(self, state: dict[str, Any]) -> None:
        """Keep the resume state."""

    def stop_requested(self) -> str | None:
        """The reason to stop at once, if there is one."""
