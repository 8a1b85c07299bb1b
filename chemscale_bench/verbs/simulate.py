"""The verb `simulate`: a molecule in motion, by trained force fields."""

from __future__ import annotations

from chemscale_bench.runs import simulation
from chemscale_bench.settings.simulate import SimulateSettings


def simulate(settings: SimulateSettings) -> None:
    """Simulate with one or several force fields, tracked as one MLflow run, and print how they hold."""
    simulation.simulate(settings)
