"""The verb `simulate`: from tracked force fields, or a folder, to a table, metrics, a figure and a trajectory."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from ase.io import read
from commands import call
from mlflow.entities import Run

from chemscale_bench.data.frames import EMBEDDED

TRAIN = ["--task", "embedded-ff", "--molecule", "ethanol", "--device", "cpu", "--train_size", "50", "--params", "1e4"]
SHORT = ["--replicas", "2", "--picoseconds", "0.05", "--device", "cpu"]


@pytest.fixture(autouse=True)
def environment(tracking_uri: str, prepared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def newest(experiment: str) -> Run:
    return mlflow.search_runs(experiment_names=[experiment], output_format="list")[0]  # type: ignore[return-value]


def artifact(of: Run, name: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=of.info.run_id, artifact_path=name))


def train(*arguments: str) -> Run:
    call("forcefield", *TRAIN, "--model", "schnet", "--steps", "100", *arguments)
    return newest("chemscale")


def refusal(*arguments: str) -> str:
    printed = call("simulate", *arguments, expected=2)
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    return printed


def test_a_run_and_its_folder_move_alike() -> None:
    run = train()
    printed = call("simulate", "--run", run.info.run_id, *SHORT)
    done = newest("chemscale-motion")
    assert done.data.tags["source_run"] == run.info.run_id
    metrics = done.data.metrics
    for place in ("langevin_500K", "nve_500K", "langevin_1200K", "nve_1200K"):
        assert 0 <= metrics[f"{place}/stability_ps"] <= 0.05 + 1e-9
        assert 0 <= metrics[f"{place}/intact_share"] <= 1
    assert metrics["speed/ns_per_day"] > 0
    assert metrics["reference/split_half_hr_mae"] > 0
    assert "vibrations/imaginary" in metrics
    assert np.isfinite(metrics["check/bond_break_ev"])
    assert len([name for name in metrics if name.startswith("torsion/barrier_ev/")]) == 2
    assert printed.count("turning a bond while all else stays costs") == 1
    assert metrics["source/test_force_mae_mev_per_angstrom"] == run.data.metrics["test/force_mae_mev_per_angstrom"]
    for part in ("stable (ps)", "half/half", "ns/day", "logged to MLflow run"):
        assert part in printed
    table = pd.read_csv(artifact(done, "motion.csv"))
    assert list(table["temperature_k"]) == [500, 500, 1200, 1200]
    assert list(table["ensemble"]) == ["Langevin", "NVE"] * 2
    page = artifact(done, "figures/motion.html").read_text()
    assert "pulling a hydrogen off" in page
    assert "<script src=" not in page  # opens without a network
    frames = read(artifact(done, "trajectory.extxyz"), ":")
    assert {frame.info["ensemble"] for frame in frames} == {"Langevin", "NVE"}
    assert all(frame.get_chemical_formula() == "C2H6O" for frame in frames)

    call("simulate", "--run", str(artifact(run, "model")), *SHORT)
    again = newest("chemscale-motion")
    for name in ("langevin_500K/measured_temperature_k", "nve_500K/measured_temperature_k"):
        assert again.data.metrics[name] == metrics[name]
    assert artifact(again, "trajectory.extxyz").read_bytes() == artifact(done, "trajectory.extxyz").read_bytes()


def test_an_experiment_is_all_its_force_fields_over_their_errors() -> None:
    runs = [train("--seed", "0"), train("--seed", "1", "--steps", "20")]
    call(
        "language", "--task", "embedded-lm", "--params", "1e4", "--tokens", "1e4", "--device", "cpu", "--model", "lstm"
    )
    printed = call("simulate", "--run", "chemscale", *SHORT, "--temperature", "300")
    done = newest("chemscale-motion")
    table = pd.read_csv(artifact(done, "motion.csv"))
    assert set(table["run_id"]) == {run.info.run_id for run in runs}
    assert "1 runs of no force field" in printed
    errors = sorted(run.data.metrics["test/force_mae_mev_per_angstrom"] for run in runs)
    assert printed.index(f"{errors[0]:.1f}  ") < printed.index(f"{errors[1]:.1f}  ")
    assert "time until a bond breaks" in artifact(done, "figures/stability.html").read_text()
    assert len(list(artifact(done, "").glob("schnet-*/trajectory.extxyz"))) == 2
    assert len([name for name in done.data.metrics if name.endswith("/check/bond_break_ev")]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "0"], "temperature must be temperatures in K above 0, at most 5000, got '0'"),
        (["--temperature", "300,-5"], "temperature must be temperatures in K above 0, at most 5000, got '-5'"),
        (["--temperature", "warm"], "temperature must be temperatures in K above 0, at most 5000, got 'warm'"),
        (["--temperature", "300,300"], "temperature must be different temperatures, got '300,300'"),
        (["--picoseconds", "0"], "picoseconds must be greater than 0, got '0'"),
        (["--picoseconds", "0.001"], "picoseconds must be at least 0.01"),
        (["--replicas", "0"], "replicas must be greater than or equal to 1, got 0;"),
        (["--timestep_fs", "20"], "timestep_fs must be less than or equal to 2, got '20'"),
        ([], "run must be an experiment or a run id, got nothing"),
        (["--run", "nowhere"], "run must be an experiment or a run id of this store, got 'nowhere'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_run(arguments: list[str], message: str) -> None:
    assert message in refusal(*arguments)
    assert mlflow.MlflowClient().get_experiment_by_name("chemscale-motion") is None


def test_runs_that_cannot_be_simulated_are_named(tmp_path: Path) -> None:
    call(
        "language", "--task", "embedded-lm", "--params", "1e4", "--tokens", "1e4", "--device", "cpu", "--model", "lstm"
    )
    language = newest("chemscale").info.run_id
    assert f"run must be of a force field, {language} is of the language model lstm" in refusal("--run", language)
    assert "finished runs of force fields, got 'chemscale' with none (1 runs of no" in refusal("--run", "chemscale")
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("bare")
    bare = client.create_run(experiment).info.run_id
    for name, value in {"model": "schnet", "non_embedding_params": 10_000}.items():
        client.log_param(bare, name, value)
    assert "with none (1 runs running left out)" in refusal("--run", bare)
    client.set_terminated(bare)
    assert f"run must have a model among its artifacts, {bare} has none" in refusal("--run", bare)
    assert "a force field must be a folder with config.json" in refusal("--run", str(tmp_path))


def test_copies_of_official_frames_are_found_where_they_are(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under their own split, and by the relative path that was typed."""
    for part in ("train", "test"):
        shutil.copy(shared_data / "rmd17" / f"rmd17_ethanol_{part}_02.npz", tmp_path / f"{part}.npz")
    monkeypatch.chdir(tmp_path)
    call("forcefield", "--task", "rmd17-ff", "--molecule", "ethanol", "--model", "schnet", "--params", "1e4", "--steps",
         "20", "--train_size", "20", "--data", "train.npz", "--test_data", "test.npz", "--energy_unit", "kcal/mol",
         "--length_unit", "Angstrom", "--device", "cpu")  # fmt: skip
    run = newest("chemscale")
    assert (run.data.params["data"], run.data.params["split"]) == ("rmd17", "2")
    call("simulate", "--run", run.info.run_id, *SHORT, "--temperature", "500")
    assert newest("chemscale-motion").data.tags["source_run"] == run.info.run_id


def test_frames_of_ones_own_are_found_by_the_run_and_missed_by_the_folder(tmp_path: Path) -> None:
    with np.load(EMBEDDED) as carried:
        columns = {name: carried[f"ethanol_{name}"][..., :] if name == "numbers" else carried[f"ethanol_{name}"][:100]
                   for name in ("numbers", "positions", "energies", "forces")}  # fmt: skip
    own = tmp_path / "mine.npz"
    np.savez(own, z=columns["numbers"], R=columns["positions"], E=columns["energies"], F=columns["forces"])
    run = train("--molecule", "auto", "--data", str(own), "--train_size", "20", "--energy_unit", "eV", "--length_unit",
                "Angstrom")  # fmt: skip
    call("simulate", "--run", run.info.run_id, *SHORT, "--temperature", "500")
    assert newest("chemscale-motion").data.metrics["nve_500K/stability_ps"] >= 0
    folder = tmp_path / "copy"
    shutil.copytree(artifact(run, "model"), folder)
    assert "whose frames are those of a task" in refusal("--run", str(folder))
    np.savez(own, z=columns["numbers"], R=columns["positions"] + 0.001, E=columns["energies"], F=columns["forces"])
    assert "mine.npz" in refusal("--run", run.info.run_id)
