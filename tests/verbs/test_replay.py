"""The verb `replay` on a file and on an experiment, and what it refuses."""

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from chemscale_bench.cli import main

QUICK = ["--studies", "3", "--trials", "20", "--pruners", "performance,median_20,none"]


@pytest.fixture
def table() -> pd.DataFrame:
    levels = np.random.default_rng(0).uniform(1, 3, 30)
    rows = [(trial, step, level * (1 + 1 / step)) for trial, level in enumerate(levels) for step in range(1, 21)]
    return pd.DataFrame(rows, columns=["trial", "step", "value"])


def test_a_file_gives_a_table_a_csv_and_a_run(
    table: pd.DataFrame, tmp_path: Path, tracking_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = table[(table["trial"] >= 12) | (table["step"] <= 8)]  # twelve were stopped
    whole.to_csv(tmp_path / "curves.csv")
    out = tmp_path / "made" / "grades.csv"
    main(["replay", "--curves", str(tmp_path / "curves.csv"), *QUICK, "--out", str(out)])
    printed = capsys.readouterr().out
    assert "| curves.csv | none | 0.0 [0.0, 0.0] | 100 [100, 100] |" in printed
    assert "| curves.csv | 20% | 18 |" in printed
    assert "18 curves (12 that did not run to the end are left out); " in printed
    assert "of 18 trials, stress: none\nnote: all studies have the same trials, in another order" in printed
    assert list(pd.read_csv(out)["pruner"]) == ["performance", "median_20", "none"]
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("chemscale-housekeeping").experiment_id])
    assert run.data.metrics["saved_percent/none"] == 0
    assert run.data.metrics["kept_percent/performance"] > 50
    assert {file.path for file in client.list_artifacts(run.info.run_id, "figures")} == {
        "figures/pruners.html",
        "figures/prediction.html",
    }


def test_the_finished_children_of_an_experiment_are_curves(
    table: pd.DataFrame, tracking_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("sweeps")
    for trial, part in table.groupby("trial"):
        run = client.create_run(experiment, tags={"mlflow.parentRunId": "p"}).info.run_id
        for step, value in zip(part["step"], part["value"], strict=True):
            client.log_metric(run, "val/force_mae_mev_per_angstrom", value, step=int(step))
        client.set_terminated(run, "KILLED" if trial == 0 else "FINISHED")
    main(["replay", "--experiment", "sweeps", *QUICK, "--log", "false"])
    assert "29 curves" in capsys.readouterr().out


def test_a_language_models_curve_goes_on_through_its_decay_and_lies_on_its_schedule(
    table: pd.DataFrame, tracking_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("sweeps")
    for trial, part in table.groupby("trial"):
        tags = {"mlflow.parentRunId": "p", "trial": str(trial), "schedule.warmup": "0.9"}
        run = client.create_run(experiment, tags=tags).info.run_id
        client.log_param(run, "warmup", "0.01")  # of a smaller budget
        client.log_param(run, "decay", "0.1")
        for step, value in zip(part["step"], part["value"], strict=True):
            name = "train/loss_nats_per_token" if step <= 18 else "decay/loss_nats_per_token"
            client.log_metric(run, name, value, step=int(step))
        client.set_terminated(run)
    metric = ["--metric", "train/loss_nats_per_token"]
    main(["replay", "--experiment", "sweeps", *metric, *QUICK, "--pruners", "successive_halving", "--log", "false"])
    printed = capsys.readouterr().out
    assert "30 curves" in printed
    saved = float(printed.split("| successive_halving | ")[1].split()[0])
    assert 20 < saved < 70  # a fifth of the area is half of the steps; by position it saves 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one source of curves"),
        (["--curves", "nowhere.csv"], "curves must be a readable file"),
        (["--curves", "nowhere.csv", "--pruners", "mediann"], "did you mean median?"),
        (["--experiment", "nothing"], "experiment must exist, got 'nothing'"),
        (["--curves", "x.csv", "--trials", "2"], "trials must be"),
        (["--curves", "x.csv", "--out", "/dev/null/x"], "out must be a file that can be written, got '/dev/null/x'"),
    ],
)
def test_bad_input_gives_one_line(
    arguments: list[str], message: str, tracking_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["replay", *arguments, "--log", "false"])
    assert end.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
