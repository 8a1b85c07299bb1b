"""The verbs `fit` and `plan`, on tables and on logged runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.sources import read, read_experiment, read_saved
from chemscale_bench.settings.fit import FitSettings
from chemscale_bench.settings.plan import PlanSettings
from chemscale_bench.verbs.fit import fit
from chemscale_bench.verbs.plan import plan

ROOT = Path(__file__).parents[2]
SIZES, BUDGETS = np.geomspace(1e6, 1e8, 5), np.array([1e8, 1e9, 1e10, 1e11])


def true_loss(params: float, tokens: float) -> float:
    return float(0.9 + 60 * params**-0.3 + 900 * tokens**-0.35)


@pytest.fixture
def store(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of an empty MLflow store."""
    from mlflow import MlflowClient

    monkeypatch.setenv("CHEMSCALE_LAUNCHED_RUN", "")  # so that it is put back
    monkeypatch.delenv("CHEMSCALE_LAUNCHER_PID", raising=False)
    return MlflowClient()


@pytest.fixture
def logged(store: Any) -> Any:
    """Five sizes by two seeds at four budgets, one rerun, one failed, one pruned and one without the metric."""
    from mlflow.entities import Metric

    experiment = store.create_experiment("runs")
    random = np.random.default_rng(0)

    def log(
        params: float,
        seed: int,
        status: str = "FINISHED",
        metric: str = "val/loss_nats_per_token",
        digest: str = "a",
        worse: float = 0.0,
    ) -> None:
        run = store.create_run(experiment).info.run_id
        about = {"task_name": "lm", "model": "chemgpt", "non_embedding_params": int(params), "seed": seed}
        for name, value in about.items():
            store.log_param(run, name, value)
        points = [
            Metric(metric, true_loss(params, tokens) * np.exp(worse + 0.003 * random.normal()), 0, int(tokens))
            for tokens in BUDGETS
        ]
        store.log_batch(run, metrics=points)
        store.set_tag(run, "task_digest", digest)
        store.set_terminated(run, status)

    for params in SIZES:
        for seed in (0, 1):
            log(params, seed)
    log(SIZES[0], 0, worse=0.2)
    log(1e9, 0, "FAILED")
    log(1e9, 0, "KILLED")
    log(1e9, 0, metric="val/other")
    store.log = log
    return store


def fits(store: Any) -> list[Any]:
    """The runs of `fit`, which lie in the experiment that they fit."""
    experiment = store.get_experiment_by_name("runs").experiment_id
    found: list[Any] = store.search_runs([experiment], "tags.verb = 'fit'")
    return found


def launch(store: Any, experiment: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Do what `mlflow run . -e fit` does before it starts the tool."""
    tags = {"mlflow.source.type": "PROJECT", "mlflow.source.name": str(ROOT), "mlflow.project.entryPoint": "fit"}
    run: str = store.create_run(store.create_experiment(experiment), tags=tags).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run)
    monkeypatch.chdir(ROOT)
    return run


def table(path: Path) -> str:
    rows = [(n, d, true_loss(n, d)) for n in SIZES for d in BUDGETS]
    pd.DataFrame(rows, columns=["params", "tokens", "loss"]).to_csv(path, index=False)
    return str(path)


def test_fit_reads_an_experiment_and_logs_one_run(logged: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fit(FitSettings(experiment="runs", replicates=100))
    printed = capsys.readouterr().out
    assert "40 rows: 5 sizes x 4 values of tokens; 1 failed, 1 killed, 1 repeated (a better one kept)" in printed
    assert "Joint law L = E + A params^-alpha + B tokens^-beta" in printed
    (run,) = fits(logged)
    assert run.data.tags["mlflow.runName"].startswith("fit: alpha .")
    assert run.data.tags["mlflow.runName"].endswith(", 5 sizes")
    assert "chemscale plan --fit runs:/" in printed
    metrics = run.data.metrics
    assert metrics["joint/params_exponent"] == pytest.approx(0.3, abs=0.02)
    assert (
        metrics["joint/params_exponent_low"] < metrics["joint/params_exponent"] < metrics["joint/params_exponent_high"]
    )
    assert metrics["runs/left_out"] == 4
    figures = {item.path for item in logged.list_artifacts(run.info.run_id, "figures")}
    assert {"figures/loss_against_params.html", "figures/frontier.html", "figures/residuals.html"} <= figures
    assert [run.info.status for run in fits(logged)] == ["FINISHED"]
    plan(PlanSettings(fit=f"runs:/{run.info.run_id}/fit.json", flops=1e18, replicates=100))
    assert "budget   1e+18 FLOPs" in capsys.readouterr().out


def test_of_repeated_runs_the_best_counts_as_a_whole(logged: Any) -> None:
    """Whatever it was started with, and whether it came first or last."""
    kept, _ = read_experiment("runs", "val/loss_nats_per_token")
    logged.log(SIZES[1], 0, worse=0.5)
    assert read_experiment("runs", "val/loss_nats_per_token")[0].equals(kept)
    logged.log(SIZES[1], 0, worse=-0.5)
    better, left_out = read_experiment("runs", "val/loss_nats_per_token")
    changed = (better["run_id"] != kept["run_id"]) & (better["loss"] < kept["loss"])
    assert changed.sum() == len(BUDGETS) == (better["loss"] != kept["loss"]).sum()
    assert left_out["repeated (a better one kept)"] == 3


def test_under_mlflow_run_the_fit_lies_apart_from_training(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = launch(store, "chemscale", monkeypatch)
    plan(PlanSettings(table=table(tmp_path / "runs.csv"), flops=1e18, replicates=100))
    (run,) = store.search_runs([store.get_experiment_by_name("chemscale-housekeeping").experiment_id])
    assert run.data.metrics["plan/flops"] == 1e18
    assert run.info.status == "FINISHED"
    assert store.get_run(launched).info.lifecycle_stage == "deleted"


def test_a_killed_fit_does_not_stay_running(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = launch(store, "opened", monkeypatch)
    monkeypatch.setattr("chemscale_bench.verbs.fit.analyse", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt):
        fit(FitSettings(table=table(tmp_path / "runs.csv")))
    assert store.get_run(run).info.status == "KILLED"


def test_frames_have_no_frontier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = table(tmp_path / "runs.csv")
    pd.read_csv(source).rename(columns={"tokens": "frames"}).to_csv(source, index=False)
    with pytest.raises(UserError, match="plan needs runs whose data are tokens, got frames"):
        plan(PlanSettings(table=source, flops=1e18))
    settings = FitSettings(table=source, log=False, replicates=100, out=str(tmp_path / "out"))
    fit(settings)
    assert "No frontier: a frontier needs the data in tokens, got frames" in capsys.readouterr().out
    pages = {page.stem: page.read_text() for page in (tmp_path / "out").glob("*.html")}
    assert "frontier" not in pages
    assert all("training frames seen" in page and "training tokens" not in page for page in pages.values())


def test_fit_logs_to_the_run_that_mlflow_opened(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = launch(store, "opened", monkeypatch)
    store.log_param(run, "level", ".9")  # as the user spelt it
    fit(FitSettings(table=table(tmp_path / "runs.csv"), replicates=100))
    assert store.get_run(run).data.params["level"] == ".9"
    assert store.get_run(run).data.metrics["joint/irreducible"] == pytest.approx(0.9, rel=1e-3)
    assert store.get_run(run).info.status == "FINISHED"


def test_a_run_that_a_plan_asks_for_does_not_join_the_fit_of_a_table(
    store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.read_csv(table(tmp_path / "runs.csv")).assign(task="pubchem-lm", model="llama").to_csv(tmp_path / "runs.csv")
    fit(FitSettings(table=str(tmp_path / "runs.csv"), replicates=100))
    (run,) = store.search_runs([store.get_experiment_by_name("chemscale-housekeeping").experiment_id])
    plan(PlanSettings(fit=f"runs:/{run.info.run_id}/fit.json", flops=1e17, replicates=100))
    printed = capsys.readouterr().out
    assert "language --model llama --task pubchem-lm --params" in printed.split("budget   1e+17 FLOPs")[1]
    assert "--experiment" not in printed


def test_the_plan_that_a_fit_proposes_is_of_the_same_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my runs").mkdir()
    source = table(tmp_path / "my runs" / "runs.csv")
    frame = pd.read_csv(source)
    pd.concat([frame.assign(task="a"), frame.assign(task="b", loss=9.0)]).to_csv(source, index=False)
    fit(FitSettings(table=source, task="a", log=False, replicates=100))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " plan " in line]
    assert shlex.split(line, comments=True)[2:-1] == ["--table", source, "--task", "a", "--flops"]


def test_saved_fit_gives_the_same_plan_as_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = table(tmp_path / "runs.csv")
    fit(FitSettings(table=source, out=str(tmp_path / "out"), log=False, replicates=100))
    assert json.loads((tmp_path / "out" / "fit.json").read_text())["numbers"]["joint/params_exponent"] > 0
    capsys.readouterr()
    budget = {"gpu_hours": 8.0, "device": "h200", "replicates": 100}
    plan(PlanSettings(table=source, **budget))
    plan(PlanSettings(fit=str(tmp_path / "out" / "fit.json"), **budget))
    printed = capsys.readouterr().out
    first, second = printed[: len(printed) // 2], printed[len(printed) // 2 :]
    assert first == second
    assert "half the size" in first
    assert "times the largest fitted one" not in first


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (PlanSettings(table="x.csv"), "one budget, got flops=0 and gpu_hours=0"),
        (PlanSettings(flops=1e19), "one source of runs"),
        (PlanSettings(flops=1e19, table="x.csv"), "a file that exists, got 'x.csv'"),
        (PlanSettings(flops=1e19, table="x.txt"), "must be a .csv or .parquet file"),
        (PlanSettings(flops=1e19, fit="x.json", table="x.csv"), "a fit has its own table, got"),
        (PlanSettings(flops=1e19, fit="x.json"), "a fit.json that `fit` wrote"),
        (PlanSettings(gpu_hours=8, device="abacus", table="x.csv"), "device must be one of h200"),
    ],
)
def test_bad_requests(settings: PlanSettings, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        plan(settings)


def test_folders_that_take_no_file(tmp_path: Path) -> None:
    source = table(tmp_path / "runs.csv")
    with pytest.raises(UserError, match=r"out must be a writable folder, got .*runs\.csv"):
        fit(FitSettings(table=source, out=source, log=False))
    with pytest.raises(UserError, match="out must be a writable folder, got '/proc'"):  # there, but takes no file
        fit(FitSettings(table=source, out="/proc", log=False))


def test_unknown_experiment_and_empty_selection(logged: Any) -> None:
    with pytest.raises(UserError, match="experiment must be an experiment or a run id of this store, got 'none'"):
        fit(FitSettings(experiment="none"))
    with pytest.raises(UserError, match=r"got 'runss'; did you mean runs\?"):
        fit(FitSettings(experiment="runss"))
    with pytest.raises(UserError, match="must hold finished runs with val/accuracy, got none"):
        fit(FitSettings(experiment="runs", metric="val/accuracy"))


def test_versions_of_a_task_are_not_mixed(logged: Any) -> None:
    logged.log(1e7, 5, digest="b")
    with pytest.raises(UserError, match=r"one task_digest, got 2 \(a, b\), the odd ones in rows 40, 41, 42, 43;"):
        fit(FitSettings(experiment="runs"))
    assert len(read(FitSettings(experiment="runs", task_digest="a")).frame) == 40


def test_parents_and_fits_are_not_counted_as_left_out(logged: Any) -> None:
    _, before = read_experiment("runs", "val/loss_nats_per_token")
    experiment = logged.get_experiment_by_name("runs").experiment_id
    parent = logged.create_run(experiment).info.run_id
    logged.log_metric(parent, "val/loss_nats_per_token", 1.0, step=1000)
    for run in logged.search_runs([experiment], max_results=3):
        if run.info.run_id != parent:
            logged.set_tag(run.info.run_id, "mlflow.parentRunId", parent)
    logged.create_run(experiment, tags={"verb": "fit"})
    logged.set_terminated(parent)
    assert read_experiment("runs", "val/loss_nats_per_token")[1] == before


def test_runs_of_strangers_are_left_out_by_their_ids_and_the_rest_is_fitted(logged: Any) -> None:
    kept, before = read_experiment("runs", "val/loss_nats_per_token")
    experiment = logged.get_experiment_by_name("runs").experiment_id
    strangers = []
    for params, value, step in (("1.2M", 2.0, 100_000), ("1000000", float("nan"), 100_000), ("1000000", 2.0, 0)):
        run = logged.create_run(experiment).info.run_id
        logged.log_param(run, "non_embedding_params", params)
        logged.log_metric(run, "val/loss_nats_per_token", value, step=step)
        logged.set_terminated(run)
        strangers.append(run)
    frame, left_out = read_experiment("runs", "val/loss_nats_per_token")
    assert frame.equals(kept)
    named = {reason for reason in left_out if any(run in reason for run in strangers)}
    assert len(named) == 3
    assert {reason: count for reason, count in left_out.items() if reason not in named} == before
    fit(FitSettings(experiment="runs", replicates=100, log=False))


def test_a_deleted_experiment_is_said_to_be_one(logged: Any) -> None:
    experiment = logged.get_experiment_by_name("runs").experiment_id
    logged.delete_experiment(experiment)
    with pytest.raises(UserError, match=f"mlflow experiments restore --experiment-id {experiment}"):
        fit(FitSettings(experiment="runs"))


def test_short_runs_are_what_they_are_and_typed_ones_may_be_millions(store: Any, tmp_path: Path) -> None:
    rows = [(n, d, true_loss(n, d)) for n in SIZES for d in (2000, 4000, 8000)]
    experiment = store.create_experiment("runs")
    for params, tokens, loss in rows:
        run = store.create_run(experiment).info.run_id
        store.log_param(run, "non_embedding_params", int(params))
        store.log_metric(run, "val/loss_nats_per_token", loss, step=tokens)
        store.log_param(run, "learning_rate", tokens)
        store.log_param(run, "seed", tokens)
        store.set_terminated(run)
    fit(FitSettings(experiment="runs", replicates=100, log=False, out=str(tmp_path)))
    assert len(read_saved(str(tmp_path / "fit.json")).frame) == len(rows), "a saved fit is read as it was"
    pd.DataFrame(rows, columns=["params", "tokens", "loss"]).to_csv(tmp_path / "typed.csv", index=False)
    with pytest.raises(UserError, match="looks like millions"):
        fit(FitSettings(table=str(tmp_path / "typed.csv"), log=False))


def test_values_that_rise_get_a_remark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(n, d, 1 - true_loss(n, d) / 10) for n in SIZES for d in BUDGETS]
    for part in (rows, rows[:: len(BUDGETS)]):  # with a forecast, and without
        pd.DataFrame(part, columns=["params", "tokens", "loss"]).to_csv(tmp_path / "accuracy.csv", index=False)
        fit(FitSettings(table=str(tmp_path / "accuracy.csv"), replicates=100, log=False))
        assert "the values rise with params and tokens" in capsys.readouterr().out
    fit(FitSettings(table=table(tmp_path / "loss.csv"), replicates=100, log=False))
    assert "the values rise" not in capsys.readouterr().out


def test_figures_open_without_a_network(logged: Any, tmp_path: Path) -> None:
    import mlflow

    fit(FitSettings(experiment="runs", replicates=100))
    (run,) = fits(logged)
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="figures"))
    pages = [path.read_text() for path in folder.iterdir()]
    assert pages
    for page in pages:
        assert not re.search(r"<(script|link)[^>]*(src|href)=", page)
        assert "Plotly.newPlot" in page


def test_a_table_and_the_result_may_be_relative_to_where_mlflow_run_was_started(tmp_path: Path) -> None:
    table(tmp_path / "runs.csv")
    launcher = subprocess.Popen(["sleep", "120"], cwd=tmp_path)
    command = [sys.executable, "-m", "chemscale_bench", "fit", "--table", "runs.csv", "--out", "law"]
    launched = os.environ | {"CHEMSCALE_LAUNCHER_PID": str(launcher.pid)}
    try:
        done = subprocess.run(
            [*command, "--replicates", "100", "--log", "false"], cwd=ROOT, env=launched, capture_output=True, text=True
        )
    finally:
        launcher.kill()
        launcher.wait()
    assert "20 rows" in done.stdout, done.stderr
    assert (tmp_path / "law" / "fit.json").exists()
