"""Parameters of the verb `demo`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chemscale_bench.settings.base import Count, Settings


class DemoSettings(Settings):
    """A first result in minutes, on a CPU and data inside the package: a grid of runs, a study, fits and a board."""

    tokens: Annotated[Count, Field(ge=1)] = 300_000
    """Largest training budget of each ChemGPT size in tokens."""
    steps: Annotated[Count, Field(ge=1)] = 300
    """Optimizer steps of each force field."""
    out: str = "demo.html"
    """Where to write the leaderboard of the demo's runs."""
    experiment: str = "chemscale-demo"
    """MLflow experiment that the runs are logged to."""
