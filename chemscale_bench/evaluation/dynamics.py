"""A trained force field through ASE: relaxation and vibrations. motion.py has many replicas that move at once."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from chemscale_bench.data.references import ReferenceEnergies
from chemscale_bench.errors import UserError
from chemscale_bench.models.force_fields import load
from chemscale_bench.models.potential import energy_and_forces, molecule_graph

LEAST_FORCE = 1e-3  # eV/Angstrom, where a relaxation ends
MOST_STEPS = 500  # of a relaxation


class ForceFieldCalculator(Calculator):
    """An ASE calculator for molecules without periodic images.

    It computes in float64: relaxations, vibrations and numerical derivatives take differences of nearly equal energies.
    A model of one molecule (`numbers` in its config.json) takes its stoichiometry only, in any order of the atoms. A
    model of several takes any molecule of their elements, as neutral and with the fewest unpaired electrons.
    There are no electrons, so that the free energy, which ASE's optimizers and vibrations ask for, is the energy.

    Args:
        folder: the `model` artifact of a run.
        device: of torch.

    Example:
        >>> import ase.build
        >>> entries = Path("leaderboard/entries/embedded-ff@ethanol")  # of a checkout, with their checkpoints
        >>> ethanol = ase.build.molecule("CH3CH2OH")
        >>> ethanol.calc = ForceFieldCalculator(next(entries.rglob("model.safetensors")).parent)
        >>> ethanol.get_forces().shape  # eV/Angstrom
        (9, 3)
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 (ASE's own way)

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.potential, self.record = load(Path(folder))
        self.potential.to(device, torch.float64).eval()
        self.reference = ReferenceEnergies.from_record(self.record)
        self.allowed_atomic_numbers: set[int] = set(self.record["elements"])  # MLIPAudit asks for it

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:  # fmt: skip
        """Energy in eV, reference included, and forces in eV/Angstrom."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        molecule: Any = self.atoms
        unknown = set(molecule.numbers.tolist()) - set(self.record["elements"])
        if unknown:
            raise UserError(
                f"atoms must be of elements {self.record['elements']}, got {sorted(unknown)}; train on them"
            )
        trained = sorted(self.record.get("numbers", ()))
        if trained and sorted(molecule.numbers.tolist()) != trained:
            raise UserError(
                f"atoms must be those that the model was trained on, {formula(trained)}, got "
                f"{formula(molecule.numbers)}: elsewhere its energy means nothing; train on that molecule"
            )
        if molecule.pbc.any():
            raise UserError(f"atoms must have no periodic images, got pbc={molecule.pbc}; set it to False")
        lowest = int(molecule.numbers.sum() % 2) if self.reference.atomic_ev else 0
        graph = molecule_graph(
            molecule.numbers, molecule.positions, self.potential.cutoff, self.potential.scale,
            self.record.get("charge", 0), self.record.get("unpaired", lowest),
        )  # fmt: skip
        relative, forces = energy_and_forces(self.potential, graph, differentiable=False)
        energy = float(relative) + self.reference.of(molecule.numbers)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces.cpu().numpy()}


def formula(numbers: Any) -> str:
    """Of atomic numbers, in Hill's order: C2H6O."""
    return str(Atoms(sorted(numbers)).get_chemical_formula("hill"))


class AtRest(NamedTuple):
    """A molecule at a minimum of its potential energy, and how it vibrates there."""

    positions_A3: np.ndarray  # Angstrom
    steps: int  # of the relaxation
    converged: bool  # whether no force is above 1e-3 eV/Angstrom
    wavenumbers_per_cm: np.ndarray  # of the vibrations, the imaginary ones negative, ascending

    @property
    def imaginary(self) -> int:
        """Vibrations of negative curvature: none at a minimum."""
        return int((self.wavenumbers_per_cm < 0).sum())


def rest(atoms: Atoms) -> AtRest:
    """Relax a molecule and find its harmonic vibrations, by ASE.

    Args:
        atoms: with a calculator; is moved.
    """
    from ase.optimize import BFGS
    from ase.vibrations import Vibrations  # loads matplotlib

    with BFGS(atoms, logfile=None) as relaxation:
        converged = bool(relaxation.run(fmax=LEAST_FORCE, steps=MOST_STEPS))
    with TemporaryDirectory() as temporary:
        vibrations = Vibrations(atoms, name=str(Path(temporary) / "vibrations"))
        vibrations.run()
        found = np.asarray(vibrations.get_frequencies())
    signed = found.real - found.imag  # each is real or imaginary
    inertia = atoms.get_moments_of_inertia()
    rigid = 5 if inertia[0] < 1e-3 * inertia[-1] else 6
    kept = np.sort(signed[np.argsort(np.abs(signed))[rigid:]])
    return AtRest(atoms.positions.copy(), relaxation.nsteps, converged, kept)
