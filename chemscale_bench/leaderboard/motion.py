"""How a force field moves its molecule, as an entry tells it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from chemscale_bench.leaderboard.record import Record

MOST_STEPS = 2e7
"""Steps of all replicas together: whoever verifies an entry takes so many again."""


class Condition(Record):
    """Replicas of one temperature and ensemble, followed until a bond is off by 0.5 Angstrom, or to the end."""

    temperature_k: float = Field(gt=0, le=5_000)
    """Of the first velocities, and of the thermostat."""
    ensemble: Literal["Langevin", "NVE"]
    """With a thermostat, or without."""
    intact: int = Field(ge=0, le=10_000)
    """Replicas that held to the end."""
    stability_ps: float = Field(ge=0, le=1e6)
    """How long they held, the mean over all replicas."""
    hr_mae: float | None = Field(None, ge=0, le=2.01)
    """Of distances between atoms, against the test frames; with a thermostat, where enough was simulated."""
    drift_mev_per_atom_ns: float | None = Field(None, gt=-1e12, lt=1e12)
    """Of the total energy, the mean over the intact replicas; without a thermostat, where two or more are."""
    drift_error_mev_per_atom_ns: float | None = Field(None, ge=0, lt=1e12)
    """Its standard error."""

    @property
    def place(self) -> str:
        """Before the slash in the names of its metrics, as `simulate` logs them."""
        return f"{self.ensemble.lower()}_{self.temperature_k:g}K"


class Motion(Record):
    """Replicas that `simulate` moved from test frames: Langevin (BAOAB, 0.01 per fs), and NVE (velocity Verlet)."""

    replicas: int = Field(ge=1, le=10_000)
    """Of each condition."""
    picoseconds: float = Field(gt=0, le=1e6)
    timestep_fs: float = Field(gt=0, le=2)
    seed: int = Field(ge=0, lt=2**31)
    """Of first frames, velocities and thermostat."""
    bond_break_ev: float | None = Field(None, ge=0, lt=1e6)
    """The least that it takes to pull a hydrogen off the molecule at rest; none without hydrogen."""
    conditions: tuple[Condition, ...] = Field(min_length=2, max_length=32)
    """Every temperature, with a thermostat and without."""

    @model_validator(mode="after")
    def _can_be_repeated(self) -> Self:
        found = sorted(condition.place for condition in self.conditions)
        kelvins = {place.partition("_")[2] for place in found}
        if found != sorted(f"{each}_{kelvin}" for each in ("langevin", "nve") for kelvin in kelvins):
            raise ValueError(f"every temperature must be there once with Langevin and once with NVE, got {found[:8]}")
        if self.steps > MOST_STEPS:
            raise ValueError(f"replicas may take {MOST_STEPS:,.0f} steps together, got {self.steps:.4g}")
        return self

    @property
    def steps(self) -> float:
        """Of all replicas together, if all hold."""
        return len(self.conditions) * self.replicas * self.picoseconds * 1000 / self.timestep_fs

    @property
    def temperatures_k(self) -> list[float]:
        """In the order of the conditions."""
        return list(dict.fromkeys(condition.temperature_k for condition in self.conditions))

    @property
    def metrics(self) -> dict[str, float]:
        """By the name that `simulate` logs."""
        told = {} if self.bond_break_ev is None else {"check/bond_break_ev": self.bond_break_ev}
        for each in self.conditions:
            numbers = each.model_dump(exclude={"temperature_k", "ensemble", "intact"}, exclude_none=True)
            numbers["intact_share"] = each.intact / self.replicas
            told |= {f"{each.place}/{name}": value for name, value in numbers.items()}
        return told
