"""Whole runs on a file of several molecules, as a user starts them, and what becomes of the trained model."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from commands import call
from mlflow.entities import Run

from chemscale_bench.data.frames import EMBEDDED
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.dynamics import ForceFieldCalculator
from chemscale_bench.runs.force import ForceRun
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.tracking.ending import Pruned
from chemscale_bench.tracking.lifetime import Stop
from chemscale_bench.training.devices import start_fabric

FORCE_MAE = "test/force_mae_mev_per_angstrom"


@pytest.fixture(autouse=True)
def environment(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def atoms_of(molecule: str, count: int) -> list[Atoms]:
    """Frames that the package carries, with their labels."""
    listed = []
    with np.load(EMBEDDED) as file:
        numbers, *columns = (file[f"{molecule}_{name}"] for name in ("numbers", "positions", "energies", "forces"))
    for positions, energy, forces in zip(*(column[:count] for column in columns), strict=True):
        atoms = Atoms(numbers, positions)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        listed.append(atoms)
    return listed


@pytest.fixture
def mixed(tmp_path: Path) -> list[str]:
    """What a user types for a file of two molecules, one after the other."""
    write(tmp_path / "mixed.extxyz", [*atoms_of("ethanol", 70), *atoms_of("toluene", 60)], format="extxyz")
    return [
        "--data", str(tmp_path / "mixed.extxyz"), "--energy_unit", "eV", "--length_unit", "Angstrom", "--device", "cpu",
        "--train_size", "50", "--params", "1e4",
    ]  # fmt: skip


def runs() -> list[Run]:
    return mlflow.search_runs(search_all_experiments=True, output_format="list")  # type: ignore[return-value]


def model_of(run: Run) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="model"))


def test_a_mixed_file_trains_and_its_model_takes_any_molecule_of_its_elements(mixed: list[str]) -> None:
    out = call("forcefield", *mixed, "--model", "schnet", "--steps", "300")
    (run,) = runs()
    metrics = run.data.metrics
    assert run.data.params["task_name"] == "rmd17-ff@mixed.extxyz"
    assert metrics[FORCE_MAE] < 0.7 * metrics["baseline/zero_force_mae_mev_per_angstrom"]
    molecules = {name.removeprefix(f"{FORCE_MAE}/") for name in metrics if name.startswith(f"{FORCE_MAE}/")}
    assert molecules == {"C2H6O", "C7H8"}
    assert all(f"{metrics[f'{FORCE_MAE}/{molecule}']:.2f}" in out for molecule in molecules)
    for check in ("rotation", "translation", "permutation", "force_is_gradient", "cutoff_jump"):
        assert metrics[f"check/{check}"] < 0.1
    assert "3 elements in 2 independent compositions" in run.data.tags["data.notes"]

    calculator = ForceFieldCalculator(model_of(run))
    for name in ("ethanol", "toluene"):  # frames that it has not seen
        errors = []
        for atoms in atoms_of(name, 100)[80:]:
            moved = Atoms(atoms.numbers, atoms.positions, calculator=calculator)
            errors.append(np.abs(moved.get_forces() - atoms.get_forces()).mean())
            assert abs(moved.get_potential_energy() - atoms.get_potential_energy()) < 2
        symbol = {"ethanol": "C2H6O", "toluene": "C7H8"}[name]
        assert 1000 * np.mean(errors) == pytest.approx(metrics[f"{FORCE_MAE}/{symbol}"], rel=0.25)
    other = Atoms("CO2", [[0, 0, 0], [0, 0, 1.16], [0, 0, -1.16]], calculator=calculator)
    assert np.isfinite(other.get_potential_energy())
    with pytest.raises(UserError, match=r"atoms must be of elements \[1, 6, 8\], got \[7\]"):
        Atoms("N2", [[0, 0, 0], [0, 0, 1.1]], calculator=calculator).get_forces()

    frames = [atoms_of("toluene", 1)[0], atoms_of("ethanol", 1)[0]]
    table = pd.DataFrame({"numbers": [list(map(int, atoms.numbers)) for atoms in frames],
                          "positions": [atoms.positions.tolist() for atoms in frames]})  # fmt: skip
    predicted = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model").predict(table)
    for atoms, energy, forces in zip(frames, *(predicted[name] for name in predicted), strict=True):
        atoms.calc = calculator
        assert energy == pytest.approx(atoms.get_potential_energy())
        assert np.array(forces) == pytest.approx(atoms.get_forces())

    assert "molecule must be one of several that" in call("simulate", "--run", run.info.run_id, expected=2)
    short = ["--replicas", "2", "--picoseconds", "0.05", "--device", "cpu", "--temperature", "300"]
    call("simulate", "--run", run.info.run_id, "--molecule", "C7H8", *short)
    (simulated,) = mlflow.search_runs(experiment_names=["chemscale-motion"], output_format="list")
    assert simulated.data.metrics["source/test_force_mae_mev_per_angstrom"] == metrics[f"{FORCE_MAE}/C7H8"]


@pytest.mark.parametrize("model", ["painn", "mace", "spookynet", "allegro"])
def test_every_model_goes_from_a_mixed_file_to_a_calculator(model: str, mixed: list[str]) -> None:
    call("forcefield", *mixed, "--model", model, "--params", "23e3", "--learning_rate", "1e-3", "--steps", "4")
    (run,) = runs()
    assert run.data.metrics["cost/flops"] > 0
    ethanol = atoms_of("ethanol", 1)[0]
    ethanol.calc = ForceFieldCalculator(model_of(run))
    assert np.isfinite(ethanol.get_forces()).all()


def test_a_resumed_run_is_bit_for_bit_the_run_that_nobody_interrupted(mixed: list[str]) -> None:
    given = dict(zip((name.removeprefix("--") for name in mixed[::2]), mixed[1::2], strict=True))
    settings = ForceFieldSettings.read(given | {"model": "painn", "steps": "30"}, "forcefield")
    call("forcefield", *mixed, "--model", "painn", "--steps", "30")
    (whole,) = runs()
    client = mlflow.MlflowClient()
    run_id = client.create_run(whole.info.experiment_id).info.run_id
    with Stop() as stop:
        run = ForceRun(settings, start_fabric(settings), run_id, stop, None, judge=lambda seen, _: "now" * (seen > 90))
        with pytest.raises(Pruned):
            run.train()
    client.set_terminated(run_id, "FAILED")
    call("forcefield", "--resume", run_id)
    resumed = next(each for each in runs() if each.info.run_id == run_id)
    assert resumed.info.status == "FINISHED"
    for key in ("train/loss", "decay/loss", "val/force_mae_mev_per_angstrom", FORCE_MAE, f"{FORCE_MAE}/C7H8"):
        curves = [client.get_metric_history(each.info.run_id, key) for each in (whole, resumed)]
        ours, theirs = ([(point.step, point.value) for point in curve] for curve in curves)
        assert sorted(ours) == sorted(theirs)


def test_seeds_of_a_mixture_are_trained_with_the_errors_that_they_have_alone(mixed: list[str]) -> None:
    call("forcefield", *mixed, "--model", "schnet", "--steps", "20", "--seeds", "2")
    call("forcefield", *mixed, "--model", "schnet", "--steps", "20", "--seed", "1")
    ones = [run.data.metrics[FORCE_MAE] for run in runs() if run.data.params.get("seed") == "1"]
    assert len(ones) == 2
    assert ones[0] == ones[1]


def test_an_element_that_training_lacks_is_one_line(tmp_path: Path, mixed: list[str]) -> None:
    sulphur = Atoms("SH2", [[0, 0, 0], [0, 0.96, 0.93], [0, -0.96, 0.93]])
    sulphur.calc = SinglePointCalculator(sulphur, energy=-11000.0, forces=np.zeros((3, 3)))
    write(tmp_path / "test.extxyz", [*atoms_of("ethanol", 90)[70:], sulphur], format="extxyz")
    printed = call(
        "forcefield", *mixed, "--model", "schnet", "--test_data", str(tmp_path / "test.extxyz"), expected=2
    )  # fmt: skip
    assert printed.startswith("error: elements must be among those of the training frames, the test frames of")
    assert printed.count("\n") == 1
    assert not runs()


JOINT = """name: tiny-joint
version: 1
family: force_field
description: Two molecules of the package by one model.
data: embedded
molecules: [ethanol, toluene]
joint: true
budgets_frames: [20]
validation_frames: 5
test_frames: 30
gradient_steps: 20
primary_metric: test/force_mae_mev_per_angstrom
"""


def test_a_joint_task_measures_each_molecule_and_all(tmp_path: Path) -> None:
    (tmp_path / "tiny-joint.yaml").write_text(JOINT)
    task = ["--task", str(tmp_path / "tiny-joint.yaml"), "--model", "schnet", "--params", "1e4", "--device", "cpu"]
    call("forcefield", *task, "--train_size", "20")
    (run,) = runs()
    params, metrics = run.data.params, run.data.metrics
    assert (params["task_name"], params["molecule"], params["train_frames"]) == ("tiny-joint", "all", "20")
    assert (metrics["data/train_frames"], metrics["data/test_frames"]) == (40, 60)
    of_each = [metrics[f"{FORCE_MAE}/{molecule}"] for molecule in ("ethanol", "toluene")]
    assert np.average(of_each, weights=[9, 15]) == pytest.approx(metrics[FORCE_MAE])
    printed = call("forcefield", *task, "--train_size", "20", "--molecule", "ethanol", expected=2)
    assert "molecule must be left out in tiny-joint, where one model learns all of them, got 'ethanol'" in printed
