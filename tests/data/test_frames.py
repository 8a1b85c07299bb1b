"""Frames and splits: what a digest sees, how splits nest, the official sets, and the frames in the package."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import units as ase_units

from chemscale_bench.data import rmd17
from chemscale_bench.data.frame_units import ENERGY_UNITS, LENGTH_UNITS
from chemscale_bench.data.frames import EMBEDDED as FILE
from chemscale_bench.data.frames import prepare_frames
from chemscale_bench.data.rmd17 import official
from chemscale_bench.data.structures import Frames, all_pairs
from chemscale_bench.errors import UserError

EMBEDDED = ("ethanol", "malonaldehyde", "toluene")


@pytest.fixture(scope="module")
def frames() -> Frames:
    rng = np.random.default_rng(0)
    return Frames(
        np.array([8, 1, 1]), rng.normal(size=(20, 3, 3)), rng.normal(-2000, 1, size=20), rng.normal(size=(20, 3, 3))
    )


def test_pairs_are_all_ordered_pairs_and_within_is_their_distance(frames: Frames) -> None:
    receivers, senders = all_pairs(3)
    assert list(zip(receivers.tolist(), senders.tolist(), strict=True)) == [
        (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)
    ]  # fmt: skip
    assert receivers.dtype == senders.dtype == np.int64
    near = frames.within(1.5)
    assert near.shape == (20, 6)
    for frame in range(20):
        for pair, (i, j) in enumerate(zip(receivers, senders, strict=True)):
            distance = np.sqrt(((frames.positions[frame, i] - frames.positions[frame, j]) ** 2).sum())
            assert near[frame, pair] == (distance < 1.5)
    assert 0 < near.sum() < near.size


def test_many_frames_are_measured_in_chunks_with_the_same_result(frames: Frames) -> None:
    many = frames.take(np.arange(2500) % 20)
    assert np.array_equal(many.within(1.5), frames.within(1.5)[np.arange(2500) % 20])


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda f: f, True),
        (lambda f: replace(f, positions=f.positions * (1 + 1e-15)), True),
        (lambda f: replace(f, positions=f.positions + 1e-7), False),
        (lambda f: replace(f, energies=f.energies + 1e-5), False),
        (lambda f: replace(f, forces=f.forces + 1e-5), False),
        (lambda f: replace(f, numbers=np.array([8, 1, 9])), False),
        (lambda f: f.take(np.arange(20)[::-1]), False),
        (lambda f: f.take(slice(19)), False),
    ],
)
def test_the_digest_sees_every_change_of_content_and_no_rounding(change, same: bool, frames: Frames) -> None:  # type: ignore[no-untyped-def]
    assert len(frames.digest) == 64
    assert (change(frames).digest == frames.digest) is same


def test_a_stranger_can_compute_the_digest(frames: Frames) -> None:
    few = frames.take([3, 1])
    content = [2, 3, 8, 1, 1]
    content += [round(float(x) * 1e8) for x in few.positions.ravel()]
    content += [round(float(x) * 1e6) for x in (*few.energies, *few.forces.ravel())]
    assert few.digest == hashlib.sha256(b"".join(x.to_bytes(8, "little", signed=True) for x in content)).hexdigest()


def test_units_agree_with_ase() -> None:
    expected = {
        "eV": 1,
        "meV": 1e-3,
        "kcal/mol": ase_units.kcal / ase_units.mol,
        "kJ/mol": ase_units.kJ / ase_units.mol,
    }
    expected["Hartree"] = ase_units.Hartree
    # ASE still has the constants of 2014.
    assert pytest.approx(expected, rel=1e-6) == ENERGY_UNITS
    assert pytest.approx({"Angstrom": 1, "Bohr": ase_units.Bohr, "nm": ase_units.nm}, rel=1e-6) == LENGTH_UNITS


@pytest.mark.parametrize("molecule", rmd17.MOLECULES)
@pytest.mark.parametrize("data", rmd17.LABELS)
def test_pinned_digests_are_those_of_the_real_frames(data: str, molecule: str, shared_data: Path) -> None:
    energies, forces = rmd17.LABELS[data]
    for split in (1, 2, 3):
        pair = []
        for part in ("train", "test"):
            with np.load(shared_data / "rmd17" / f"rmd17_{molecule}_{part}_0{split}.npz") as file:
                labels = file[energies] * ENERGY_UNITS["kcal/mol"], file[forces] * ENERGY_UNITS["kcal/mol"]
                pair.append(Frames.checked(file["nuclear_charges"], file["coords"], *labels, "shared"))
        assert official(rmd17.split_digest(*pair)) == (data, molecule, split)


def test_every_pinned_split_has_a_digest_of_its_own() -> None:
    assert sorted(rmd17._pinned().values()) == sorted(
        (data, molecule, split) for data in rmd17.LABELS for molecule in rmd17.MOLECULES for split in rmd17.SPLITS
    )
    assert official("0" * 64) is None


@pytest.mark.parametrize("molecule", EMBEDDED)
def test_embedded_frames(molecule: str) -> None:
    split = prepare_frames(
        "embedded", molecule=molecule, split=1, train_size=500, validation_frames=50, test_frames=300
    )
    parts = split.train, split.validation, split.test
    assert [len(part) for part in parts] == [500, 50, 300]
    positions, forces = (np.concatenate([getattr(part, name) for part in parts]) for name in ("positions", "forces"))
    masses = np.array([{1: 1.008, 6: 12.011, 8: 15.999}[int(number)] for number in split.train.numbers])
    assert np.abs((positions * masses[:, None]).sum(axis=1) / masses.sum()).max() < 1e-6
    # An isolated molecule: no net force, no net torque (in eV/Angstrom and eV).
    assert np.abs(forces.sum(axis=1)).max() < 1e-5
    assert np.abs(np.cross(positions, forces).sum(axis=1)).max() < 1e-5
    assert len(np.unique(positions.reshape(850, -1), axis=0)) == 850
    with np.load(FILE, allow_pickle=False) as file:
        metadata = json.loads(str(file["metadata"]))
    stated = metadata["molecules"][molecule]
    assert 460 < stated["mean_temperature_k"] < 540
    assert 1000 * np.abs(forces).mean() == pytest.approx(stated["zero_force_mae_mev_per_angstrom"], abs=0.06)
    assert metadata["versions"]["tblite"] == "0.8.0"


def test_embedded_frames_are_ordered_at_random_and_far_enough_apart() -> None:
    with np.load(FILE, allow_pickle=False) as file:
        for molecule in EMBEDDED:
            step = file[f"{molecule}_step"]
            assert np.diff(np.sort(step)).min() >= 50
            assert abs(np.corrcoef(step, np.arange(len(step)))[0, 1]) < 0.15


@pytest.mark.parametrize("molecule", EMBEDDED)
def test_forces_are_the_slope_of_the_energies(molecule: str) -> None:
    """Between neighbours in time, 25 fs apart, the energy changes by about -F dx with the mean of the two forces."""
    with np.load(FILE, allow_pickle=False) as file:
        order = np.argsort(file[f"{molecule}_step"])
        positions, energies, forces = (
            file[f"{molecule}_{name}"][order].astype(float) for name in ("positions", "energies", "forces")
        )
    moves = np.diff(positions, axis=0)
    predicted = -(0.5 * (forces[1:] + forces[:-1]) * moves).sum(axis=(1, 2))
    # The near half only: a molecule that turned fast leaves the range of the trapezoid rule.
    near = np.argsort(np.abs(moves).max(axis=(1, 2)))[:100]
    assert np.corrcoef(predicted[near], np.diff(energies)[near])[0, 1] > 0.9


PINNED_EMBEDDED = {
    "ethanol": "d382dfa47a1148c3c6fcfea4745fd7d08d7da119639efd9bd2607879a5a06029",
    "malonaldehyde": "e4d468635addf233ab178d2a9be0da52a58685a0020fb5d28fe877c8ad19358f",
    "toluene": "290351377806a22db267a766289283503d30cc78bd4a114b648c0aa091525544",
}


@pytest.mark.parametrize("molecule", EMBEDDED)
def test_the_digest_of_the_embedded_frames_stays(molecule: str) -> None:
    digests = {
        prepare_frames(
            "embedded", molecule=molecule, split=1, train_size=size, validation_frames=50, test_frames=300
        ).digest
        for size in (50, 500)
    }
    assert digests == {PINNED_EMBEDDED[molecule]}


def test_smaller_training_sets_are_contained_in_larger_ones_and_validation_stays() -> None:
    def prepared(size: int, validation: int = 50):  # type: ignore[no-untyped-def]
        return prepare_frames(
            "embedded", molecule="ethanol", split=1, train_size=size, validation_frames=validation, test_frames=100
        )

    small, large = prepared(50), prepared(500)
    assert np.array_equal(large.train.positions[:50], small.train.positions)
    assert small.validation.digest == large.validation.digest
    assert small.test.digest == large.test.digest
    assert len(small.test) == 100
    assert prepared(50, 20).validation.digest == small.validation.take(slice(30, 50)).digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "rmd71"}, "rmd17, md17, ani1x, embedded or an existing file, got rmd71; did you mean rmd17"),
        ({"molecule": "etanol"}, "got 'etanol'; did you mean ethanol"),
        ({"data": "rmd17", "molecule": "salicylic acid"}, "did you mean salicylic"),
        ({"data": "md17", "split": 6}, "split must be from 1 to 5 in md17, got 6"),
        ({"split": 2}, "split must be 1 in embedded"),
        ({"split": 0}, "split must be at least 1"),
        ({"train_size": 0}, "train_size must be at least 1, got 0"),
        ({"train_size": 501}, r"at most 500 in embedded \(550 frames less 50 for validation\), got 501"),
        ({"validation_frames": 0}, "validation_frames must be at least 1"),
        ({"validation_frames": 550}, "at most 0 in embedded"),
        ({"test_frames": 301}, "test_frames must be at most the 300 there are in embedded, got 301"),
        ({"energy_unit": "eV"}, "energy_unit is for frames of your own"),
        ({"test_data": "a.npz"}, "test_data is for frames of your own"),
        ({"cutoff": 0.5}, "the cutoff of 0.5 Angstrom, the nearest two in frame"),
    ],
)
def test_what_cannot_be_prepared_is_refused_on_one_line(changes: dict[str, object], words: str) -> None:
    arguments = {"data": "embedded", "molecule": "ethanol", "split": 1, "train_size": 50, "validation_frames": 50}
    with pytest.raises(UserError, match=words) as caught:
        prepare_frames(**{**arguments, "test_frames": 300, **changes})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
