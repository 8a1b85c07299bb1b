"""Frames of several molecules: what the container holds, what files are read as it, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from own_frames import atoms_list, content, prepare

from chemscale_bench.data.frames import prepare_frames
from chemscale_bench.data.mixtures import Mixture, as_mixture
from chemscale_bench.data.structures import Frames
from chemscale_bench.errors import UserError

WATER, PEROXIDE = np.array([8, 1, 1]), np.array([8, 8, 1, 1])


def frames_of(numbers: np.ndarray, count: int, seed: int = 0) -> Frames:
    """Atoms strewn on a grid of 1 Angstrom, with made-up labels."""
    rng = np.random.default_rng([seed, *numbers])
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3), axis=-1).reshape(-1, 3)[: len(numbers)]
    shape = (count, len(numbers), 3)
    return Frames(
        numbers, grid + rng.normal(0, 0.05, shape), rng.normal(-2000, 1, count), rng.normal(size=shape), 0,
        int(numbers.sum() % 2),
    )  # fmt: skip


@pytest.fixture
def water() -> Frames:
    return frames_of(WATER, 30)


@pytest.fixture
def mixture(water: Frames) -> Mixture:
    """Water and hydrogen peroxide in turn, twenty frames of each, then ten of water."""
    order = np.concatenate([np.arange(40).reshape(2, 20).T.ravel() + np.tile([0, 10], 20), np.arange(20, 30)])
    return Mixture.of([water, frames_of(PEROXIDE, 20)]).take(order)


def listed(mixture: Mixture, **info: Any) -> list[Atoms]:
    """As ASE has them."""
    made = []
    for frame in range(len(mixture)):
        one = mixture.take([frame])
        atoms = Atoms(one.numbers, one.positions, info=dict(info))
        atoms.calc = SinglePointCalculator(atoms, energy=one.energies[0], forces=one.forces)
        made.append(atoms)
    return made


def test_every_frame_keeps_its_own_atoms(mixture: Mixture, water: Frames) -> None:
    assert mixture.sizes[:4].tolist() == [3, 4, 3, 4]
    assert mixture.names[:2] == ("H2O", "H2O2")
    peroxide = frames_of(PEROXIDE, 20)
    for index, (frames, frame) in enumerate([(water, 0), (peroxide, 0), (water, 1), (peroxide, 1)]):
        one = mixture.take(slice(index, index + 1))
        assert np.array_equal(one.numbers, frames.numbers)
        assert np.array_equal(one.positions, frames.positions[frame])
        assert np.array_equal(one.forces, frames.forces[frame])
        assert one.energies[0] == frames.energies[frame]
    assert mixture.formula == "H2O + H2O2"


def test_molecules_come_apart_as_they_were_put_together(mixture: Mixture, water: Frames) -> None:
    found, other = mixture.molecules()
    assert (found.digest, other.digest) == (water.digest, frames_of(PEROXIDE, 20).digest)
    assert len(mixture.molecules(1)) == 1
    assert as_mixture(water).molecules()[0].digest == water.digest
    assert np.array_equal(as_mixture(water).nearest(), water.nearest())


def test_pairs_are_those_of_each_molecule_alone(mixture: Mixture) -> None:
    edges_F, receivers, senders = mixture.within(1.2)
    ends = np.cumsum(edges_F)
    for frame in range(len(mixture)):
        one = mixture.take([frame])
        away = np.linalg.norm(one.positions[:, None] - one.positions, axis=-1)
        expected = np.argwhere((away < 1.2) & ~np.eye(len(away), dtype=bool))
        here = slice(ends[frame] - edges_F[frame], ends[frame])
        assert np.array_equal(np.stack([receivers[here], senders[here]], 1), expected)
        assert mixture.nearest()[frame] == away[away > 0].min()


def test_a_digest_sees_content_and_order(mixture: Mixture) -> None:
    assert mixture.digest == mixture.take(np.arange(50)).digest
    assert mixture.digest != mixture.take(np.arange(50)[::-1]).digest
    for name in ("positions", "energies", "forces", "numbers"):
        changed = getattr(mixture, name).copy()
        changed.flat[7] += 1
        assert replace(mixture, **{name: changed}).digest != mixture.digest


@pytest.mark.parametrize("suffix", ["extxyz", "db", "npz"])
def test_a_file_of_several_molecules_is_a_mixture(suffix: str, tmp_path: Path, mixture: Mixture) -> None:
    path = tmp_path / f"mixed.{suffix}"
    if suffix == "npz":
        padded = {"z": np.zeros((50, 4), int), "R": np.full((50, 4, 3), 7.0), "F": np.zeros((50, 4, 3))}
        there = np.arange(4) < mixture.sizes[:, None]
        for name, values in zip("zRF", (mixture.numbers, mixture.positions, mixture.forces), strict=True):
            padded[name][there] = values
        np.savez(path, **padded, E=mixture.energies)
    else:
        ase.io.write(path, listed(mixture), format="db" if suffix == "db" else "extxyz")
    split = prepare(path, train_size=20)
    train = split.train
    assert isinstance(train, Mixture)
    order = np.random.RandomState(1).permutation(50)  # a tenth at most is the test, as of one molecule
    expected = mixture.take(order[10:30])
    assert train.names == expected.names
    np.testing.assert_allclose(train.positions, expected.positions, atol=1e-8)
    np.testing.assert_allclose(train.energies, expected.energies, atol=1e-8)
    np.testing.assert_allclose(train.forces, expected.forces, atol=1e-8)
    assert any("H2O + H2O2" in note for note in split.notes)


def test_two_files_are_shuffled_so_that_no_molecule_is_left_out(tmp_path: Path) -> None:
    """They have one molecule after another, and only the first frames are taken."""
    for name, seed in (("train", 0), ("test", 1)):
        together = Mixture.of([frames_of(WATER, 40, seed), frames_of(PEROXIDE, 40, seed)])
        ase.io.write(tmp_path / f"{name}.extxyz", listed(together), format="extxyz")
    split = prepare(tmp_path / "train.extxyz", test_data=str(tmp_path / "test.extxyz"))
    for part in (split.train, split.validation, split.test):
        assert isinstance(part, Mixture)
        assert set(part.names) == {"H2O", "H2O2"}
    ase.io.write(tmp_path / "water.extxyz", listed(as_mixture(frames_of(WATER, 20, 2))), format="extxyz")
    one = prepare(tmp_path / "train.extxyz", test_data=str(tmp_path / "water.extxyz")).test
    assert isinstance(one, Mixture)
    assert set(one.names) == {"H2O"}


def write(folder: Path, atoms: list[Atoms]) -> Path:
    ase.io.write(folder / "bad.extxyz", atoms, format="extxyz")
    return folder / "bad.extxyz"


def refusal(path: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        prepare(path, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_a_model_of_several_molecules_cannot_take_is_refused_on_one_line(
    tmp_path: Path, mixture: Mixture, water: Frames
) -> None:
    test = np.random.RandomState(1).permutation(50)[:10]
    atoms = listed(mixture)
    atoms[test[0]] = listed(as_mixture(frames_of(np.array([16, 1, 1]), 1)))[0]
    message = refusal(write(tmp_path, atoms), train_size=20)
    assert "the test frames of bad.extxyz have S besides (training: HO); raise train_size" in message

    atoms = listed(mixture)
    atoms[4].info["charge"] = 1
    assert "frame 4 of bad.extxyz has charge 1; write one file for each" in refusal(write(tmp_path, atoms))
    atoms = listed(mixture, spin=1)
    atoms[5].info["spin"] = 3
    assert "frame 5 of bad.extxyz has multiplicity 3" in refusal(write(tmp_path, atoms))
    assert "has charge neutral" in refusal(write(tmp_path, listed(mixture, charge="neutral")))
    prepare(write(tmp_path, listed(mixture, spin=1, charge=0)))

    atoms = listed(mixture)
    atoms[7].set_cell([9, 9, 9])
    atoms[7].pbc = True
    assert "frame 7 of bad.extxyz is periodic" in refusal(write(tmp_path, atoms))

    far = replace(mixture, positions=mixture.positions * 10)
    assert "the nearest two in frame" in refusal(write(tmp_path, listed(far)))
    same = mixture.take([*range(50), *test])
    assert "must not overlap" in refusal(write(tmp_path, listed(same)), test_frames=3, train_size=20)

    ase.io.write(tmp_path / "train.extxyz", atoms_list(content()), format="extxyz")
    message = refusal(tmp_path / "train.extxyz", test_data=str(write(tmp_path, listed(mixture))))
    assert "of one molecule with its atoms in one order, got H2O in train.extxyz and H2O + H2O2" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"z": np.array([[8, 1, 1], [8, 0, 0]] * 15)}, "frame 1 of bad.npz has 1; remove such frames (15 of 30)"),
        ({"z": np.array([[8, 1, 1], [8, 1, 119]] * 15)}, "whole numbers from 1 to 118, bad.npz has values from 1"),
        ({"z": np.array([[8, 1, 1], [8, 1.5, 1]] * 15)}, "whole numbers from 1 to 118"),
        ({"F": np.ones((30, 2, 3))}, "positions and forces must be numbers (frames, atoms, 3)"),
        ({"E": np.ones(29)}, "positions and forces must be numbers (frames, atoms, 3)"),
        ({"E": np.full(30, np.nan)}, "energies must be finite (and below 1e+10), frame 0 of bad.npz has nan"),
        ({"F": np.where(np.arange(30)[:, None, None] == 6, np.inf, np.ones((30, 3, 3)))}, "frame 6 of bad.npz has inf"),
    ],
)
def test_a_bad_npz_of_several_molecules_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    mixed = {"z": np.array([[8, 1, 1], [8, 1, 0]] * 15)}
    np.savez(tmp_path / "bad.npz", **{**content(), **mixed, **change})
    assert words in refusal(tmp_path / "bad.npz")


def test_molecules_learned_together_have_the_frames_that_each_has_alone() -> None:
    sizes = {"split": 1, "train_size": 20, "validation_frames": 4, "test_frames": 30}
    names = ("ethanol", "toluene", "malonaldehyde")
    together = prepare_frames("embedded", molecule=names, **sizes)  # type: ignore[arg-type]
    for name in names:
        alone = prepare_frames("embedded", molecule=name, **sizes)  # type: ignore[arg-type]
        for ours, theirs in zip(together[:3], alone[:3], strict=True):
            assert isinstance(ours, Mixture)
            (frames,) = [alike for alike in ours.alike if ours.names[alike[0]] == name]
            assert ours.molecule(frames).digest == theirs.digest  # type: ignore[union-attr]
    fewer = prepare_frames("embedded", molecule=names, **(sizes | {"train_size": 3}))  # type: ignore[arg-type]
    assert fewer.train.digest == together.train.take(slice(9)).digest
    assert fewer.digest == together.digest
    with pytest.raises(UserError, match="train_size must be at most 546 in embedded"):
        prepare_frames("embedded", molecule=names, **(sizes | {"train_size": 547}))  # type: ignore[arg-type]


def test_the_official_frames_of_two_molecules_make_a_mixture(shared_data: Path, tmp_path: Path) -> None:
    """Of different elements, from the archive's own files."""
    made = []
    for name in ("uracil", "benzene"):
        with np.load(shared_data / "rmd17" / f"rmd17_{name}_train_01.npz") as file:
            columns = [file[key][:40] for key in ("coords", "energies", "forces")]
            made.append(Frames.checked(file["nuclear_charges"], *columns, name, 0.0433641153))
    ase.io.write(tmp_path / "two.extxyz", listed(Mixture.of(made)), format="extxyz")
    split = prepare(tmp_path / "two.extxyz", train_size=40)
    assert isinstance(split.train, Mixture)
    assert set(split.train.names) == {"C4H4N2O2", "C6H6"}
    assert not any("its energies vary" in note for note in split.notes)
