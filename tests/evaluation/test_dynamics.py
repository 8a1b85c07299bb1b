"""The ASE calculator of a checkpoint, and a molecule at rest."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.fd import calculate_numerical_forces
from ase.io import read
from ase.optimize import BFGS
from ase.vibrations import Vibrations

from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.dynamics import ForceFieldCalculator, rest
from chemscale_bench.models import force_fields
from chemscale_bench.models.potential import energy_and_forces, molecule_graph
from chemscale_bench.models.registry import FORCE_FIELDS

WATER = Atoms("OH2", [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = force_fields.config_for("schnet", 10_000, (1, 8))
    network = force_fields.build("schnet", config, (1, 8), seed=0)
    force_fields.save(tmp_path, "schnet", network, config, (1, 8), {"reference_ev": -2000.5})
    return tmp_path


def test_the_calculator_gives_the_networks_numbers_wherever_the_molecule_is(folder: Path) -> None:
    network, _ = force_fields.load(folder)
    graph = molecule_graph(WATER.numbers, WATER.positions, network.cutoff, network.scale)
    energy, forces = energy_and_forces(network, graph, differentiable=False)
    for shift in (0.0, 300.0):
        water = WATER.copy()
        water.positions += shift
        water.calc = ForceFieldCalculator(folder)
        assert water.calc.allowed_atomic_numbers == {1, 8}
        assert water.get_potential_energy() == pytest.approx(float(energy) - 2000.5, abs=1e-5)
        assert water.get_forces() == pytest.approx(forces.numpy(), abs=1e-5)


@pytest.mark.parametrize("model", FORCE_FIELDS.modules)
def test_forces_are_the_slope_of_the_free_energy_by_ases_own_differences(tmp_path: Path, model: str) -> None:
    config = force_fields.default_config(model)
    network = force_fields.build(model, config, (1, 8), seed=0)
    force_fields.save(tmp_path, model, network, config, (1, 8), {"reference_ev": -2000.5})
    water = WATER.copy()
    water.calc = ForceFieldCalculator(tmp_path)
    assert water.get_potential_energy(force_consistent=True) == water.get_potential_energy()
    numerical = calculate_numerical_forces(water, eps=1e-5, force_consistent=True)
    assert water.get_forces() == pytest.approx(numerical, abs=1e-6)


def test_ase_relaxes_a_molecule_and_finds_its_vibrations(folder: Path, tmp_path: Path) -> None:
    water = WATER.copy()
    water.calc = ForceFieldCalculator(folder)
    before = water.get_potential_energy()
    with BFGS(water, logfile=None, trajectory=str(tmp_path / "relaxation.traj")) as relaxation:
        assert relaxation.run(fmax=1e-4, steps=500)
    frames = read(tmp_path / "relaxation.traj", ":")
    assert water.get_potential_energy() == frames[-1].get_potential_energy(force_consistent=True) < before
    vibrations = Vibrations(water, name=str(tmp_path / "vibrations"))
    vibrations.run()
    wavenumbers = vibrations.get_frequencies()
    assert wavenumbers.shape == (9,)
    assert np.sort(np.abs(wavenumbers))[5] < 20 < np.sort(np.abs(wavenumbers))[6]  # six rigid motions, three vibrations


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), r"atoms must be of elements \[1, 8\], got \[6\]"),
        (Atoms("OH", [[0, 0, 0], [0, 0, 1]], cell=[9, 9, 9], pbc=True), "no periodic images"),
    ],
)
def test_what_it_was_not_trained_for_is_refused(folder: Path, atoms: Atoms, message: str) -> None:
    atoms.calc = ForceFieldCalculator(folder)
    with pytest.raises(UserError, match=message):
        atoms.get_forces()


def test_a_model_of_one_molecule_takes_its_stoichiometry_only_in_any_order(folder: Path) -> None:
    config = force_fields.config_for("schnet", 10_000, (1, 8))
    network = force_fields.build("schnet", config, (1, 8), seed=0)
    about = {"reference_ev": -2000.5, "numbers": [8, 1, 1]}
    force_fields.save(folder, "schnet", network, config, (1, 8), about)
    water, turned = WATER.copy(), WATER[[1, 0, 2]]
    for atoms in (water, turned):
        atoms.calc = ForceFieldCalculator(folder)
    assert water.get_potential_energy() == pytest.approx(turned.get_potential_energy(), abs=1e-9)
    two = Atoms("OH2OH2", [*WATER.positions, *(WATER.positions + 3)], calculator=ForceFieldCalculator(folder))
    with pytest.raises(
        UserError, match=r"those that the model was trained on, H2O, got H4O2: .*; train on that"
    ) as error:
        two.get_potential_energy()
    assert "\n" not in str(error.value)


class Wells(Calculator):  # type: ignore[misc]
    """Two atoms on a spring; a hill in place of a well if its constant is negative."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, constant: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.constant = constant

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        away = self.atoms.positions[1] - self.atoms.positions[0]
        length = np.linalg.norm(away)
        pull = self.constant * (length - 1.0) * away / length
        energy = 0.5 * self.constant * (length - 1.0) ** 2
        self.results = {"energy": energy, "free_energy": energy, "forces": np.array([pull, -pull])}


@pytest.mark.parametrize("constant", [20.0, -20.0])
def test_two_atoms_vibrate_as_fast_as_the_spring_and_the_masses_say(constant: float) -> None:
    length = 1.1 if constant > 0 else 1.0
    found = rest(Atoms("OO", [[0, 0, 0], [0, 0, length]], calculator=Wells(constant)))
    reduced = 15.999 / 2
    expected = np.sqrt(abs(constant) / reduced) / (2 * np.pi) / (units._c * 100) * units.s
    assert found.converged
    assert np.linalg.norm(np.diff(found.positions_A3, axis=0)) == pytest.approx(1.0, abs=1e-4)
    assert found.wavenumbers_per_cm == pytest.approx([np.sign(constant) * expected], rel=2e-3)
    assert found.imaginary == (constant < 0)


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors", "model"])
def test_a_damaged_checkpoint_gives_one_line(folder: Path, damage: str) -> None:
    if damage == "model":
        (folder / "config.json").write_text((folder / "config.json").read_text().replace("schnet", "painn"))
    else:
        (folder / damage).write_text("nothing")
    with pytest.raises(UserError, match="a force field must be a folder with config") as raised:
        ForceFieldCalculator(folder)
    assert "\n" not in str(raised.value)
