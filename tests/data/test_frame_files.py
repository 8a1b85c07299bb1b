"""The user's own frames: every format and unit gives the same content, and what is wrong is told on one line."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from own_frames import FRAMES, NUMBERS, atoms_list, content, prepare

from chemscale_bench.data.frame_units import ENERGY_UNITS, LENGTH_UNITS
from chemscale_bench.errors import UserError


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
    assert len(np.unique(np.concatenate(where))) == 21
    order = np.random.RandomState(1).permutation(FRAMES)
    assert np.array_equal(split.test.energies, energies[order[:6]])
    assert np.array_equal(split.train.energies, energies[order[6:16]])
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
        (without("F"), "must hold forces under exactly one of F, forces, REF_forces, got none among z, R, E"),
        (without("z"), "must hold atomic numbers under exactly one of"),
        ({**content(), "forces": content()["F"]}, "exactly one of F, forces, REF_forces, got F and forces"),
        ({**content(), "F": content()["F"][:, :2]}, r"bad.npz has \(30, 3, 3\), \(30, 2, 3\), \(30,\) and \(3,\)"),
        ({**content(), "E": content()["E"][:29]}, r"\(29,\)"),
        ({**content(), "R": np.array(1.0)}, "positions and forces must be"),
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
        (
            {"energy_unit": "", "length_unit": ""},
            r"energy_unit and length_unit must be .*Hartree; Angstrom, Bohr, nm",
        ),
        ({"energy_unit": "kcal"}, "got 'kcal'; did you mean kcal/mol"),
        ({"energy_unit": "ev"}, "got 'ev'; did you mean eV"),
        ({"energy_unit": "Ha"}, "got 'Ha'; did you mean Hartree"),
        ({"length_unit": "Ang"}, "got 'Ang'; did you mean Angstrom"),
        ({"length_unit": "furlong"}, "got 'furlong'; convert the file"),
        (
            {"train_size": 26},
            r"at most 19 in water.npz \(30 frames, less 6 for the test.*less 5 for validation\), got 26; .*test_data",
        ),
        ({"validation_frames": 25}, r"at most 0 in water.npz"),
        ({"test_data": "missing.npz"}, "existing file, got .*missing.npz"),
    ],
)
def test_what_is_asked_must_be_possible(changes: dict[str, Any], words: str, npz: Path) -> None:
    with pytest.raises(UserError, match=words) as caught:
        prepare(npz, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("train_size", "test_frames", "kept"), [(10, 1000, 6), (19, 6, 6), (3, 4, 4)])
def test_the_test_of_one_file_is_a_fifth_at_most_whatever_training_takes(
    train_size: int, test_frames: int, kept: int, npz: Path
) -> None:
    split = prepare(npz, train_size=train_size, test_frames=test_frames)
    assert (len(split.train), len(split.validation), len(split.test)) == (train_size, 5, kept)
    least = prepare(npz, train_size=1, validation_frames=1, test_frames=test_frames)
    assert (least.test.digest, least.digest) == (split.test.digest, split.digest)


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
