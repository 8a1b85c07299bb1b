"""Force fields that begin as another one."""

import time
from pathlib import Path

import mlflow
import pytest
import torch
from commands import call, curve, runs
from forks import Fork
from library_mace import library_model
from safetensors.torch import load_file

from chemscale_bench.leaderboard.collect import measure
from chemscale_bench.models.force_fields import build
from chemscale_bench.models.mace import Config, Network
from chemscale_bench.tracking.reader import runs_of_experiment

SMALL = ["--task", "embedded-ff", "--device", "cpu", "--train_size", "50", "--model", "schnet"]
FORCE_MAE = "test/force_mae_mev_per_angstrom"


@pytest.fixture(autouse=True)
def environment(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def start() -> str:
    """The id of a run of ethanol, whose model knows oxygen."""
    call("forcefield", *SMALL, "--molecule", "ethanol", "--params", "1e4", "--cutoff", "4", "--steps", "20")
    return str(runs()[0].info.run_id)


def model_of(run_id: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="model"))


def test_it_begins_with_weights_size_and_cutoff_of_the_checkpoint(start: str) -> None:
    call("forcefield", *SMALL, "--molecule", "toluene", "--init", start, "--steps", "1", "--learning_rate", "1e-9")
    params = runs()[0].data.params
    assert (params["cutoff"], params["init"]) == ("4.0", start)
    assert params["non_embedding_params"] == mlflow.get_run(start).data.params["non_embedding_params"]
    before, after = (load_file(model_of(run) / "model.safetensors") for run in (start, runs()[0].info.run_id))
    assert before.keys() == after.keys()
    assert all(after[name].numpy() == pytest.approx(before[name].numpy(), abs=1e-8) for name in before)


def test_it_begins_with_a_model_file_of_mace_torch(tmp_path: Path) -> None:
    network = build("mace", Config(width=8, max_L=0), (1, 6, 7, 8), seed=3)
    assert isinstance(network, Network)
    torch.save(library_model(network, (1, 6, 7, 8), atomic_inter_scale=0.1), tmp_path / "some.model")
    arguments = ["--task", "embedded-ff", "--device", "cpu", "--train_size", "50", "--molecule", "ethanol"]
    start = ["--init", str(tmp_path / "some.model"), "--steps", "1", "--learning_rate", "1e-9"]
    call("forcefield", *arguments, "--model", "mace", *start)
    trained = load_file(model_of(runs()[0].info.run_id) / "model.safetensors")
    network.scale.fill_(0.1)
    for name, weight in network.state_dict().items():
        assert trained[name].numpy() == pytest.approx(weight.numpy(), abs=1e-6)
    metrics = runs()[0].data.metrics
    assert metrics["test/energy_mae_mev"] < 1.2 * metrics["baseline/mean_energy_mae_mev"], (
        "energies begin near the labels"
    )
    told = call("forcefield", *arguments, "--model", "painn", *start, expected=2)
    assert told.startswith("error: init must be no file for model=painn, got ")


def test_it_goes_on_after_kill_9_though_the_checkpoint_is_gone(start: str, chemscale_home: Path) -> None:
    folder = model_of(start)
    again = ["forcefield", *SMALL, "--molecule", "toluene", "--init", str(folder), "--steps", "60"]
    call(*again)
    whole = runs()[0]
    process = Fork(*again, "--checkpoint_minutes", "0.001")
    deadline = time.monotonic() + 120
    while not (states := list(chemscale_home.glob("runs/*/state.pt"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate()
    for file in folder.iterdir():
        file.unlink()
    call("forcefield", "--resume", states[0].parent.name)
    resumed = mlflow.get_run(states[0].parent.name)
    assert resumed.info.status == "FINISHED"
    for key in ("train/loss", "decay/loss", FORCE_MAE):
        assert curve(resumed, key) == curve(whole, key)


def test_what_does_not_fit(start: str) -> None:
    for arguments, says in (
        (["--model", "painn"], f"init must be a checkpoint of painn, {start} is one of schnet; give model=schnet"),
        (["--params", "1e4"], "params must be left out with init, which sets it, got params=10000"),
        (["--recipe", "paper"], "recipe must be quick with init, whose size is given, got paper"),
        (["--cutoff", "5"], "cutoff must be left out with init, which sets it, got cutoff=5.0"),
        (["--init", "no-run"], "init must be a path that exists or the id of a run of this store, got 'no-run'"),
    ):
        told = call("forcefield", *SMALL, "--molecule", "toluene", "--init", start, *arguments, expected=2)
        assert told.startswith(f"error: {says}")
        assert told.count("\n") == 1
    assert [run.info.run_id for run in runs()] == [start], "a refused run leaves nothing"


def test_a_run_without_a_model() -> None:
    run = mlflow.MlflowClient().create_run("0").info.run_id
    told = call("forcefield", *SMALL, "--molecule", "toluene", "--init", run, expected=2)
    assert told.startswith(f"error: init must have a model among its artifacts, {run} has none (it is RUNNING); give")


def test_elements_that_it_does_not_know() -> None:
    call("forcefield", *SMALL, "--molecule", "toluene", "--params", "1e4", "--steps", "5")
    start = runs()[0].info.run_id
    told = call("forcefield", *SMALL, "--molecule", "ethanol", "--init", start, expected=2)
    assert f"init must know the elements of the frames, {start} lacks O; start from" in told


def test_it_is_no_point_of_a_law(start: str) -> None:
    call("forcefield", *SMALL, "--molecule", "ethanol", "--init", start, "--steps", "20")
    kept, left_out = measure(runs_of_experiment("chemscale"), FORCE_MAE)
    assert [measured.run.run_id for measured in kept] == [start]
    assert left_out == {"started from a checkpoint": 1}
