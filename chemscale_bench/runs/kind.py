"""What a kind of run (language model, force field) has to say for itself; `TrackedRun` does the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from chemscale_bench.models.registry import Registry
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.training.contracts import Report
from chemscale_bench.training.loop import Trainer


class RunKind(ABC):
    """The part of a run that differs between kinds.

    A subclass makes `trainer`, `budgets`, `flops_per_unit` and `title` in its constructor and says what it logs.
    """

    UNIT: str
    """What budgets and the metrics' steps count, in the plural."""
    SHORT: str
    """The same on the progress bar."""
    VERB: str
    METRIC: str
    """The metric that runs are compared by."""
    SETTINGS: type[TrainingSettings]
    """Of the verb."""
    BATCH: str
    """The setting that is the size of an optimizer step."""
    VALUE: str
    """What a search minimises, with its unit."""
    THEN: tuple[str, str]
    """The verb that puts a trained model to use, and what for."""
    MODELS: Registry
    """What can be trained."""

    trainer: Trainer
    budgets: list[int]
    flops_per_unit: float
    rate_factor: float = 1.0
    """What a learning rate of the base shape is multiplied by to be typed for this one; 1 where the model does it."""
    learning_rate: float
    """The peak, as it would be typed."""
    title: str

    @staticmethod
    @abstractmethod
    def check(settings: Any) -> None:
        """Refuse settings that can't work, before anything is made or downloaded."""

    @abstractmethod
    def params(self) -> dict[str, object]:
        """What the run is, for MLflow: task_name, model, non_embedding_params, ..."""

    @abstractmethod
    def tags(self) -> dict[str, object]:
        """Names and digests."""

    @abstractmethod
    def describe_data(self) -> None:
        """Log the data set."""

    @abstractmethod
    def remarks(self) -> Iterable[str]:
        """What the user should know of the data before they are trained on."""

    @abstractmethod
    def report_metrics(self, report: Report, name: str) -> dict[str, float]:
        """What to log of a stretch of training, beside speed, learning rate and gradient norm."""

    @abstractmethod
    def measure(self, budget: int) -> Any:
        """Measure the run at a budget, in a thread beside those that measure others."""

    @abstractmethod
    def budget_reached(self, budget: int, measured: Any) -> None:
        """Record what `measure` has given."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What a resumed run needs besides the trainer's state, as plain values and tensors."""

    def gather(self) -> None:  # noqa: B027  (most kinds have nothing to do)
        """What all processes have to do together before one calls `results`."""

    @abstractmethod
    def results(self) -> dict[str, float]:
        """Log figures and the model to the recorder, and give the last metrics."""

    @property
    @abstractmethod
    def reached(self) -> dict[int, float]:
        """`METRIC` at every budget so far."""

    @property
    @abstractmethod
    def final_value(self) -> float:
        """What a search minimises: the validation loss or error at the last budget."""

    @abstractmethod
    def print_results(self) -> None:
        """Print what the user wants to know."""
