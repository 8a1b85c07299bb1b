"""Batched dynamics against closed forms: springs, thermostats, bonds that break at a known time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from torch import Tensor

from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.motion import (
    Bonds,
    Integrator,
    Motion,
    PotentialForces,
    Start,
    move,
    steps_of,
    thermal_velocities,
)
from chemscale_bench.evaluation.simulated import drift
from chemscale_bench.models import force_fields

WATER = np.array([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
OXYGEN_HYDROGEN = np.array([15.999, 1.008, 1.008])
CPU = torch.device("cpu")
SPRING = 20.0  # eV/Angstrom^2


def springs(positions_RA3: Tensor) -> tuple[Tensor, Tensor]:
    """Every atom on a spring to the origin."""
    return 0.5 * SPRING * positions_RA3.square().sum((1, 2)), -SPRING * positions_RA3


def test_without_a_thermostat_springs_move_by_the_closed_form_of_velocity_verlet() -> None:
    """X(n) = X(0) cos(n a), with cos a = 1 - (w dt)^2 / 2, and an energy that never leaves (w dt)^2 / 4 of itself."""
    masses, start = np.array([1.0, 4.0]), np.array([[0.1, -0.2, 0.3], [0.2, 0.1, 0.0]])
    integrator = Integrator(springs, masses, timestep_fs=0.5)
    integrator.begin([Start(start, 0.0, False, (0,))], CPU)
    angle = np.sqrt(SPRING / masses) * 0.5 * units.fs
    turned = np.arccos(1 - angle**2 / 2)[:, None]
    first = float(integrator.energy_R + integrator.kinetic_R)
    for step in range(1, 301):
        integrator.advance(1)
        expected = start * np.cos(step * turned)
        assert integrator.positions_RA3[0].numpy() == pytest.approx(expected, abs=1e-10)
        total = float(integrator.energy_R + integrator.kinetic_R)
        assert abs(total / first - 1) <= (angle.max() ** 2) / 4 + 1e-9


def test_a_thermostat_brings_springs_to_equipartition() -> None:
    """BAOAB samples k <x^2> = kT exactly, and m <v^2> = kT (1 - (w dt)^2 / 4); no degree of freedom is held."""
    masses, kelvin = np.linspace(1, 16, 3), np.array([300.0, 1200.0])
    starts = [Start(np.zeros((3, 3)), kelvin[replica % 2], True, (replica,)) for replica in range(240)]
    integrator = Integrator(springs, masses, timestep_fs=0.5)
    integrator.begin(starts, CPU)
    integrator.advance(1000)
    square, kinetic = np.zeros((2, 2, 3))
    for _ in range(40):
        integrator.advance(50)
        square += integrator.positions_RA3.square().mean(2).numpy().reshape(-1, 2, 3).mean(0) / 40
        kinetic += integrator.velocities_RA3.square().mean(2).numpy().reshape(-1, 2, 3).mean(0) / 40
    thermal = units.kB * kelvin[:, None]
    slower = 1 - SPRING / masses * (0.5 * units.fs) ** 2 / 4
    assert SPRING * square / thermal == pytest.approx(np.ones((2, 3)), abs=0.06)
    assert masses * kinetic / thermal == pytest.approx(np.tile(slower, (2, 1)), abs=0.06)


@pytest.mark.parametrize("positions", [WATER, np.array([[0, 0, 0.0], [0, 0, 1.2], [0, 0, -1.1]])])
def test_first_velocities_neither_drift_nor_rotate_and_are_thermal(positions: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    mass = OXYGEN_HYDROGEN[:, None]
    kinetic = []
    for _ in range(2000):
        velocities = thermal_velocities(OXYGEN_HYDROGEN, positions, 500.0, generator)
        assert (mass * velocities).sum(0) == pytest.approx(np.zeros(3), abs=1e-9)
        assert (mass * np.cross(positions, velocities)).sum(0) == pytest.approx(np.zeros(3), abs=1e-9)
        kinetic.append(0.5 * (mass * velocities**2).sum())
    freedoms = 4 if np.ptp(positions[:, 1]) == 0 else 3  # of nine, less the rigid motions
    assert np.mean(kinetic) == pytest.approx(freedoms / 2 * units.kB * 500, rel=0.06)


@pytest.fixture(scope="module")
def forces() -> PotentialForces:
    config = force_fields.config_for("schnet", 10_000, (1, 8))
    network = force_fields.build("schnet", config, (1, 8), seed=0)
    network.scale.fill_(0.3)
    return PotentialForces(network.double(), np.array([8, 1, 1]))


STARTS = [
    Start(WATER, kelvin, thermostat, (replica, int(thermostat)))
    for kelvin in (100.0, 300.0)
    for thermostat in (True, False)
    for replica in range(2)
]
NO_BONDS_BREAK = Bonds(np.array([0]), np.array([0]), np.array([0.0]))


def short(forces: PotentialForces, starts: list[Start]) -> Motion:
    return move(forces, OXYGEN_HYDROGEN, starts, NO_BONDS_BREAK, picoseconds=0.05)


def test_replicas_move_together_as_they_do_alone(forces: PotentialForces) -> None:
    together = short(forces, STARTS)
    for replica, start in enumerate(STARTS):
        alone = short(forces, [start])
        assert together.frames_RKA3[replica] == pytest.approx(alone.frames_RKA3[0], abs=1e-6)
        assert together.total_energy_ev_RN[replica] == pytest.approx(alone.total_energy_ev_RN[0], abs=1e-9)
    moved = np.ptp(together.frames_RKA3[:, -1], axis=0).max()
    assert moved > 0.01  # no two of them are one


def test_a_seed_gives_one_trajectory_bit_for_bit_and_another_seed_another(forces: PotentialForces) -> None:
    first, again = short(forces, STARTS[:2]), short(forces, STARTS[:2])
    np.testing.assert_array_equal(first.frames_RKA3, again.frames_RKA3)
    np.testing.assert_array_equal(first.total_energy_ev_RN, again.total_energy_ev_RN)
    other = short(forces, [start._replace(seed=(9, *start.seed)) for start in STARTS[:2]])
    assert np.abs(first.frames_RKA3[:, -1] - other.frames_RKA3[:, -1]).max() > 0.01


def test_a_network_moves_its_atoms_at_constant_energy(forces: PotentialForces) -> None:
    starts = [start for start in STARTS if not start.thermostat]
    found = short(forces, starts)
    spread = np.ptp(found.total_energy_ev_RN, axis=1)
    assert (spread < 0.05 * found.kinetic_ev_RN.mean(1)).all()


def test_a_leak_of_energy_is_the_drift_of_who_is_intact() -> None:
    time = np.linspace(0, 2, 11)
    energy = np.stack([np.full(11, -3.0), 0.004 * time, 0.004 * time])  # eV
    intact = np.array([True, True, False])
    motion = Motion(np.array([2, 2, 0.1]), intact, time, energy, energy, time, np.zeros((3, 11, 2, 3)))
    found = [drift(motion, replica, 2) for replica in range(3)]
    assert found == pytest.approx([0, 2000, np.nan], abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("ends_in", ["pieces", "nan"])
def test_a_bond_that_is_pulled_apart_is_seen_when_it_must_be(ends_in: str) -> None:
    """Two atoms under a constant force f are 0.5 Angstrom farther apart after sqrt(m 0.5 / f), m their common mass."""
    mass, pull = 16.0, 2.0

    def apart(positions_RA3: Tensor) -> tuple[Tensor, Tensor]:
        away_R3 = positions_RA3[:, 1] - positions_RA3[:, 0]
        length_R1 = away_R3.norm(dim=1, keepdim=True)
        force_R3 = torch.where(length_R1 > 1.01, pull, 0.0) * away_R3 / length_R1
        if ends_in == "nan":
            force_R3 = torch.where(length_R1 > 1.2, torch.nan, force_R3)
        return torch.zeros(len(positions_RA3)), torch.stack([-force_R3, force_R3], 1)

    def place(length: float) -> Start:
        return Start(np.array([[0, 0, 0.0], [0, 0, length]]), 0.0, False, (0,))

    bonds = Bonds(np.array([0]), np.array([1]), np.array([1.0]))
    told: list[tuple[int, int]] = []
    found = move(apart, np.array([mass, mass]), [place(1.02), place(1.0), place(1.02)], bonds, picoseconds=0.2,
                 tell=lambda done, intact: told.append((done, intact)))  # fmt: skip
    assert found.intact_R.tolist() == [False, True, False]
    gap = 0.48 if ends_in == "pieces" else 0.18
    expected_ps = np.sqrt(mass * gap / pull) / units.fs / 1000
    late = 0.005 + (0.001 if ends_in == "nan" else 0)
    assert expected_ps <= found.stable_ps_R[0] <= expected_ps + late
    assert found.stable_ps_R[1] == pytest.approx(0.2)
    assert np.isnan(found.total_energy_ev_RN[0, -1])
    assert np.isfinite(found.total_energy_ev_RN[1]).all()
    assert np.isnan(found.frames_RKA3[0, -1]).all()
    assert found.simulated_ps == pytest.approx(0.2 + 2 * found.stable_ps_R[0])
    assert sum(done for done, _ in told) == 400
    assert (told[0][1], told[-1][1]) == (3, 1)


def test_all_broken_ends_the_run_and_the_bar() -> None:
    told: list[int] = []
    bonds = Bonds(np.array([0]), np.array([1]), np.array([1.0]))
    start = Start(np.array([[0, 0, 0.0], [0, 0, 3.0]]), 0.0, False, (0,))
    found = move(springs, np.ones(2), [start], bonds, picoseconds=0.1, tell=lambda done, _: told.append(done))
    assert (found.stable_ps_R, found.intact_R) == ([0], [False])
    assert sum(told) == 200


def test_a_run_too_short_for_readings_is_refused() -> None:
    with pytest.raises(UserError, match=r"picoseconds must be at least 0\.01, .* got 0\.001; run longer"):
        steps_of(0.001, 0.5)
    assert steps_of(0.01, 0.5) == 20


def test_without_a_bond_nothing_is_said_to_hold_together() -> None:
    none = np.zeros(0, int)
    with pytest.raises(UserError, match="must keep a bond within"):
        move(springs, np.ones(2), [], Bonds(none, none, np.zeros(0)), picoseconds=0.1)
