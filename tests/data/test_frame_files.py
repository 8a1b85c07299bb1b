"""The user's own frames: every format and unit gives the same content, and what is wrong is told on one line."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from chemscale_bench.data.frame_files import ENERGY_UNITS, LENGTH_UNITS
from chemscale_bench.data.frames import FrameSplit, prepare_frames
from chemscale_bench.errors import UserError

NUMBERS = np.array([8, 1, 1])
FRAMES = 30


def content(seed: int = 0) -> dict[str, np.ndarray]:
    """Thirty structures of water in Angstrom and eV, with made-up labels."""
    rng = np.random.default_rng(seed)
    water = np.array([[0, 0, 0.1], [0, 0.76, -0.5], [0, -0.76, -0.5]])
    return {
        "z": NUMBERS,
        "R": water + 0.1 * rng.normal(size=(FRAMES, 3, 3)),
        "E": rng.normal(-2000, 1, FRAMES),
        "F": rng.normal(size=(FRAMES, 3, 3)),
    }


def atoms_list(arrays: dict[str, np.ndarray]) -> list[Atoms]:
    listed = []
    for positions, energy, forces in zip(arrays["R"], arrays["E"], arrays["F"], strict=True):
        atoms = Atoms(arrays["z"], positions)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        listed.append(atoms)
    return listed


def prepare(path: Path, **changes: Any) -> FrameSplit:
    arguments = {"split": 1, "train_size": 10, "validation_frames": 5, "test_frames": 10}
    arguments |= {"molecule": "water", "energy_unit": "eV", "length_unit": "Angstrom", **changes}
    return prepare_frames(str(path), **arguments)  # type: ignore[arg-type]


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    np.savez(tmp_path / "water.npz", **content())
    return tmp_path / "water.npz"


@pytest.mark.parametrize(
    "names",
    [
        ("z", "R", "E", "F"),
        ("nuclear_charges", "coords", "energies", "forces"),
        ("atomic_numbers", "positions", "energy", "forces"),
        ("numbers", "positions", "energies", "F"),
    ],
)
def test_keys_are_known_by_their_common_spellings(names: tuple[str, ...], tmp_path: Path, npz: Path) -> None:
    arrays = dict(zip(names, content().values(), strict=True))
    np.savez(tmp_path / "other.npz", **arrays, old_energies=arrays[names[2]] + 1, theory="PBE")
    assert prepare(tmp_path / "other.npz").digest == prepare(npz).digest


def test_md17_shapes_are_read(tmp_path: Path, npz: Path) -> None:
    arrays = content()
    arrays["E"] = arrays["E"][:, None]
    arrays["z"] = np.tile(arrays["z"].astype(np.uint8), (FRAMES, 1))
    np.savez(tmp_path / "md17.npz", **arrays)
    assert prepare(tmp_path / "md17.npz").digest == prepare(npz).digest


@pytest.mark.parametrize("energy_unit", ENERGY_UNITS)
@pytest.mark.parametrize("length_unit", LENGTH_UNITS)
def test_units_are_converted(energy_unit: str, length_unit: str, tmp_path: Path, npz: Path) -> None:
    arrays, energy, length = content(), ENERGY_UNITS[energy_unit], LENGTH_UNITS[length_unit]
    arrays = {
        "z": NUMBERS,
        "R": arrays["R"] / length,
        "E": arrays["E"] / energy,
        "F": arrays["F"] / (energy / length),
    }
    np.savez(tmp_path / "other.npz", **arrays)
    other = prepare(tmp_path / "other.npz", energy_unit=energy_unit, length_unit=length_unit)
    expected = prepare(npz)
    np.testing.assert_allclose(other.test.energies, expected.test.energies, rtol=1e-12)
    np.testing.assert_allclose(other.test.forces, expected.test.forces, rtol=1e-12)
    assert other.digest == expected.digest


@pytest.mark.parametrize("suffix", ["extxyz", "xyz", "db"])
def test_what_ase_writes_is_read(suffix: str, tmp_path: Path, npz: Path) -> None:
    ase.io.write(tmp_path / f"water.{suffix}", atoms_list(content()), format="db" if suffix == "db" else "extxyz")
    read, expected = prepare(tmp_path / f"water.{suffix}"), prepare(npz)
    assert np.array_equal(read.train.numbers, NUMBERS)
    for name in ("positions", "energies", "forces"):
        # extxyz has eight decimals.
        np.testing.assert_allclose(getattr(read.train, name), getattr(expected.train, name), atol=1e-8)


def test_a_database_of_schnetpack_is_read(tmp_path: Path, npz: Path) -> None:
    with ase.db.connect(tmp_path / "water.db") as database:
        for atoms in atoms_list(content()):
            results = {"energy": np.array([atoms.get_potential_energy()]), "forces": atoms.get_forces()}
            atoms.calc = None
            database.write(atoms, data=results)
    assert prepare(tmp_path / "water.db").digest == prepare(npz).digest


def test_one_file_is_divided_at_random_once_and_for_all(npz: Path) -> None:
    split = prepare(npz)
    energies = content()["E"]
    where = [np.searchsorted(np.sort(energies), part.energies) for part in split[:3]]
    assert len(np.unique(np.concatenate(where))) == 25
    order = np.random.RandomState(1).permutation(FRAMES)
    assert np.array_equal(split.test.energies, energies[order[:10]])
    assert np.array_equal(split.train.energies, energies[order[10:20]])
    assert np.array_equal(split.validation.energies, energies[order[-5:]])
    smaller = prepare(npz, train_size=3)
    assert np.array_equal(smaller.train.energies, split.train.energies[:3])
    assert smaller.validation.digest == split.validation.digest
    assert smaller.digest == split.digest
    assert prepare(npz, split=2).digest != split.digest
    assert "one file" in split.notes[0]
    assert split.name == "water.npz"


def test_two_files_keep_their_order(npz: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", **content(1))
    split = prepare(npz, test_data=str(tmp_path / "test.npz"), train_size=25)
    assert np.array_equal(split.train.energies, content()["E"][:25])
    assert np.array_equal(split.validation.energies, content()["E"][25:])
    assert np.array_equal(split.test.energies, content(1)["E"][:10])


def spoiled(name: str, value: Any, index: Any = ...) -> dict[str, np.ndarray]:
    arrays = content()
    arrays[name] = arrays[name].copy()
    arrays[name][index] = value
    return arrays


def without(name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in content().items() if key != name}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (spoiled("R", np.nan, (7, 1, 2)), r"positions must be finite .*frame 7 of bad.npz has nan.*\(1 of 30\)"),
        (spoiled("E", np.inf, 3), "energies must be finite .*frame 3 of bad.npz has inf"),
        (spoiled("F", -1e300, (4, 0, 0)), "forces must be finite .*frame 4 "),
        (without("F"), "must hold forces under exactly one of F, forces, got none among z, R, E"),
        (without("z"), "must hold atomic numbers under exactly one of"),
        ({**content(), "forces": content()["F"]}, "exactly one of F, forces, got F and forces"),
        ({**content(), "F": content()["F"][:, :2]}, r"bad.npz has \(30, 3, 3\), \(30, 2, 3\), \(30,\) and \(3,\)"),
        ({**content(), "E": content()["E"][:29]}, r"\(29,\)"),
        ({**content(), "R": np.array(1.0)}, "positions and forces must be"),
        ({**content(), "z": np.tile(NUMBERS, (FRAMES, 1)) + np.eye(FRAMES, 3, -9, int)}, "frame 9 of bad.npz differs"),
        ({**content(), "z": np.array([8, 1, 0])}, "whole numbers from 1 to 118"),
        ({**content(), "z": np.array(["O", "H", "H"])}, "numbers must be numbers, bad.npz has <U1"),
        ({**content(), "E": content()["E"].astype(complex)}, "energies must be numbers, bad.npz has complex"),
        ({**content(), "E": content()["E"].astype(object)}, "pickled objects are never loaded"),
        ({"z": [8], "R": np.ones((9, 1, 3)), "E": np.ones(9), "F": np.ones((9, 1, 3))}, "at least two atoms"),
        (
            {"z": NUMBERS, "R": np.ones((0, 3, 3)), "E": np.ones(0), "F": np.ones((0, 3, 3))},
            "at least one frame, got none",
        ),
        (spoiled("R", content()["R"][3], 4), None),
        ({**content(), "R": content()["R"] * 100}, "the nearest two in frame .* are .* apart; check length_unit"),
    ],
)
def test_a_bad_npz_is_refused_on_one_line(arrays: dict[str, Any], words: str | None, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    if words is None:  # A frame that is there twice matters only across train and test.
        words = "1 of the test frames of bad.npz have the positions of a training frame"
        order = np.random.RandomState(1).permutation(FRAMES).tolist()
        copied = {key: value if key == "z" else value.copy() for key, value in content().items()}
        copied["R"][order[0]] = copied["R"][order[12]]
        np.savez(tmp_path / "bad.npz", **copied)
    with pytest.raises(UserError, match=words) as caught:
        prepare(tmp_path / "bad.npz")
    assert "\n" not in str(caught.value)


def written(folder: Path, name: str, change: str) -> Path:
    """A file of ASE's with one thing wrong."""
    listed, path = atoms_list(content()), folder / name
    if change == "no forces":
        listed[5].calc = SinglePointCalculator(listed[5], energy=1.0)
    elif change == "no labels":
        listed[5].calc = None
    elif change == "mixed":
        listed[5] = atoms_list({**content(), "z": np.array([16, 1, 1])})[5]
    elif change == "more atoms":
        listed[5] = Atoms("H4", np.eye(4, 3))
    elif change == "periodic":
        listed[5].set_cell([9, 9, 9])
        listed[5].pbc = True
    ase.io.write(path, listed, format="db" if path.suffix == ".db" else "extxyz")
    return path


@pytest.mark.parametrize("name", ["bad.extxyz", "bad.db"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("no forces", "frame 5 of bad.* has energy and no forces"),
        ("no labels", "frame 5 of bad.* has no energy and no forces"),
        ("mixed", "frame 5 of bad.* differs from frame 0"),
        ("more atoms", "frame 5 of bad.* differs from frame 0"),
        ("periodic", "frame 5 of bad.* is periodic"),
    ],
)
def test_a_bad_file_of_ase_is_refused_on_one_line(name: str, change: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as caught:
        prepare(written(tmp_path, name, change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["npz", "extxyz", "xyz", "db"])
@pytest.mark.parametrize(
    ("bytes_", "words"), [(b"", "must not be empty"), (b"not frames\nat all\n", "must be"), (None, "existing file")]
)
def test_an_unreadable_file_is_refused_on_one_line(
    suffix: str, bytes_: bytes | None, words: str, tmp_path: Path
) -> None:
    if bytes_ is not None:
        (tmp_path / f"bad.{suffix}").write_bytes(bytes_)
    with pytest.raises(UserError, match=words) as caught:
        prepare(tmp_path / f"bad.{suffix}")
    assert "\n" not in str(caught.value)


class Attack:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("attacked"),)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Attack()))
    np.savez(tmp_path / "inside.npz", **{**content(), "E": np.array([Attack()], dtype=object)})
    for name in ("plain", "inside"):
        with pytest.raises(UserError, match="pickled objects are never loaded"):
            prepare(tmp_path / f"{name}.npz")
    assert not (tmp_path / "attacked").exists()


def test_a_truncated_npz_and_a_single_array_are_refused(npz: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.npz").write_bytes(npz.read_bytes()[:2000])
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, np.ones(3))
    for name, words in (("cut", "cannot be read"), ("single", "got a single array")):
        with pytest.raises(UserError, match=words):
            prepare(tmp_path / f"{name}.npz")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"energy_unit": ""}, r"energy_unit must be stated .*\(eV, meV, kcal/mol, kJ/mol, Hartree\), got none"),
        ({"length_unit": ""}, r"length_unit must be stated .*\(Angstrom, Bohr, nm\), got none"),
        ({"energy_unit": "kcal"}, "got 'kcal'; did you mean kcal/mol"),
        ({"energy_unit": "ev"}, "got 'ev'; did you mean eV"),
        ({"energy_unit": "Ha"}, "got 'Ha'; did you mean Hartree"),
        ({"length_unit": "Ang"}, "got 'Ang'; did you mean Angstrom"),
        ({"length_unit": "furlong"}, "got 'furlong'; convert the file"),
        ({"train_size": 26}, r"at most 24 in water.npz \(29 frames less 5 for validation\), got 26"),
        ({"test_data": "missing.npz"}, "existing file, got .*missing.npz"),
    ],
)
def test_what_is_asked_must_be_possible(changes: dict[str, Any], words: str, npz: Path) -> None:
    with pytest.raises(UserError, match=words) as caught:
        prepare(npz, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("train_size", "test_frames", "left"), [(10, 1000, 15), (24, 31, 1), (3, 7, 7)])
def test_a_small_file_is_tested_on_what_training_leaves(
    train_size: int, test_frames: int, left: int, npz: Path
) -> None:
    split = prepare(npz, train_size=train_size, test_frames=test_frames)
    assert (len(split.train), len(split.validation), len(split.test)) == (train_size, 5, left)


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "water.csv").write_text("x")
    with pytest.raises(UserError, match=r"must end in \.npz, \.extxyz, \.xyz, \.db, got water\.csv"):
        prepare(tmp_path / "water.csv")


def test_test_data_of_another_molecule_or_of_the_same_frames_is_refused(npz: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", **{**content(1), "z": np.array([16, 1, 1])})
    with pytest.raises(UserError, match=r"one molecule .* got H2O in water.npz and H2S in other.npz"):
        prepare(npz, test_data=str(tmp_path / "other.npz"))
    with pytest.raises(UserError, match=r"10 of the test frames of water.npz have the positions .*training 0, test 0"):
        prepare(npz, test_data=str(npz))


# -- what a file says besides, and what its numbers say -----------------------------------------------------------


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


def test_units_of_a_database_of_schnetpack_are_read(tmp_path: Path) -> None:
    with ase.db.connect(tmp_path / "water.db") as database:
        database.metadata = {"_property_unit_dict": {"energy": "eV", "forces": "eV/Ang"}, "_distance_unit": "Ang"}
        for atoms in atoms_list(harmonic()):
            results = {"energy": np.array([atoms.get_potential_energy()]), "forces": atoms.get_forces()}
            atoms.calc = None
            database.write(atoms, data=results)
    assert prepare(tmp_path / "water.db", energy_unit="", length_unit="").digest == prepare(saved(tmp_path)).digest
    with pytest.raises(UserError, match=r"declares eV/Angstrom \(force_unit\), got Hartree/Bohr"):
        prepare(tmp_path / "water.db", force_unit="Hartree/Bohr")


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


@pytest.mark.parametrize(
    ("factor", "words"), [(1 / 0.529, "1.9"), (0.529, "0.53"), (-1, "positive one"), (23.06, "23")]
)
def test_forces_that_contradict_the_energies_are_refused(factor: float, words: str, tmp_path: Path) -> None:
    forces = harmonic()["F"] / factor
    with pytest.raises(UserError, match=f"forces must be the negative gradient of the energies.*{words}"):
        prepare(saved(tmp_path, F=forces))
    prepare(saved(tmp_path))


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
    with pytest.raises(UserError, match=r"one energy, frame 0 of two.extxyz has .*REF_energy"):
        prepare(tmp_path / "two.extxyz")


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
