"""The HDF5 file of ANI-1x, as a small one of the same layout on a web server of this machine."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import h5py
import mlflow
import numpy as np
import pytest
import yaml

from chemscale_bench import tasks
from chemscale_bench.cli import main
from chemscale_bench.data import ani1x
from chemscale_bench.data.download import file_sha256
from chemscale_bench.data.frame_units import ENERGY_UNITS
from chemscale_bench.data.frames import FrameSplit, prepare_frames
from chemscale_bench.data.mixtures import Mixture
from chemscale_bench.errors import UserError
from chemscale_bench.runs import simulation

ATOMS = {f"C{carbon}H{2 * carbon + 2}O{oxygen}": (carbon, oxygen) for carbon in range(1, 9) for oxygen in range(8)}
ROWS = 60
Labels = dict[bytes, tuple[float, np.ndarray]]
FRAMES = {"train": 400, "validation": 20, "test": 30}


def write(path: Path) -> Labels:
    """64 formulas, every fifth structure of which has no energy in this method, every eleventh a force that is none.

    Gives energy and forces by positions.
    """
    rng, labels = np.random.default_rng(0), {}
    with h5py.File(path, "w") as file:
        for at, (name, (carbon, oxygen)) in enumerate(ATOMS.items()):
            numbers = np.array([6] * carbon + [1] * (2 * carbon + 2) + [8] * oxygen, np.uint8)
            grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)[: len(numbers)]
            positions = (grid + rng.normal(0, 0.05, (ROWS, len(numbers), 3))).astype(np.float32)
            energies = np.where(np.arange(ROWS) % 5, -100.0 - at + np.arange(ROWS) / ROWS, np.nan)
            forces = rng.normal(0, 0.01, positions.shape).astype(np.float32)
            forces[3::11, -1, 1] = np.nan
            group = file.create_group(name)
            group["atomic_numbers"], group["coordinates"] = numbers, positions
            group["wb97x_dz.energy"], group["wb97x_dz.forces"] = energies, forces
            group["ccsd(t)_cbs.energy"] = np.full(ROWS, np.nan)
            labels |= {where.tobytes(): label for where, *label in zip(positions, energies, forces, strict=True)}
    return labels


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Labels]:
    path = tmp_path_factory.mktemp("ani1x") / ani1x.FILE_NAME
    return path, write(path)


@pytest.fixture
def labels(server: tuple[str, Path], written: tuple[Path, Labels], monkeypatch: pytest.MonkeyPatch) -> Labels:
    (url, folder), (path, labels) = server, written
    shutil.copy(path, folder)
    monkeypatch.setattr(ani1x, "URLS", (f"{url}/{ani1x.FILE_NAME}",))
    monkeypatch.setattr(ani1x, "SHA256", file_sha256(folder / ani1x.FILE_NAME))
    monkeypatch.setattr(ani1x, "FRAMES", FRAMES)
    return labels


def prepare(train_size: int = 400, molecule: str = "all", split: int = 1, validation_frames: int = 20) -> FrameSplit:
    return prepare_frames(
        "ani1x", molecule=molecule, split=split, train_size=train_size, validation_frames=validation_frames,
        test_frames=30,
    )  # fmt: skip


def test_every_frame_keeps_its_own_labels_in_ev(labels: Labels) -> None:
    split = prepare()
    for part in (split.train, split.validation, split.test):
        assert isinstance(part, Mixture)
        for start, size, energy in zip(part.starts, part.sizes, part.energies, strict=True):
            atoms = slice(start, start + size)
            expected, forces = labels[part.positions[atoms].astype(np.float32).tobytes()]
            assert energy == expected * ENERGY_UNITS["Hartree"]
            np.testing.assert_array_equal(part.forces[atoms], forces.astype(np.float64) * ENERGY_UNITS["Hartree"])


def test_structures_without_energy_or_forces_are_left_out_and_counted(
    labels: object, capsys: pytest.CaptureFixture[str]
) -> None:
    split = prepare()
    assert all(np.isfinite(part.forces).all() for part in (split.train, split.validation))
    # Of 60 structures 12 have no energy, 6 no forces, one of them neither.
    assert "ANI-1x: 1,088 of 3,840 structures have no energy or no forces" in capsys.readouterr().err


def test_no_formula_is_in_two_parts(labels: object) -> None:
    split = prepare()
    for part in ("train", "validation", "test"):
        assert {ani1x.part_of(name) for name in getattr(split, part).names} == {part}


def test_few_training_frames_are_the_first_and_of_many_formulas(labels: object) -> None:
    few, all_of_them = prepare(50), prepare()
    assert np.array_equal(few.train.energies, all_of_them.train.energies[:50])
    assert few.digest == all_of_them.digest
    assert len(set(few.train.names)) > 25, "50 of 2,500 structures of over 50 formulas, drawn uniformly"


def test_about_a_twentieth_of_the_formulas_is_held_out_twice() -> None:
    parts = [ani1x.part_of(f"C{carbon}H{hydrogen}") for carbon in range(100) for hydrogen in range(100)]
    for part in ani1x.HELD_OUT:
        assert parts.count(part) == pytest.approx(500, abs=4 * np.sqrt(500))


def test_the_sample_needs_no_download_once_it_is_drawn(labels: object, cache: Path) -> None:
    digest = prepare().digest
    (cache / "downloads" / ani1x.FILE_NAME).unlink()
    assert prepare().digest == digest


def test_a_damaged_sample_is_refused(labels: object, cache: Path) -> None:
    prepare()
    for file in (cache / "frames" / "ani1x").iterdir():
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"sample of ANI-1x, they are damaged .*delete it"):
        prepare()


def test_another_file_in_its_place_is_refused(
    labels: object, server: tuple[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = server[1] / ani1x.FILE_NAME
    file.write_bytes(b"no HDF5")
    monkeypatch.setattr(ani1x, "SHA256", file_sha256(file))
    with pytest.raises(UserError, match=r"must be the HDF5 file of ANI-1x.*delete it to download it again"):
        prepare()
    assert not list((cache / "frames" / "ani1x").glob("*.npz"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": 2}, "split must be 1 in ani1x"),
        ({"molecule": "aspirin"}, "molecule must be one of all in ani1x, got 'aspirin'"),
        ({"validation_frames": 10}, "validation_frames must be 20 in ani1x, got 10; mend the task"),
        ({"train_size": 401}, r"at most 400 in ani1x \(420 frames less 20 for validation\), got 401"),
    ],
)
def test_what_it_does_not_have_is_refused(
    labels: object, cache: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prepare(**changes)  # type: ignore[arg-type]
    assert (cache / "downloads").exists() is ("train_size" in changes), "only what the sample tells is refused late"


def test_a_model_is_trained_on_it_and_moves_a_molecule_that_it_is_tested_on(
    labels: object, tracking_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    declared = yaml.safe_load((tasks.FOLDER / "ani1x-ff.yaml").read_text())
    small = {"name": "small", "validation_frames": FRAMES["validation"], "test_frames": FRAMES["test"]}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(declared | small | {"budgets_frames": [100, 400]}))
    monkeypatch.setattr(tasks, "FOLDER", tmp_path)
    train = ["forcefield", "--task=small", "--model=schnet", "--params=3e3", "--train_size=100", "--steps=5"]
    with contextlib.suppress(SystemExit):
        main([*train, "--device=cpu"])
    (molecule,) = re.findall(r"simulate --molecule (\w+)", capsys.readouterr().out)
    assert ani1x.part_of(molecule) == "test"
    (run,) = mlflow.search_runs(experiment_names=["chemscale"], output_format="list")
    folder = Path(run.info.artifact_uri.removeprefix("file://"), "model")
    found, _ = simulation.find(str(folder), molecule, tmp_path)
    assert found[0].test.formula == molecule
    with pytest.raises(UserError, match="molecule must be one of several that"):
        simulation.find(str(folder), "", tmp_path)
