"""The verbs `fit` and `plan`, on tables and on logged runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chemscale_bench import fits
from chemscale_bench.errors import UserError
from chemscale_bench.settings import FitSettings, PlanSettings

SIZES, BUDGETS = np.geomspace(1e6, 1e8, 5), np.array([1e8, 1e9, 1e10, 1e11])


def true_loss(params: float, tokens: float) -> float:
    return float(0.9 + 60 * params**-0.3 + 900 * tokens**-0.35)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty MLflow store, and its client."""
    import mlflow

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def logged(store: Any) -> Any:
    """Five sizes by two seeds at four budgets, one rerun, one failed, one pruned and one without the metric."""
    from mlflow.entities import Metric

    experiment = store.create_experiment("runs")
    random = np.random.default_rng(0)

    def log(
        params: float, seed: int, status: str = "FINISHED", metric: str = "val/loss_nats_per_token", digest: str = "a"
    ) -> None:
        run = store.create_run(experiment).info.run_id
        about = {"task_name": "lm", "model": "chemgpt", "non_embedding_params": int(params), "seed": seed}
        for name, value in about.items():
            store.log_param(run, name, value)
        points = [
            Metric(metric, true_loss(params, tokens) * np.exp(0.003 * random.normal()), 0, int(tokens))
            for tokens in BUDGETS
        ]
        store.log_batch(run, metrics=points)
        store.set_tag(run, "task_digest", digest)
        store.set_terminated(run, status)

    for params in SIZES:
        for seed in (0, 1):
            log(params, seed)
    log(SIZES[0], 0)
    log(1e9, 0, "FAILED")
    log(1e9, 0, "KILLED")
    log(1e9, 0, metric="val/other")
    store.log = log
    return store


def table(path: Path) -> str:
    rows = [(n, d, true_loss(n, d)) for n in SIZES for d in BUDGETS]
    pd.DataFrame(rows, columns=["params", "tokens", "loss"]).to_csv(path, index=False)
    return str(path)


def test_fit_reads_an_experiment_and_logs_one_run(logged: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fits.fit(FitSettings(experiment="runs", replicates=100))
    printed = capsys.readouterr().out
    assert "40 rows: 5 sizes x 4 values of tokens; 1 failed, 1 killed, 4 repeated, 1 without val/loss" in printed
    assert "Joint law L = E + A params^-alpha + B tokens^-beta" in printed
    housekeeping = logged.get_experiment_by_name("chemscale-housekeeping")
    (run,) = logged.search_runs([housekeeping.experiment_id])
    metrics = run.data.metrics
    assert metrics["joint/params_exponent_low"] < 0.3 < metrics["joint/params_exponent_high"]
    assert metrics["runs/left_out"] == 7
    figures = {item.path for item in logged.list_artifacts(run.info.run_id, "figures")}
    assert {"figures/loss_against_params.html", "figures/frontier.html", "figures/residuals.html"} <= figures
    assert [run.info.status for run in logged.search_runs([housekeeping.experiment_id])] == ["FINISHED"]
    fits.spend(PlanSettings(fit=f"runs:/{run.info.run_id}/fit.json", flops=1e18, replicates=100))
    assert "budget   1e+18 FLOPs" in capsys.readouterr().out


def test_fit_logs_to_the_run_that_mlflow_opened(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.create_run(store.create_experiment("opened")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run)
    fits.fit(FitSettings(table=table(tmp_path / "runs.csv"), replicates=100))
    assert store.get_run(run).data.metrics["joint/irreducible"] == pytest.approx(0.9, rel=1e-3)
    assert store.get_experiment_by_name("chemscale-housekeeping") is None


def test_saved_fit_gives_the_same_plan_as_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = table(tmp_path / "runs.csv")
    fits.fit(FitSettings(table=source, out=str(tmp_path / "out"), log=False, replicates=100))
    assert json.loads((tmp_path / "out" / "fit.json").read_text())["numbers"]["joint/params_exponent"] > 0
    capsys.readouterr()
    budget = {"gpu_hours": 8.0, "device": "h200", "replicates": 100}
    fits.spend(PlanSettings(table=source, **budget))
    fits.spend(PlanSettings(fit=str(tmp_path / "out" / "fit.json"), **budget))
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
        (PlanSettings(flops=1e19, fit="x.json"), "a fit.json that `fit` wrote"),
        (PlanSettings(gpu_hours=8, device="abacus", table="x.csv"), "device must be one of h200"),
    ],
)
def test_bad_requests(settings: PlanSettings, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        fits.spend(settings)


def test_unknown_experiment_and_empty_selection(logged: Any) -> None:
    with pytest.raises(UserError, match="experiment must exist, got 'none'"):
        fits.fit(FitSettings(experiment="none"))
    with pytest.raises(UserError, match="must hold finished runs with val/accuracy, got none"):
        fits.fit(FitSettings(experiment="runs", metric="val/accuracy"))


def test_versions_of_a_task_are_not_mixed(logged: Any) -> None:
    logged.log(1e7, 5, digest="b")
    with pytest.raises(UserError, match=r"one task_digest, got 2 \(a, b\), the odd ones in rows 40, 41, 42, 43;"):
        fits.fit(FitSettings(experiment="runs"))
    assert len(fits.read(FitSettings(experiment="runs", task_digest="a")).frame) == 40
