"""What a force field's simulations say of it: a row for each temperature and ensemble, beside the reference frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import units
from ase.data import atomic_masses

from chemscale_bench.evaluation.distances import (
    ReferenceFrames,
    bond_errors,
    bond_lengths,
    distance_histogram,
    histogram_mae,
)
from chemscale_bench.evaluation.dynamics import AtRest
from chemscale_bench.evaluation.motion import LEAST_READINGS, Motion, Start
from chemscale_bench.evaluation.stretching import Stretched
from chemscale_bench.evaluation.torsion import Turned

LANGEVIN, NVE = "Langevin", "NVE"
LEAST_FRAMES = 10  # for a distribution


class Simulated(NamedTuple):
    """One model's simulations."""

    name: str  # as tables and figures call it
    run_id: str  # of its training; empty for a folder
    force_mae: float  # meV/Angstrom on the test split; NaN where nobody knows
    starts: Sequence[Start]
    motion: Motion
    rest: AtRest
    stretched: Stretched
    turned: Turned
    seconds: float  # of the simulations

    @property
    def ns_per_day(self) -> float:
        """Simulated by all replicas together."""
        return self.motion.simulated_ps / 1000 / self.seconds * 86_400

    def chosen(self, temperature_k: float, thermostat: bool) -> np.ndarray:
        """The replicas (R,) at a temperature, with or without a thermostat."""
        wanted = (temperature_k, thermostat)
        return np.flatnonzero([(start.temperature_k, start.thermostat) == wanted for start in self.starts])

    def frames(self, replicas: np.ndarray) -> np.ndarray:
        """All kept frames (F, A, 3) of some replicas before they break."""
        positions_FA3 = self.motion.frames_RKA3[replicas].reshape(-1, *self.motion.frames_RKA3.shape[2:])
        return np.asarray(positions_FA3[np.isfinite(positions_FA3).all((1, 2))], float)

    def conditions(self) -> list[tuple[float, bool]]:
        """Temperatures, each with and without a thermostat."""
        return list(dict.fromkeys((start.temperature_k, start.thermostat) for start in self.starts))


def masses_of(numbers: np.ndarray) -> np.ndarray:
    """Masses (A,) in atomic mass units."""
    return np.asarray(atomic_masses[numbers], float)


def place_of(name: str) -> str:
    """What begins the names of a model's metrics and files, where there are several: MLflow takes no plus sign."""
    return name.replace(" ", "-").replace("+", "") + "/"


def drift(motion: Motion, replica: int, atoms: int) -> float:
    """Slope of a replica's total energy by least squares, meV per atom and ns; NaN if it broke."""
    energy_N = motion.total_energy_ev_RN[replica]
    if not motion.intact_R[replica] or np.isfinite(energy_N).sum() < LEAST_READINGS:
        return math.nan
    return float(np.polyfit(motion.time_ps_N / 1000, energy_N, 1)[0]) * 1000 / atoms


def mean_temperature(motion: Motion, replicas: np.ndarray, freedoms: int) -> float:
    """Kinetic temperature in K of the second half, of what is intact; NaN if nothing is."""
    kinetic = motion.kinetic_ev_RN[replicas][:, motion.kinetic_ev_RN.shape[1] // 2 :]
    return float(2 * np.nanmean(kinetic) / freedoms / units.kB) if np.isfinite(kinetic).any() else math.nan


def rows(found: Simulated, reference: ReferenceFrames) -> list[dict[str, Any]]:
    """One row for each temperature and ensemble; NaN where there is nothing to measure.

    The drift is the mean over the replicas that stay intact, with its standard error: over a few picoseconds slopes are
    mostly those of slow fluctuations.
    """
    made = []
    for temperature_k, thermostat in found.conditions():
        replicas, motion = found.chosen(temperature_k, thermostat), found.motion
        atoms = len(reference.numbers)
        freedoms = 3 * atoms - (0 if thermostat else 3 if atoms == 1 else 5 if atoms == 2 else 6)
        frames_FA3 = found.frames(replicas)
        row: dict[str, Any] = {
            "model": found.name, "run_id": found.run_id, "force_mae_mev_per_angstrom": found.force_mae,
            "temperature_k": temperature_k, "ensemble": LANGEVIN if thermostat else NVE, "replicas": len(replicas),
            "intact": int(motion.intact_R[replicas].sum()), "stability_ps": float(motion.stable_ps_R[replicas].mean()),
            "measured_temperature_k": mean_temperature(motion, replicas, freedoms),
        }  # fmt: skip
        if thermostat and len(frames_FA3) >= LEAST_FRAMES:
            row["hr_mae"] = histogram_mae(distance_histogram(frames_FA3), reference.histogram)
            errors = bond_errors(
                bond_lengths(reference.numbers, reference.bonds, frames_FA3), reference.lengths
            )  # of kinds in alphabetical order
            row |= {f"bond_error_milliangstrom_{kind}": error for kind, error in errors.items()}
        if not thermostat:
            drifts = np.array([drift(motion, replica, atoms) for replica in replicas])
            drifts = drifts[np.isfinite(drifts)]
            if len(drifts) > 1:
                row["drift_mev_per_atom_ns"] = float(drifts.mean())
                row["drift_error_mev_per_atom_ns"] = float(drifts.std(ddof=1) / len(drifts) ** 0.5)
        made.append(row)
    return made


def metrics(found: Simulated, reference: ReferenceFrames) -> dict[str, float]:
    """Everything as metrics with units in their names; what there is nothing to measure of is left out."""
    result = {
        "speed/ns_per_day": found.ns_per_day, "cost/simulation_seconds": found.seconds,
        "relaxation/steps": float(found.rest.steps), "relaxation/converged": float(found.rest.converged),
        "vibrations/imaginary": float(found.rest.imaginary), "reference/split_half_hr_mae": reference.histogram_halves,
        "source/test_force_mae_mev_per_angstrom": found.force_mae,
    }  # fmt: skip
    if len(found.rest.wavenumbers_per_cm):
        result["vibrations/lowest_per_cm"] = float(found.rest.wavenumbers_per_cm[0])
        result["vibrations/highest_per_cm"] = float(found.rest.wavenumbers_per_cm[-1])
    halves = reference.bond_halves.items()
    result |= {f"reference/split_half_bond_error_milliangstrom_{kind}": error for kind, error in halves}
    result |= found.stretched.metrics | found.turned.metrics
    for row in rows(found, reference):
        place = f"{row['ensemble'].lower()}_{row['temperature_k']:g}K"
        left_out = ("model", "run_id", "force_mae_mev_per_angstrom", "temperature_k", "ensemble", "replicas", "intact")
        result |= {f"{place}/{name}": value for name, value in row.items() if name not in left_out}
        result[f"{place}/intact_share"] = row["intact"] / row["replicas"]
    return {name: value for name, value in result.items() if math.isfinite(value)}
