"""Forecasts in entries: they follow from the smaller runs alone, and what came of them is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from chemscale_bench.leaderboard import files, forecasts
from chemscale_bench.leaderboard.board import build
from chemscale_bench.leaderboard.collect import read_entries
from chemscale_bench.leaderboard.forecasts import foretold_of, judged, read_foretold, table_of
from chemscale_bench.leaderboard.levels import Level, judge
from chemscale_bench.leaderboard.page import render
from chemscale_bench.leaderboard.planted import plant
from chemscale_bench.scaling import validate
from chemscale_bench.scaling.belief import prior
from chemscale_bench.scaling.foretelling import predict_larger
from chemscale_bench.tracking.forecast import read_forecast, write_forecast
from chemscale_bench.tracking.reader import LoggedRun

LOSS = "val/loss_nats_per_token"
WRITTEN = "2026-01-01T09:30:00Z"


def record_of(path: Path, smaller: Callable[[int], bool], centre: tuple[float, float] | None = None) -> dict[str, Any]:
    """What a study with these runs would have written before its larger ones."""
    runs = files.load(path).entry.runs
    early = [run for run in runs if smaller(run.non_embedding_params)]
    table = table_of(early, LOSS)
    late = table_of([run for run in runs if run not in early], LOSS)
    beyond = late[late["params"] * late["data"] > (table["params"] * table["data"]).max()]
    at = beyond[["params", "data"]].drop_duplicates().sort_values(["params", "data"])
    told = predict_larger(
        validate(table.rename(columns={"data": "tokens", "measured": "loss"}), typed=False),
        at["params"], at["data"], 0.9, prior("language_model", *centre) if centre else None,
    )  # fmt: skip
    return {
        "written": WRITTEN, "law": told.law, "level": 0.9,
        "runs": [run.run for run in early], "params": at["params"].tolist(), "tokens": at["data"].tolist(),
        "loss": told.loss.tolist(), "low": told.low.tolist(), "high": told.high.tolist(),
    }  # fmt: skip


def told(path: Path, record: dict[str, Any], change: Callable[[dict[str, Any]], object] = lambda found: None) -> Path:
    """The entry with a forecast, changed."""
    found = json.loads(foretold_of(record).model_dump_json(exclude_none=True))
    change(found)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"foretold": found}))
    return path


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An entry of four sizes, and its forecast from three."""
    path = plant(tmp_path_factory.mktemp("planted"), sizes=(10_000, 30_000, 100_000, 300_000))
    return path, record_of(path, lambda size: size < 200_000)


@pytest.fixture
def entry(planted: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of that entry alone."""
    target = tmp_path.joinpath(*planted[0].parts[-3:])
    target.parent.mkdir(parents=True)
    for kind in (".json", ".parquet"):
        target.with_suffix(kind).write_bytes(planted[0].with_suffix(kind).read_bytes())
    return target


def test_a_forecast_is_made_again_and_told(planted: tuple[Path, dict[str, Any]], entry: Path) -> None:
    verdict = judge(told(entry, planted[1]), Level.CONSISTENT)
    assert verdict.level == Level.CONSISTENT, verdict.why_not_next
    assert verdict.loaded
    found = verdict.loaded.entry
    assert found.foretold
    table = judged(found.foretold, found.runs, LOSS)
    assert set(table["params"]) == {run.non_embedding_params for run in found.runs[-2:]}
    assert len(table) == 2 * len(found.foretold.points)  # two seeds
    off = np.abs(np.log(table["measured"] / table["foretold"])).mean()
    says = f"{table['inside'].sum()} of {len(table)} later runs and budgets inside their 90% intervals, {off:.1%} off"
    assert (
        "its forecast follows from the smaller runs alone: a forecast from 6 runs, written at 2026-01-01 09:30 UTC: "
        in verdict.text()
    )
    assert says in verdict.text()
    assert says in render(build(read_entries(entry.parents[2], Level.CONSISTENT)[0]))


def test_few_runs_foretell_with_the_prior_that_is_written_down(tmp_path: Path) -> None:
    path = plant(tmp_path, sizes=(10_000, 30_000, 100_000), budgets=(30_000, 100_000), seeds=1)
    record = record_of(path, lambda size: size < 50_000, (30_000.0, 60_000.0))
    assert set(record["law"]) == {"belief", "centre"}
    assert judge(told(path, record), Level.CONSISTENT).level == Level.CONSISTENT
    edge = record_of(path, lambda size: size < 50_000, (30_000.0, 100_000.00000000001))  # of one budget, rounded
    assert judge(told(path, edge), Level.CONSISTENT).level == Level.CONSISTENT
    verdict = judge(told(path, record, lambda found: found.pop("centre")), Level.CONSISTENT)
    assert verdict.why_not_next.startswith("a forecast needs runs enough, or the centre of its prior: ")
    verdict = judge(told(path, record, lambda found: found.update(centre=[3e7, 6e4])), Level.CONSISTENT)
    assert verdict.why_not_next.startswith("the centre of a prior must lie among sizes and budgets of its runs")
    verdict = judge(told(path, record, lambda found: found["points"][0].update(low=0.1)), Level.CONSISTENT)
    assert "must be the" in verdict.why_not_next


def point(at: int, **values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda found: found["points"][at].update(values)


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        (lambda found: found.update(runs=found["runs"][:4]), Level.VALID, "a forecast needs runs enough, or"),
        (lambda found: found["points"][-1].update(high=found["points"][-1]["high"] * 1.05), Level.VALID, "high of"),
        (lambda found: found["points"][-1].update(low=found["points"][-1]["low"] * 0.95), Level.VALID, "low of"),
        (lambda found: found["points"][-1].pop("high"), Level.VALID, "that follows from the smaller runs, got inf"),
        (point(0, loss=0.01, low=0.0), Level.VALID, "loss of"),
        (point(0, params=1_000), Level.VALID, "must have more params times budget than the"),
        (lambda found: found["runs"].append("gone"), Level.VALID, "must be made from runs of its entry, got ['gone']"),
        (lambda found: found.update(written="2099-01-01T00:00:00Z"), Level.VALID, "may not be younger than its entry"),
        (lambda found: found.update(centre=[1e5, 1e9]), Level.VALID, "the centre of a prior must lie among sizes and"),
        (lambda found: found.update(written="2025-01-01T00:00:00"), Level.REFUSED, "timezone"),
        (lambda found: found.update(written="0001-01-01T00:00:00+14:00"), Level.REFUSED, "a time in UTC from 2020"),
        (lambda found: found.update(written="9999-12-31T23:59:59Z"), Level.REFUSED, "a time in UTC from 2020 to 2099"),
        (lambda found: found["runs"].append(found["runs"][0]), Level.REFUSED, "every run may stand once"),
        (lambda found: found["points"].append(found["points"][0]), Level.REFUSED, "points must ascend"),
        (point(0, loss=99.0), Level.REFUSED, "what is foretold must lie inside its interval, got 99"),
        (lambda found: found.update(level=1.0), Level.REFUSED, "level"),
        (lambda found: found.update(why="luck"), Level.REFUSED, "why"),
    ],
)  # fmt: skip
def test_a_forecast_that_does_not_follow_is_caught(
    planted: tuple[Path, dict[str, Any]], entry: Path, change: Any, level: Level, says: str
) -> None:
    verdict = judge(told(entry, planted[1], change), Level.CONSISTENT)
    assert (verdict.level, says in verdict.why_not_next) == (level, True), verdict.why_not_next
    assert "\n" not in verdict.why_not_next


def test_an_entry_of_any_date_is_judged(planted: tuple[Path, dict[str, Any]], entry: Path) -> None:
    last = told(entry, planted[1]).rename(entry.with_name("ada-lovelace-9999-12-31.json"))
    last.write_text(last.read_text().replace("2026-11-22", "9999-12-31"))
    entry.with_suffix(".parquet").rename(last.with_suffix(".parquet"))
    assert judge(last, Level.CONSISTENT).level == Level.CONSISTENT


def test_smaller_runs_with_too_many_results_are_not_fitted(
    planted: tuple[Path, dict[str, Any]], entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(forecasts.MOST_RESULTS, False, 10)
    verdict = judge(told(entry, planted[1]), Level.CONSISTENT)
    assert "the smaller runs of a forecast may have 10 results, got 18" in verdict.why_not_next


def test_of_several_studies_that_of_the_most_runs_counts_and_a_broken_one_is_told(
    planted: tuple[Path, dict[str, Any]], store_of_file: None, capsys: pytest.CaptureFixture[str]
) -> None:
    record, client = planted[1], mlflow.MlflowClient()
    fewer = record | {"runs": record["runs"][:4]}
    strange = record | {"runs": ["elsewhere"]}
    older = record | {"law": {"belief": [0.0]}}
    parents = []
    for each in (fewer, record, strange, older, record):
        parents.append(client.create_run("0").info.run_id)
        write_forecast(client, parents[-1], json.dumps(each))
    client.log_text(parents[-1], json.dumps(record | {"loss": [1.0]}), "forecast.json")
    parents += [client.create_run("0").info.run_id, "f" * 32]  # without one, and one that is gone
    runs = [LoggedRun(run, "FINISHED") for run in record["runs"]]
    for i, parent in enumerate(parents):
        runs.append(LoggedRun(f"more{i}", "FINISHED", tags={"mlflow.parentRunId": parent}))
    assert read_foretold(runs) == foretold_of(record)
    notes = capsys.readouterr().err
    assert read_forecast(client, parents[1]) == record
    assert f"the forecast of study {parents[2]} is left out: it is from runs that take no part here" in notes
    assert f"{parents[3]} is left out: it was made from a prior by an older version" in notes
    assert f"{parents[4]} is left out: forecast.json of run {parents[4]} must have the sha256 of its tag" in notes
    assert parents[5] not in notes
    assert len(notes.splitlines()) == 4
    assert read_foretold(runs[:6]) is None


def test_without_an_upper_end_an_interval_has_none(planted: tuple[Path, dict[str, Any]]) -> None:
    record = planted[1]
    found = foretold_of(json.loads(json.dumps(record | {"high": [*record["high"][:-1], float("inf")]})))
    assert [point.high is None for point in found.points] == [False] * (len(found.points) - 1) + [True]
    table = judged(found, files.load(planted[0]).entry.runs, LOSS)
    assert isinstance(table, pd.DataFrame)
    assert table["high"].max() == float("inf")
