"""What a file of frames says besides its numbers, and what its numbers say of what was stated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from own_frames import NUMBERS, atoms_list, prepare

from chemscale_bench.data.frame_units import ENERGY_UNITS, LENGTH_UNITS
from chemscale_bench.errors import UserError


def harmonic(seed: int = 0, frames: int = 60) -> dict[str, np.ndarray]:
    """Structures of water whose energies and forces belong together: springs between all pairs, in eV and Angstrom."""
    rng = np.random.default_rng(seed)
    rest = np.array([[0, 0, 0.1], [0, 0.76, -0.5], [0, -0.76, -0.5]])
    positions = rest + 0.05 * rng.normal(size=(frames, 3, 3))
    energies, forces = np.full(frames, -2080.0), np.zeros_like(positions)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        apart = positions[:, i] - positions[:, j]
        length = np.linalg.norm(apart, axis=-1)
        stretch = length - np.linalg.norm(rest[i] - rest[j])
        energies += 10 * stretch**2
        pull = 20 * (stretch / length)[:, None] * apart
        forces[:, i] -= pull
        forces[:, j] += pull
    return {"z": NUMBERS, "R": positions, "E": energies, "F": forces}


def saved(folder: Path, name: str = "water.npz", **changes: Any) -> Path:
    np.savez(folder / name, **(harmonic() | changes))
    return folder / name


@pytest.mark.parametrize(
    ("energy", "length"), [("kcal/mol", "Ang"), ("Ha", "bohr"), ("HARTREE", "a0"), ("kJ/mol", "Angstrom")]
)
def test_units_that_a_file_declares_need_not_be_stated_and_cannot_be_denied(
    energy: str, length: str, tmp_path: Path
) -> None:
    ours = {"kcal/mol": "kcal/mol", "Ha": "Hartree", "HARTREE": "Hartree", "kJ/mol": "kJ/mol"}[energy]
    size, angstrom = ENERGY_UNITS[ours], LENGTH_UNITS["Bohr" if length in ("bohr", "a0") else "Angstrom"]
    made = harmonic()
    content = {"R": made["R"] / angstrom, "E": made["E"] / size, "F": made["F"] / size * angstrom}
    path = saved(tmp_path, "told.npz", **content, e_unit=energy, r_unit=length)
    split = prepare(path, energy_unit="", length_unit="")
    assert split.digest == prepare(saved(tmp_path)).digest
    with pytest.raises(
        UserError, match=rf"energy_unit must be what the file says, told.npz declares {ours} \(e_unit\)"
    ):
        prepare(path, energy_unit="meV", length_unit="")
    with pytest.raises(UserError, match="length_unit must be what the file says"):
        prepare(path, energy_unit="", length_unit="nm")


@pytest.mark.parametrize("names", [("energy", "forces"), ("U0", "pull")])
def test_units_of_a_database_of_schnetpack_are_read(names: tuple[str, str], tmp_path: Path) -> None:
    with ase.db.connect(tmp_path / "water.db") as database:
        units = dict(zip(names, ("eV", "eV/Ang"), strict=True))
        database.metadata = {"_property_unit_dict": units, "_distance_unit": "Ang"}
        for atoms in atoms_list(harmonic()):
            results = {names[0]: np.array([atoms.get_potential_energy()]), names[1]: atoms.get_forces()}
            atoms.calc = None
            database.write(atoms, data=results)
    keys = {} if names[0] == "energy" else {"energy_key": names[0], "forces_key": names[1]}
    read = prepare(tmp_path / "water.db", energy_unit="", length_unit="", **keys)
    assert read.digest == prepare(saved(tmp_path)).digest
    with pytest.raises(UserError, match=r"declares eV/Angstrom \(force_unit\), got Hartree/Bohr"):
        prepare(tmp_path / "water.db", force_unit="Hartree/Bohr", **keys)


@pytest.mark.parametrize("truth", ENERGY_UNITS)
def test_total_energies_tell_a_wrong_unit(truth: str, tmp_path: Path) -> None:
    made, size = harmonic(), ENERGY_UNITS[truth]
    path = saved(tmp_path, E=made["E"] / size, F=made["F"] / size)
    prepare(path, energy_unit=truth)
    for other in ENERGY_UNITS:
        if other != truth:
            with pytest.raises(UserError, match=f"are the total energy of H2O in {truth}; use energy_unit={truth}"):
                prepare(path, energy_unit=other)
    relative = saved(tmp_path, E=made["E"] + 2080)  # these tell nothing
    prepare(relative, energy_unit="eV")


@pytest.mark.parametrize("force_unit", ["", "eV/Angstrom"])
def test_energies_of_valence_electrons_are_no_total_energies_in_hartree(force_unit: str, tmp_path: Path) -> None:
    less = 2080 - 2080 / ENERGY_UNITS["Hartree"]  # eV, which leave a 27th
    path = saved(tmp_path, E=harmonic()["E"] + less)
    (made,) = [note for note in prepare(path, force_unit=force_unit).notes if "could be" in note]
    assert made == "water.npz: its energies could be total energies in Hartree; they count as eV"


@pytest.mark.parametrize(
    ("factor", "words"), [(1 / 0.529, "1.9"), (0.529, "0.53"), (-1, "positive one"), (23.06, "23")]
)
def test_forces_that_contradict_the_energies_are_refused(factor: float, words: str, tmp_path: Path) -> None:
    forces = harmonic()["F"] / factor
    with pytest.raises(UserError, match=f"forces must be the negative gradient of the energies.*{words}"):
        prepare(saved(tmp_path, F=forces))
    prepare(saved(tmp_path))


@pytest.mark.parametrize("train_size", [1, 39])
def test_energies_and_forces_are_compared_on_the_whole_file_however_little_is_trained_on(
    train_size: int, tmp_path: Path
) -> None:
    given = {"train_size": train_size, "validation_frames": 1, "test_frames": 20}
    contradict = saved(tmp_path, F=harmonic()["F"] * 0.529)
    with pytest.raises(UserError, match=r"1\.9 times as large"):
        prepare(contradict, **given)
    near = saved(tmp_path, F=harmonic()["F"] / 1.25)
    (note,) = [note for note in prepare(near, **given).notes if "times as much" in note]
    assert "water.npz: its energies vary 1.2" in note
    assert not any("times as much" in note for note in prepare(saved(tmp_path), **given).notes)


def test_forces_may_have_a_unit_of_their_own(tmp_path: Path) -> None:
    made, bohr = harmonic(), LENGTH_UNITS["Bohr"]
    path = saved(
        tmp_path, "own.npz", E=made["E"] / ENERGY_UNITS["Hartree"], F=made["F"] / ENERGY_UNITS["Hartree"] * bohr
    )
    split = prepare(path, energy_unit="Hartree", force_unit="Hartree/Bohr")
    assert split.digest == prepare(saved(tmp_path)).digest
    with pytest.raises(UserError, match=r"force_unit must be one of .*got 'Hartree/bohr'; did you mean Hartree/Bohr"):
        prepare(path, energy_unit="Hartree", force_unit="Hartree/bohr")


def test_labels_under_names_of_their_own_are_read_and_named(tmp_path: Path) -> None:
    listed = []
    for positions, energy, forces in zip(*(harmonic()[name] for name in "REF"), strict=True):
        atoms = Atoms(NUMBERS, positions)
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = energy, forces
        listed.append(atoms)
    ase.io.write(tmp_path / "ref.extxyz", listed, format="extxyz")
    split = prepare(tmp_path / "ref.extxyz")
    np.testing.assert_allclose(split.train.forces, prepare(saved(tmp_path)).train.forces, atol=1e-7)
    assert any("REF_energy and REF_forces" in note for note in split.notes)
    for atoms in listed:
        atoms.info["DFT_energy"] = 1.0
    ase.io.write(tmp_path / "two.extxyz", listed, format="extxyz")
    with pytest.raises(UserError, match=r"one energy, frame 0 of two.extxyz has .*REF_energy.*energy_key="):
        prepare(tmp_path / "two.extxyz")
    chosen = prepare(tmp_path / "two.extxyz", energy_key="REF_energy")
    assert chosen.digest == split.digest
    made = harmonic()
    np.savez(tmp_path / "ref.npz", z=made["z"], R=made["R"], REF_energy=made["E"], REF_forces=made["F"])
    assert prepare(tmp_path / "ref.npz").digest == prepare(saved(tmp_path)).digest


def under_keys(folder: Path, suffix: str, energy: str, forces: str) -> Path:
    """The frames of `saved` with their labels under these keys, beside an energy and forces of another method."""
    made, path = harmonic(), folder / f"keys.{suffix}"
    if suffix == "npz":
        others = {"E": made["E"] + 1, "F": 2 * made["F"]}
        np.savez(path, z=made["z"], R=made["R"], **others, **{energy: made["E"], forces: made["F"]})
        return path
    listed = atoms_list(made | {"E": made["E"] + 1, "F": 2 * made["F"]})
    if suffix == "extxyz":
        for atoms, value, pull in zip(listed, made["E"], made["F"], strict=True):
            atoms.info[energy], atoms.arrays[forces] = value, pull
        ase.io.write(path, listed, format="extxyz")
        return path
    with ase.db.connect(path, type="db") as database:
        for atoms, value, pull in zip(listed, made["E"], made["F"], strict=True):
            database.write(atoms, data={energy: np.array([value]), forces: pull})
    return path


@pytest.mark.parametrize("suffix", ["npz", "extxyz", "db"])
def test_keys_that_are_stated_are_read_and_those_that_are_there_are_named(suffix: str, tmp_path: Path) -> None:
    path, expected = under_keys(tmp_path, suffix, "U0", "pull"), prepare(saved(tmp_path))
    split = prepare(path, energy_key="U0", forces_key="pull")
    np.testing.assert_allclose(split.train.energies, expected.train.energies, atol=1e-6)
    np.testing.assert_allclose(split.train.forces, expected.train.forces, atol=1e-6)
    for name, wrong in (("energy_key", "U1"), ("forces_key", "push")):
        with pytest.raises(UserError, match=rf"(?=.*{name})(?=.*{wrong}).*U0.*pull"):
            prepare(path, **{"energy_key": "U0", "forces_key": "pull", name: wrong})


def test_test_frames_may_have_energies_only(tmp_path: Path) -> None:
    other = harmonic(1)
    np.savez(tmp_path / "test.npz", **{name: other[name] for name in "zRE"})
    split = prepare(saved(tmp_path), test_data=str(tmp_path / "test.npz"))
    assert not split.test.has_forces
    assert len(split.test) == 10
    assert any("measures energies only" in note for note in split.notes)
    np.savez(tmp_path / "whole.npz", **other)
    assert prepare(saved(tmp_path), test_data=str(tmp_path / "whole.npz")).digest != split.digest


def test_single_atoms_give_the_energy_of_reference(tmp_path: Path) -> None:
    listed = atoms_list(harmonic())
    for symbol, energy in (("H", -13.6), ("O", -2041.0)):
        atom = Atoms(symbol)
        atom.calc = SinglePointCalculator(atom, energy=energy, forces=np.zeros((1, 3)))
        listed.insert(1, atom)
    ase.io.write(tmp_path / "atoms.extxyz", listed, format="extxyz")
    split = prepare(tmp_path / "atoms.extxyz")
    assert len(split.train.numbers) == 3
    (note,) = [note for note in split.notes if "single atoms" in note]
    bound = float(note.split("mean energy ")[1].split()[0])
    assert bound == pytest.approx(harmonic()["E"].mean() + 2 * 13.6 + 2041.0, abs=1e-3)


def test_charge_and_multiplicity_are_kept_or_refused(tmp_path: Path) -> None:
    listed = atoms_list(harmonic())
    for atoms in listed:
        atoms.info |= {"charge": 1, "spin": 2}
    ase.io.write(tmp_path / "cation.extxyz", listed, format="extxyz")
    split = prepare(tmp_path / "cation.extxyz")
    assert (split.train.charge, split.test.unpaired) == (1, 1)
    assert split.digest != prepare(saved(tmp_path)).digest
    assert any("charge +1 e, unpaired electrons: 1" in note for note in split.notes)
    assert prepare(saved(tmp_path, charge=-1)).train.unpaired == 1, "an odd number of electrons"
    listed[3].info["charge"] = 0
    ase.io.write(tmp_path / "two.extxyz", listed, format="extxyz")
    with pytest.raises(UserError, match=r"all frames must have one charge, a whole number, two.extxyz has 0.0, 1.0"):
        prepare(tmp_path / "two.extxyz")
    with pytest.raises(UserError, match="charge 1 and multiplicity 1 with 9 electrons"):
        prepare(saved(tmp_path, charge=1, spin=1))
    for name, text in (("charge", "neutral"), ("multiplicity", "singlet")):
        with pytest.raises(UserError, match=f"all frames must have one {name}, a whole number, .* has {text}"):
            prepare(saved(tmp_path, **{name: text}))


def test_of_two_labels_the_user_says_which_is_meant(tmp_path: Path) -> None:
    listed = atoms_list(harmonic())
    for atoms in listed:
        atoms.info["REF_energy"] = atoms.get_potential_energy() - 1
        atoms.arrays["REF_forces"] = atoms.get_forces()
    ase.io.write(tmp_path / "both.extxyz", listed, format="extxyz")
    with pytest.raises(UserError, match=r"must have one energy, .* has \w*energy and \w*energy among .* energy_key="):
        prepare(tmp_path / "both.extxyz")
    one, other = (prepare(tmp_path / "both.extxyz", energy_key=key) for key in ("energy", "REF_energy"))
    assert one.train.energies - other.train.energies == pytest.approx(1, abs=1e-6)
