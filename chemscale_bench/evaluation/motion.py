"""Molecular dynamics of many replicas of one molecule at once: one pass of the network moves all of them a step.

Shapes: R replicas, A atoms, B bonds, P = A (A - 1) ordered pairs, N readings, K kept frames.
Units: Angstrom, eV, atomic mass units, K, fs; velocities in Angstrom per ASE's unit of time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from ase import units
from torch import Tensor

from chemscale_bench.data.structures import all_pairs
from chemscale_bench.errors import UserError
from chemscale_bench.models.potential import Potential, energy_and_forces, frames_graph

Forces = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From positions (R, A, 3) to energies (R,) in eV and forces (R, A, 3) in eV/Angstrom."""

PASS_ATOMS = {"cpu": 4_096, "cuda": 65_536}  # of one pass through the network
READ_STEPS = 10  # steps between two readings of bonds and energy
KEEP_STEPS = 50  # steps between two kept frames, at least
MOST_FRAMES = 2_000  # kept of a trajectory
LEAST_READINGS = 3
FRICTION_PER_FS = 0.01  # of the Langevin thermostat, as for the frames of `embedded`
BROKEN = 0.5  # Angstrom off equilibrium (Fu et al. 2023)


class PotentialForces:
    """Energy and forces of replicas from a network, in its own precision; reads and gives float64.

    Args:
        potential: on any device; its weights are frozen.
        numbers: atomic numbers (A,).
        charge: of the molecule in e.
        unpaired: electrons without a partner.
    """

    def __init__(self, potential: Potential, numbers: np.ndarray, charge: int = 0, unpaired: int = 0) -> None:
        self.potential = potential.eval().requires_grad_(False)
        self.device = potential.scale.device
        self.numbers_A = torch.as_tensor(numbers, dtype=torch.int64, device=self.device)
        self.electrons = charge, unpaired
        self.pairs = tuple(torch.as_tensor(index, device=self.device) for index in all_pairs(len(numbers)))
        self.replicas_at_once = max(1, PASS_ATOMS[self.device.type] // len(numbers))

    def __call__(self, positions_RA3: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (R,), relative to the reference, and forces (R, A, 3)."""
        centred = positions_RA3 - positions_RA3.mean(1, keepdim=True)  # float32 keeps its digits near the origin
        found = [self.one_pass(part) for part in centred.to(self.potential.scale).split(self.replicas_at_once)]
        energy_R, forces_RA3 = (torch.cat(parts).double() for parts in zip(*found, strict=True))
        return energy_R, forces_RA3

    def one_pass(self, positions_RA3: Tensor) -> tuple[Tensor, Tensor]:
        """As many replicas as the network takes at once."""
        near_RP = None  # on a GPU every pair is an edge, as in training
        if self.device.type == "cpu":
            receivers_P, senders_P = self.pairs
            apart_RP3 = positions_RA3[:, senders_P] - positions_RA3[:, receivers_P]
            near_RP = apart_RP3.square().sum(2) < self.potential.cutoff**2
        graph = frames_graph(self.numbers_A, positions_RA3, near_RP, *self.electrons)
        energy_R, forces_A3 = energy_and_forces(self.potential, graph, differentiable=False)
        of_replicas: Tensor = forces_A3.reshape(positions_RA3.shape)
        return energy_R, of_replicas


class Bonds(NamedTuple):
    """The bonds of a molecule at rest."""

    first_B: np.ndarray  # atom
    second_B: np.ndarray  # the atom that it is bonded to
    length_B: np.ndarray  # Angstrom, at equilibrium

    def lengths(self, positions: Tensor) -> Tensor:
        """Length (..., B) in Angstrom of each bond at positions (..., A, 3)."""
        apart = positions[..., self.first_B, :] - positions[..., self.second_B, :]
        length: Tensor = torch.linalg.vector_norm(apart, dim=-1)
        return length


class Start(NamedTuple):
    """Where and how a replica begins."""

    positions_A3: np.ndarray  # Angstrom
    temperature_k: float  # of its first velocities, and of its thermostat
    thermostat: bool  # Langevin with one, NVE without
    seed: tuple[int, ...]  # of velocities and thermostat, and of nothing else


class Motion(NamedTuple):
    """What became of the replicas. A replica is followed until it breaks; NaN is what comes after."""

    stable_ps_R: np.ndarray  # until a bond was first seen off by 0.5 Angstrom; all of the run for who stays intact
    intact_R: np.ndarray  # whether none broke
    time_ps_N: np.ndarray  # of the readings
    total_energy_ev_RN: np.ndarray  # kinetic and potential, relative to the model's reference
    kinetic_ev_RN: np.ndarray
    frame_ps_K: np.ndarray  # times of the kept frames
    frames_RKA3: np.ndarray  # positions, float32, Angstrom

    @property
    def simulated_ps(self) -> float:
        """Of all replicas together."""
        return float(self.stable_ps_R.sum())


def thermal_velocities(
    masses_A: np.ndarray, positions_A3: np.ndarray, temperature_k: float, generator: np.random.Generator
) -> np.ndarray:
    """Maxwell-Boltzmann velocities (A, 3) without the motion of the centre of mass and without rotation."""
    mass_A1 = masses_A[:, None]
    velocities_A3 = generator.standard_normal(positions_A3.shape) * np.sqrt(units.kB * temperature_k / mass_A1)
    velocities_A3 -= (mass_A1 * velocities_A3).sum(0) / masses_A.sum()
    arms_A3 = positions_A3 - (mass_A1 * positions_A3).sum(0) / masses_A.sum()
    inertia_33 = (mass_A1[..., None] * (np.eye(3) * np.square(arms_A3).sum(1)[:, None, None]
                                        - arms_A3[:, :, None] * arms_A3[:, None, :])).sum(0)  # fmt: skip
    momentum_3 = (mass_A1 * np.cross(arms_A3, velocities_A3)).sum(0)
    turning_3 = np.linalg.pinv(inertia_33, rcond=1e-9) @ momentum_3  # a linear molecule has no third axis
    return np.asarray(velocities_A3 - np.cross(turning_3, arms_A3))


class Integrator:
    """Velocity Verlet, and with a thermostat BAOAB (Leimkuhler and Matthews 2013, doi 10.1093/amrx/abs010).

    BAOAB without friction is velocity Verlet, so that both kinds of replicas share a batch. The centre of mass is free:
    ASE's Langevin, which holds it by default, heats ethanol from 500 to 645 K.

    Args:
        forces: of positions.
        masses_A: of the atoms, atomic mass units.
        timestep_fs: of a step.
        friction_per_fs: of the thermostat.
    """

    def __init__(
        self, forces: Forces, masses_A: np.ndarray, timestep_fs: float, friction_per_fs: float = FRICTION_PER_FS
    ) -> None:
        self.forces, self.masses = forces, masses_A
        self.step = timestep_fs * units.fs
        self.kept = float(np.exp(-friction_per_fs * timestep_fs))

    def begin(self, starts: Sequence[Start], device: torch.device) -> None:
        """Place the replicas and draw their velocities."""
        self.generators = [np.random.default_rng(start.seed) for start in starts]
        velocities = [
            thermal_velocities(self.masses, start.positions_A3, start.temperature_k, generator)
            for start, generator in zip(starts, self.generators, strict=True)
        ]
        self.positions_RA3 = torch.as_tensor(np.stack([start.positions_A3 for start in starts])).double().to(device)
        self.velocities_RA3 = torch.as_tensor(np.stack(velocities)).to(device)
        self.mass_A1 = torch.as_tensor(self.masses, dtype=torch.float64).to(device)[:, None]
        kelvin = torch.tensor([start.temperature_k for start in starts], dtype=torch.float64, device=device)
        self.warm = np.array([start.thermostat for start in starts])
        warm_R11 = torch.as_tensor(self.warm, device=device)[:, None, None]
        thermal = (units.kB * kelvin[:, None, None] / self.mass_A1).sqrt()
        self.kept_R11 = torch.where(warm_R11, self.kept, 1.0).double()
        self.kick_RA1 = torch.where(warm_R11, (1 - self.kept**2) ** 0.5 * thermal, 0.0)
        self.energy_R, self.forces_RA3 = self.forces(self.positions_RA3)

    def keep(self, chosen_R: np.ndarray) -> None:
        """Go on with some of the replicas only."""
        index = torch.as_tensor(chosen_R, device=self.positions_RA3.device)
        for name in ("positions_RA3", "velocities_RA3", "kept_R11", "kick_RA1", "energy_R", "forces_RA3"):
            setattr(self, name, getattr(self, name)[index])
        self.warm = self.warm[chosen_R]
        self.generators = [self.generators[replica] for replica in chosen_R]

    def advance(self, steps: int) -> None:
        """So many steps of all replicas; each draws its own noise, whatever the others are."""
        shape = self.positions_RA3.shape[1:]
        noise = np.zeros((steps, len(self.generators), *shape))
        for replica in np.flatnonzero(self.warm):
            noise[:, replica] = self.generators[replica].standard_normal((steps, *shape))
        half = self.step / 2
        for kick_RA3 in torch.as_tensor(noise).to(self.positions_RA3.device):
            self.velocities_RA3 = self.velocities_RA3 + half * self.forces_RA3 / self.mass_A1
            self.positions_RA3 = self.positions_RA3 + half * self.velocities_RA3
            self.velocities_RA3 = self.kept_R11 * self.velocities_RA3 + self.kick_RA1 * kick_RA3
            self.positions_RA3 = self.positions_RA3 + half * self.velocities_RA3
            self.energy_R, self.forces_RA3 = self.forces(self.positions_RA3)
            self.velocities_RA3 = self.velocities_RA3 + half * self.forces_RA3 / self.mass_A1

    @property
    def kinetic_R(self) -> Tensor:
        """Kinetic energy (R,) in eV."""
        return 0.5 * (self.mass_A1 * self.velocities_RA3.square()).sum((1, 2))


def steps_of(picoseconds: float, timestep_fs: float) -> int:
    """Steps of a run, a multiple of the steps between readings.

    Raises:
        UserError: if the run is too short for three readings.
    """
    readings = round(picoseconds * 1000 / timestep_fs / READ_STEPS)
    if readings + 1 < LEAST_READINGS:
        shortest = (LEAST_READINGS - 1) * READ_STEPS * timestep_fs / 1000
        raise UserError(
            f"picoseconds must be at least {shortest:g}, for three readings of the energy, got {picoseconds:g}; run "
            "longer"
        )
    return readings * READ_STEPS


def move(
    forces: Forces, masses: np.ndarray, starts: Sequence[Start], bonds: Bonds, *, picoseconds: float,
    timestep_fs: float = 0.5, device: torch.device | None = None, tell: Callable[[int, int], None] = lambda *_: None,
) -> Motion:  # fmt: skip
    """Run replicas until the end or until a bond of theirs is off by 0.5 Angstrom, whichever is first.

    The stability criterion is that of Fu et al., "Forces are not enough" (2023, arXiv 2210.07237), section 4.

    Args:
        forces: of positions.
        masses: of the atoms (A,), atomic mass units.
        starts: of the replicas. A replica's motion depends on its own start only, but for rounding.
        bonds: whose lengths decide on stability.
        picoseconds: to simulate.
        timestep_fs: of the integrator.
        device: where positions are kept.
        tell: called with the steps done and the replicas that go on, for a progress bar.

    Raises:
        UserError: if the run is too short for three readings, or there is no bond whose breaking could be seen.
    """
    if not len(bonds.length_B):
        raise UserError(
            f"the test frames must keep a bond within {BROKEN:g} Angstrom of its length, by which it is seen whether a "
            "molecule holds together, these keep none; simulate another molecule"
        )
    steps = steps_of(picoseconds, timestep_fs)
    integrator = Integrator(forces, masses, timestep_fs)
    integrator.begin(starts, device or torch.device("cpu"))
    rest_B = torch.as_tensor(bonds.length_B).to(integrator.positions_RA3.device)
    replicas, readings = len(starts), steps // READ_STEPS + 1
    keep = KEEP_STEPS * -(-steps // (KEEP_STEPS * MOST_FRAMES))
    energy, kinetic = np.full((2, replicas, readings), np.nan)
    frames = np.full((replicas, steps // keep + 1, len(masses), 3), np.nan, np.float32)
    time_N = np.arange(readings) * READ_STEPS * timestep_fs / 1000
    stable, going = np.full(replicas, time_N[-1]), np.arange(replicas)
    for reading in range(readings):
        if reading:
            integrator.advance(READ_STEPS)
        off_R = (bonds.lengths(integrator.positions_RA3) - rest_B).abs().amax(1).cpu().numpy()
        whole = off_R <= BROKEN  # false for NaN
        if not whole.all():
            stable[going[~whole]] = time_N[reading]
            going = going[whole]
            integrator.keep(np.flatnonzero(whole))
        if not len(going):
            tell(steps - max(0, reading - 1) * READ_STEPS, 0)
            break
        kinetic[going, reading] = integrator.kinetic_R.cpu().numpy()
        energy[going, reading] = integrator.energy_R.cpu().numpy() + kinetic[going, reading]
        if reading * READ_STEPS % keep == 0:
            frames[going, reading * READ_STEPS // keep] = integrator.positions_RA3.float().cpu().numpy()
        tell(READ_STEPS if reading else 0, len(going))
    intact = np.isin(np.arange(replicas), going)
    frame_K = np.arange(frames.shape[1]) * keep * timestep_fs / 1000
    return Motion(stable, intact, time_N, energy, kinetic, frame_K, frames)
