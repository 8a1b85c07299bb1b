"""Features on the board: from `probe` into an entry, checked as numbers, and probed again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import mlflow
import pandas as pd
import pytest
from entries import changed, submitted

from chemscale_bench.cli import main
from chemscale_bench.data.properties import SETS
from chemscale_bench.leaderboard import files
from chemscale_bench.leaderboard.board import build
from chemscale_bench.leaderboard.collect import read_experiment
from chemscale_bench.leaderboard.entry import Property
from chemscale_bench.leaderboard.levels import Level, judge
from chemscale_bench.leaderboard.page import models_table, probed
from chemscale_bench.leaderboard.planted import plant
from chemscale_bench.leaderboard.probed import CLASSES
from chemscale_bench.runs.probing import probe
from chemscale_bench.settings.probe import ProbeSettings
from chemscale_bench.settings.verify import VerifySettings
from chemscale_bench.verbs.verify import verify

TRAIN = ["chemgpt", "--task", "embedded-lm", "--params", "1e4", "--tokens", "4e4", "--device", "cpu"]
TRAIN += ["--experiment", "study", "--seed", "1"]
FILES = {"esol": "ESOL_delaney-processed.csv", "freesolv": "FreeSolv_SAMPL.csv"}


@pytest.fixture(scope="module")
def store(store_of_file: None, prepared_home: Path, shared_data: Path) -> None:
    """One small language model of two budgets in the experiment `study`, both probed."""
    real = shared_data / "moleculenet"
    (prepared_home / "downloads").mkdir(parents=True)
    for name, file in FILES.items():
        (prepared_home / "downloads" / SETS[name].file_name).write_bytes((real / file).read_bytes())
    with pytest.raises(SystemExit, match="0"):
        main(TRAIN)
    probe(ProbeSettings(run="study", tasks=",".join(FILES), budget="all", device="cpu"))


def number(name: str, what: str, value: float) -> Any:
    return lambda probes: probes[name].update({what: value})


def test_an_entry_carries_what_features_are_worth(home: None, kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = submitted(kept)
    (run,) = files.load(path).entry.runs
    printed = capsys.readouterr().out
    assert "it tells of features of 2 of its 2 models on esol, freesolv; `verify` probes those of run" in printed
    (made,) = mlflow.search_runs(filter_string="tags.verb = 'probe'", search_all_experiments=True, output_format="list")
    table = pd.read_csv(mlflow.artifacts.download_artifacts(f"runs:/{made.info.run_id}/probes.csv"))  # type: ignore[union-attr]
    untrained = table[table["kind"] == "untrained"].set_index("property")["linear"]
    for result in run.results:
        assert result.probes is not None
        assert set(result.probes) == set(FILES)
        for name, found in result.probes.items():
            mine = (table["property"] == name) & (table["kind"] == "trained") & (table["tokens"] == result.budget)
            (row,) = table[mine].to_dict("records")
            told = found.model_dump()
            assert told.pop("linear_untrained") == pytest.approx(untrained[name], rel=1e-12)
            assert told == pytest.approx({what: row[what] for what in told}, rel=1e-12)
    verify(VerifySettings(entry=str(path), level="reproduced"))
    assert f"the features of run {run.run} were probed again on esol, freesolv" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (number("esol", "linear", 0.8), "linear of esol of run"),
        (number("freesolv", "neighbours", 1.5), "neighbours of freesolv of run"),
        (number("freesolv", "rogi_xd", 0.01), "rogi_xd of freesolv of run"),
    ],
)
def test_what_the_checkpoint_does_not_have_is_caught(
    home: None, kept: Path, tmp_path: Path, change: Any, says: str
) -> None:
    verdict = judge(changed(submitted(kept), tmp_path, "probes", change), Level.REPRODUCED)
    assert verdict.level == Level.CONSISTENT
    assert says in verdict.why_not_next
    assert "\n" not in verdict.why_not_next


def test_what_can_not_be_probed_again_is_said(
    home: None, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], prepared_home: Path
) -> None:
    path = submitted(tmp_path, checkpoint="none")
    assert "it can't be reproduced: features must be those of a run with a checkpoint" in capsys.readouterr().out
    assert "the best run must have a checkpoint" in judge(path, Level.REPRODUCED).why_not_next
    file = prepared_home / "downloads" / SETS["esol"].file_name
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"-0.77", b"-0.78", 1))
    try:
        assert "esol must hold the molecules and values" in judge(submitted(kept), Level.REPRODUCED).why_not_next
    finally:
        file.write_bytes(whole)


def test_other_settings_are_left_out_and_the_newest_counts(home: None, capsys: pytest.CaptureFixture[str]) -> None:
    (before,), _ = read_experiment("study")
    probe(ProbeSettings(run="study", tasks="freesolv", splits=2, device="cpu"))
    (study,), _ = read_experiment("study")
    assert study.runs == before.runs
    assert "1 models with another pooling, layer or number of splits" in capsys.readouterr().err
    (board,) = build([study])
    rows = probed(board)
    assert [(row["level"], row["budget"]) for row in rows] == [("yours", 30_000), ("yours", 40_000)]
    linear = [result.probes["esol"].linear for result in study.runs[0].results if result.probes]
    assert list(models_table([board], probed)["esol_linear"]) == linear


# -- numbers alone -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(tmp_path_factory.mktemp("planted"), sizes=(30_000,), budgets=(30_000, 100_000), seeds=1, probed=True)


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        (lambda probes: None, Level.CONSISTENT, "the best run must have a checkpoint"),
        (
            number("esol", "molecules", 1_127),
            Level.VALID,
            "esol must be of 1,128 molecules, as in other runs, got 1127",
        ),
        (number("esol", "linear_untrained", 0.95), Level.VALID, "linear_untrained of esol must be 0.9 at every budget"),
        (number("bbbp", "linear", 1.2), Level.VALID, "bbbp has two classes, whose area under the curve is 1 at most"),
        (number("bbbp", "rogi_xd", 1.2), Level.REFUSED, "rogi_xd"),
        (number("esol", "linear", -1.0), Level.REFUSED, "linear"),
        (lambda probes: probes["esol"].pop("linear_untrained"), Level.REFUSED, "linear_untrained"),
        (lambda probes: probes.update(tox=probes["esol"]), Level.REFUSED, "tox"),
        (lambda probes: probes.clear(), Level.REFUSED, "probes"),
    ],
)
def test_numbers_that_no_features_have(planted: Path, tmp_path: Path, change: Any, level: Level, says: str) -> None:
    verdict = judge(changed(planted, tmp_path, "probes", change), Level.REPRODUCED)
    assert verdict.level == level, verdict.why_not_next
    assert says in verdict.why_not_next


def test_force_fields_have_no_features(tmp_path: Path, planted: Path) -> None:
    made = json.loads(planted.read_text())["runs"][0]["results"][0]["probes"]
    path = plant(tmp_path, family="force_field", sizes=(4_000,), budgets=(50,), seeds=1)
    content = json.loads(path.read_text())
    content["runs"][0]["results"][0]["probes"] = made
    path.write_text(json.dumps(content))
    assert "only language models draw molecules and have features" in judge(path).why_not_next


def test_properties_are_those_that_probe_knows() -> None:
    assert get_args(Property) == tuple(SETS)
    assert set(CLASSES) == {"bbbp", "bace"}
