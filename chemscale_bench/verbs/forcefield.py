"""The verb `forcefield`: train one force field, tracked as one MLflow run, and print its errors."""

from __future__ import annotations

from chemscale_bench.runs.force import ForceRun
from chemscale_bench.runs.start import train
from chemscale_bench.settings.forcefield import ForceFieldSettings


def forcefield(settings: ForceFieldSettings) -> None:
    """Train one force field, tracked as one MLflow run, and print its errors."""
    train(settings, ForceRun)
