"""Parameters of the verb `simulate`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from chemscale_bench.settings.base import Count, Settings

HOTTEST = 5_000.0


def parse_temperatures(value: Any) -> Any:
    """Read temperatures in K with commas between them, ``500,1200``.

    Raises:
        ValueError: if one of them is no number above 0, is above 5,000, or occurs twice.
    """
    found = []
    for part in str(value).strip("()[] ").split(","):
        try:
            kelvin = float(part)
        except ValueError:
            kelvin = math.nan
        if not 0 < kelvin <= HOTTEST:
            raise ValueError(f"must be temperatures in K above 0, at most {HOTTEST:g}, got {part.strip()!r}")
        found.append(kelvin)
    if len(set(found)) < len(found):
        raise ValueError(f"must be different temperatures, got {value!r}")
    return tuple(found)


class SimulateSettings(Settings):
    """Simulate a molecule with trained force fields: do they hold it together, conserve energy, and move it right?"""

    run: str = ""
    """Id of a finished run of a force field, folder of its model, or an experiment: all of its force fields."""
    molecule: str = ""
    """Of a force field of several molecules, the one to simulate: its formula, or its name in the task."""
    replicas: Count = Field(8, ge=1, le=10_000)
    """Simulations at each temperature, with a thermostat (Langevin) and without (NVE)."""
    temperature: Annotated[tuple[float, ...], BeforeValidator(parse_temperatures)] = "500,1200"  # type: ignore[assignment]
    """In K, of the thermostat and of the first velocities, with commas: that of the data, and above it."""
    picoseconds: float = Field(5.0, gt=0, le=1e6)
    """Length of each simulation; papers run 300 and more."""
    timestep_fs: float = Field(0.5, gt=0, le=2)
    """Of the integrator, in fs."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of first frames, velocities and thermostat; the first n replicas start alike for every number."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; `auto` takes a GPU if there is one."""
    experiment: str = "chemscale-motion"
    """MLflow experiment that the run is logged to."""
