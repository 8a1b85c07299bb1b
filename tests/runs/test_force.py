"""Whole force-field runs as a user starts them, on the frames that the package carries and on files."""

import contextlib
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
from commands import call, curve, runs
from forks import Fork, train_together

from chemscale_bench.cli import main
from chemscale_bench.data.frames import EMBEDDED, prepare_frames
from chemscale_bench.models import force_fields
from chemscale_bench.runs.force import ForceRun
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.tracking.lifetime import Stop
from chemscale_bench.training.devices import start_fabric
from chemscale_bench.training.forces import FramesOnDevice, measure

SMALL = ["--task", "embedded-ff", "--molecule", "ethanol", "--device", "cpu", "--train_size", "50", "--params", "1e4"]
FORCE_MAE = "test/force_mae_mev_per_angstrom"


@pytest.fixture(autouse=True)
def environment(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def train(*arguments: str) -> str:
    return call("forcefield", *SMALL, *arguments)


def test_a_run_learns_says_what_it_was_and_leaves_a_model_that_gives_its_error() -> None:
    out = train("--model", "schnet", "--steps", "300")
    (run,) = runs()
    params, metrics = run.data.params, run.data.metrics
    assert (params["model"], params["task_name"], params["train_frames"]) == ("schnet", "embedded-ff@ethanol", "50")
    assert abs(int(params["non_embedding_params"]) / 1e4 - 1) < 0.05
    assert metrics[FORCE_MAE] < 0.6 * metrics["baseline/zero_force_mae_mev_per_angstrom"]
    assert f"{metrics[FORCE_MAE]:.2f}" in out
    assert {f"{FORCE_MAE}_{symbol}" for symbol in "HCO"} < set(metrics)
    for check in ("rotation", "translation", "permutation", "force_is_gradient", "cutoff_jump"):
        assert metrics[f"check/{check}"] < 0.1
    for name in (
        "speed/mean_atoms_per_s",
        "memory/peak_gib",
        "cost/flops",
        "cost/flops_total",
        "cost/train_seconds",
        "speed/mean_structures_per_s",
    ):
        assert metrics[name] > 0
    for tag in ("task_digest", "data.digest", "data.test_digest", "code.commit", "machine.device"):
        assert run.data.tags[tag]
    (point,) = curve(run, FORCE_MAE)
    assert point[0] == 3000  # frames seen

    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="model"))
    potential, record = force_fields.load(folder)
    split = prepare_frames(
        "embedded", molecule="ethanol", split=1, train_size=50, validation_frames=50, test_frames=300
    )
    test = FramesOnDevice(
        split.test, potential.cutoff, record["reference_ev"], potential.scale.device, potential.scale.dtype
    )
    assert measure(potential, test).force_mae == pytest.approx(metrics[FORCE_MAE], rel=1e-6)
    artifacts = {artifact.path for artifact in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert artifacts == {"error_curve.html", "model"}


def test_seeds_are_children_of_one_run_with_the_errors_that_they_have_alone() -> None:
    schnet = ["--model", "schnet", "--steps", "60"]
    out = train(*schnet, "--seeds", "2")
    train(*schnet, "--seed", "1")
    (parent,) = [run for run in runs() if run.info.run_name.endswith("-2-seeds-schnet-50-ethanol")]
    children = {
        run.data.params["seed"]: run for run in runs() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    size = f"{int(children['0'].data.params['non_embedding_params']):.2g}".replace("e+0", "e")
    (alone,) = [run for run in runs() if run.info.run_name == f"{size}-seed1-schnet-50-ethanol"
                and "mlflow.parentRunId" not in run.data.tags]  # fmt: skip
    assert sorted(children) == ["0", "1"]
    assert parent.info.run_name == f"{size}-2-seeds-schnet-50-ethanol"
    errors = [children[seed].data.metrics[FORCE_MAE] for seed in "01"]
    assert errors[0] != errors[1]
    assert errors[1] == pytest.approx(alone.data.metrics[FORCE_MAE], rel=1e-3)
    assert parent.data.metrics["seeds/mean_test_force_mae_mev_per_angstrom"] == pytest.approx(np.mean(errors))
    assert f"{np.mean(errors):.4f}" in out


def test_seeds_of_a_model_that_is_not_stacked_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["forcefield", *SMALL, "--model", "mace", "--seeds", "2"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: seeds=2 needs a model that can be stacked, got model=mace; choose schnet or painn")
    assert error.count("\n") == 1


def test_seeds_on_frames_that_are_refused_leave_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["forcefield", *SMALL, "--model", "schnet", "--seeds", "2", "--cutoff", "0.3"])
    assert end.value.code == 2
    assert "atoms must have neighbours" in capsys.readouterr().err
    assert not runs()


def test_kill_9_and_resume_give_the_run_that_nobody_killed(
    chemscale_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("--model", "painn", "--steps", "60")
    (whole,) = runs()
    process = Fork("forcefield", *SMALL, "--model", "painn", "--steps", "60", "--checkpoint_minutes", "0.002")
    deadline = time.monotonic() + 120
    seen: set[int] = set()
    while len(seen) < 4:  # the fourth state: some validation lies behind it
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        seen |= {state.stat().st_mtime_ns for state in chemscale_home.glob("runs/*/state.pt")}
        time.sleep(0.005)
    process.kill()
    process.communicate()
    (state,) = chemscale_home.glob("runs/*/state.pt")
    # Sizes are those of the state, whatever a later version makes of its settings.
    monkeypatch.setattr("chemscale_bench.models.force_fields.config_for", None)
    train("--resume", state.parent.name)
    resumed = next(run for run in runs() if run.info.run_id != whole.info.run_id)
    assert resumed.info.run_id == state.parent.name
    assert resumed.info.status == "FINISHED"
    for key in ("train/loss", "decay/loss", "val/force_mae_mev_per_angstrom", FORCE_MAE):
        assert curve(resumed, key) == curve(whole, key)
    assert len(curve(whole, "val/force_mae_mev_per_angstrom")) > 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "panin"],
            "model must be one of schnet, painn, mace, spookynet, allegro, nequip, got 'panin'; did you mean",
        ),
        (["--molecule", "etanol"], "got 'etanol'; did you mean ethanol?"),
        (["--task", "embedded-lm"], "task must be a force_field task here"),
        (["--train_size", "2000"], "train_size must be at most 500 in embedded (550 frames less 50 for validation)"),
        (["--train_size", "0"], "train_size must be greater than or equal to 1, got '0'"),
        (["--params", "1"], "params must be greater than or equal to 1000"),
        (["--params", "9e8"], "params must be within 5 % of a size that schnet has"),
        (["--cutoff", "0.3"], "atoms must have neighbours nearer than the cutoff of 0.3 Angstrom"),
        (["--data", "rmd17"], "data=rmd17 belongs to another task than embedded-ff; use task=rmd17-ff"),
        (["--data", "nowhere.npz"], "nowhere.npz"),
        (["--split", "6"], "split must be"),
    ],
)
def test_bad_input_gives_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["forcefield", *SMALL, "--model", "schnet", *arguments])
    assert end.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("error: ")
    assert message in error[-1]
    assert not runs()


def test_frames_of_a_file_need_units_and_make_another_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = prepare_frames(
        "embedded", molecule="ethanol", split=1, train_size=100, validation_frames=50, test_frames=300
    )
    frames = split.train
    path = tmp_path / "mine.npz"
    np.savez(path, z=frames.numbers, R=frames.positions, E=frames.energies, F=frames.forces)
    own = ["--data", str(path), "--molecule", "auto", "--train_size", "20", "--model", "schnet", "--steps", "5"]
    with pytest.raises(SystemExit) as end:
        main(["forcefield", *SMALL, *own])
    assert end.value.code == 2
    assert "energy_unit and length_unit must be stated" in capsys.readouterr().err.splitlines()[-1]
    train(*own, "--energy_unit", "eV", "--length_unit", "Angstrom")
    done = next(run for run in runs() if run.info.status == "FINISHED")
    assert done.data.params["task_name"] == "embedded-ff@mine.npz"
    assert done.data.metrics["data/test_frames"] == 20  # a fifth of the file
    assert "drawn at random" in done.data.tags["data.notes"]
    train(*own, "--energy_unit", "eV", "--length_unit", "Angstrom", "--train_size", "30")
    assert len({run.data.tags["task_digest"] for run in runs()}) == 1, "a learning curve is one task"


@pytest.mark.parametrize("model", ["mace", "spookynet", "allegro"])
def test_every_model_goes_from_start_to_checkpoint(model: str, tmp_path: Path) -> None:
    train(
        "--model", model, "--params", "23e3", "--learning_rate", "1e-3", "--steps", "4", "--batch_frames", "3",
        "--precision", "fp64", "--train_size", "2",
    )  # fmt: skip
    (run,) = runs()
    assert run.data.params["arithmetic"] == "64-true"
    assert run.data.metrics["cost/flops"] > 0
    checks = {name: value for name, value in run.data.metrics.items() if name.startswith("check/")}
    assert np.isfinite(checks.pop("check/bond_break_ev"))
    assert all(value < 0.1 for value in checks.values())
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="model"))
    potential, record = force_fields.load(folder)
    assert record["model"] == model
    assert potential.non_embedding_params == int(run.data.params["non_embedding_params"])


@pytest.mark.parametrize("model", ["schnet", "mace"])
def test_flops_do_not_depend_on_whether_every_pair_is_an_edge_as_on_a_gpu(model: str) -> None:
    settings = ForceFieldSettings.read(
        {"task": "embedded-ff", "model": model, "device": "cpu", "train_size": 20, "cutoff": 2.5}, "forcefield"
    )
    with Stop() as stop:
        run = ForceRun(settings, start_fabric(settings), "", stop, None)
    edges = run.train_split.batch(np.arange(4)).graph.receivers_E
    run.train_split.every_pair = True
    assert len(run.train_split.batch(np.arange(4)).graph.receivers_E) > 1.2 * len(edges)
    assert run.count_flops() == run.flops_per_unit > 0


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    train("--model", "schnet", "--steps", "30", "--checkpoint_minutes", "0.001")
    (alone,) = runs()
    train_together(2, "forcefield", *SMALL, "--model", "schnet", "--steps", "30", "--checkpoint_minutes", "0.001")
    shared = next(run for run in runs() if run.info.run_id != alone.info.run_id)
    for key in ("train/loss", "val/force_mae_mev_per_angstrom"):
        assert [step for step, _ in curve(shared, key)] == [step for step, _ in curve(alone, key)]
        assert [v for _, v in curve(shared, key)] == pytest.approx([v for _, v in curve(alone, key)], rel=2e-2)


def test_a_copy_of_the_official_frames_is_the_official_task(shared_data: Path) -> None:
    own = [
        "--task", "rmd17-ff", "--molecule", "aspirin", "--model", "schnet", "--steps", "3", "--train_size", "20",
        "--data", str(shared_data / "rmd17" / "rmd17_ethanol_train_02.npz"),
        "--test_data", str(shared_data / "rmd17" / "rmd17_ethanol_test_02.npz"),
        "--energy_unit", "kcal/mol", "--length_unit", "Angstrom",
    ]  # fmt: skip
    train(*own)
    (run,) = runs()
    params = run.data.params
    assert (params["task_name"], params["molecule"], params["split"]) == ("rmd17-ff@ethanol", "ethanol", "2")
    assert run.info.run_name.endswith("-seed0-schnet-20-ethanol")


@pytest.mark.parametrize("steps", ["3", "20"])
def test_defaults_do_not_diverge_however_short_a_run_is(steps: str) -> None:
    arguments = ["--model", "allegro", "--train_size", "50", "--params", "3e4", "--task", "embedded-ff"]
    with contextlib.suppress(SystemExit):
        main(["forcefield", *arguments, "--device", "cpu", "--steps", steps])
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.info.status == "FINISHED"


def test_a_test_of_energies_only_measures_these(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(EMBEDDED) as file:
        names = ("numbers", "positions", "energies", "forces")
        z, r, e, f = (file[f"ethanol_{name}"] for name in names)
    np.savez(tmp_path / "train.npz", z=z, R=r[:120], E=e[:120], F=f[:120], charge=1)
    np.savez(tmp_path / "test.npz", z=z, R=r[120:200], E=e[120:200], charge=1)
    with contextlib.suppress(SystemExit):
        main(
            [
                "forcefield", "--model", "spookynet", "--train_size", "50", "--params", "1e4", "--task", "embedded-ff",
                "--device", "cpu", "--steps", "4", "--energy_unit", "eV", "--length_unit", "Angstrom",
                "--data", str(tmp_path / "train.npz"), "--test_data", str(tmp_path / "test.npz"),
            ]
        )  # fmt: skip
    printed = capsys.readouterr()
    assert "energy MAE" in printed.out
    assert "force MAE" not in printed.out
    assert "charge +1 e, unpaired electrons: 1" in printed.err
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert "test/energy_mae_mev" in run.data.metrics
    assert not [name for name in run.data.metrics if name.startswith("test/force")]
    record = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/model/config.json")
    assert (record["charge"], record["unpaired"]) == (1, 1)
