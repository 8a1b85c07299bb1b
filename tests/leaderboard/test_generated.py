"""Drawn molecules on the board: from `generate` into an entry, checked as numbers, and drawn again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
from entries import changed, submitted

from chemscale_bench.cli import main
from chemscale_bench.evaluation.generation import Distribution
from chemscale_bench.leaderboard import files, regenerate
from chemscale_bench.leaderboard.board import build
from chemscale_bench.leaderboard.collect import read_experiment
from chemscale_bench.leaderboard.entry import OF_MOLECULES, Generation
from chemscale_bench.leaderboard.levels import Level, judge
from chemscale_bench.leaderboard.page import drawn, models_table
from chemscale_bench.leaderboard.planted import plant
from chemscale_bench.leaderboard.published import read_published
from chemscale_bench.settings.generate import GenerateSettings
from chemscale_bench.settings.verify import VerifySettings
from chemscale_bench.verbs.generate import generate
from chemscale_bench.verbs.leaderboard import PUBLISHED
from chemscale_bench.verbs.verify import verify

TRAIN = ["chemgpt", "--task", "embedded-lm", "--params", "1e4", "--tokens", "4e4", "--device", "cpu"]
TRAIN += ["--experiment", "study"]
MOLECULES = 120
pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def store(store_of_file: None) -> None:
    """One small language model of two budgets in the experiment `study`, and what both draw."""
    with pytest.raises(SystemExit, match="0"):
        main(TRAIN)
    generate(GenerateSettings(run="study", molecules=MOLECULES, budget="all", seed=3))


def test_an_entry_carries_what_its_models_draw(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = submitted(kept)
    (run,) = files.load(path).entry.runs
    printed = capsys.readouterr().out
    assert f"it tells of {MOLECULES} molecules from each of 2 of its 2 models; `verify` draws those of run" in printed
    assert [result.budget for result in run.results] == [30_000, 40_000]
    (made,) = mlflow.search_runs(experiment_names=["chemscale-generation"], output_format="list")
    table = mlflow.artifacts.load_text(f"runs:/{made.info.run_id}/quality.csv")  # type: ignore[union-attr]
    for result in run.results:
        generation = result.generation
        assert generation is not None
        assert (generation.molecules, generation.seed, generation.temperature) == (MOLECULES, 3, 1)
        assert generation.chemnet == ("fcd_test" in generation.metrics)
        for value in generation.metrics.values():
            assert repr(value) in table or str(value) in table
    verify(VerifySettings(entry=str(path), level="reproduced"))
    assert f"the molecules of run {run.run} were drawn again, and all their metrics agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda made: made["metrics"].update(snn_test=0.9), "snn_test of 120 molecules of run"),
        (lambda made: made.update(temperature=0.1), "of 120 molecules of run"),
        (lambda made: made.update(reference_digest="0" * 64), "one for all drawn molecules"),
    ],
)
def test_what_the_checkpoint_does_not_draw_is_caught(kept: Path, tmp_path: Path, change: Any, says: str) -> None:
    verdict = judge(changed(submitted(kept), tmp_path, "generation", change), Level.REPRODUCED)
    assert verdict.level < Level.REPRODUCED
    assert says in verdict.why_not_next
    assert "\n" not in verdict.why_not_next


def test_another_seed_draws_within_the_tolerance(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Distribution, "of_reference", None)  # a process measures the test molecules once
    path = changed(submitted(kept), tmp_path, "generation", lambda made: made.update(seed=4))
    assert judge(path, Level.REPRODUCED).level == Level.REPRODUCED


def test_without_a_checkpoint_the_molecules_are_not_reproduced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = submitted(tmp_path, checkpoint="none")
    assert "it can't be reproduced: drawn molecules must be those of a run with a checkpoint" in capsys.readouterr().out
    assert "the best run must have a checkpoint" in judge(path, Level.REPRODUCED).why_not_next


def test_the_most_molecules_count_and_then_the_newest(tmp_path: Path) -> None:
    (study,), _ = read_experiment("study")
    run = study.runs[0].run
    for molecules, seed in ((MOLECULES - 20, 5), (MOLECULES, 6)):
        generate(GenerateSettings(run=run, molecules=molecules, seed=seed))
        (study,), _ = read_experiment("study")
        last = study.runs[0].results[-1].generation
        assert last is not None
        assert (last.molecules, last.seed) == (MOLECULES, 6 if seed == 6 else 3)
    (board,) = build([study])
    rows = drawn(board)
    assert [(row["level"], row["budget"], row["drawing"]) for row in rows] == [
        ("yours", 30_000, ""),
        ("yours", 40_000, ""),
    ]
    assert list(models_table([board], drawn)["unique_at_10k"]) == [row["metrics"]["unique_at_10k"] for row in rows]


def test_published_models_stand_on_the_board_of_moses() -> None:
    board = next(board for board in build(read_published(PUBLISHED)[0]) if board.task == "moses-lm")
    rows = {row["model"]: row["metrics"] for row in drawn(board)}
    assert rows["CharRNN"] | {"fcd_test": 0.0732, "fcd_test_scaffolds": 0.5204, "novelty": 0.8419} == rows["CharRNN"]
    assert {"VAE", "JTN-VAE", "LatentGAN", "MolGPT"} <= set(rows)


# -- numbers alone -----------------------------------------------------------------------------------------------


def metric(name: str, value: float) -> Any:
    return lambda made: made["metrics"].update({name: value})


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(tmp_path_factory.mktemp("planted"), sizes=(30_000,), budgets=(30_000,), seeds=1, molecules=1_000)


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        (lambda made: None, Level.CONSISTENT, "the best run must have a checkpoint"),
        (metric("valid", 0.98765), Level.VALID, "valid must be a share of 1,000 molecules, got 987.65"),
        (metric("valid", 0.0), Level.VALID, "some of the drawn molecules must be valid, got none"),
        (metric("snn_test", 1.2), Level.VALID, "snn_test of drawn molecules is a share, 1 at most, got 1.2"),
        (metric("unique_at_1k", 970 / 980), Level.VALID, "unique_at_10k must be of 970 to 970 molecules"),
        (metric("novelty", 0.9), Level.CONSISTENT, ""),
        (metric("novelty", 0.9001), Level.VALID, "novelty must be a share of 980 molecules"),
        (metric("internal_diversity_2", 0.9), Level.VALID, "internal_diversity_2 may not be above"),
        (metric("fcd_test_scaffolds", 1.0), Level.VALID, "molecules of this task are compared with"),
        (lambda made: made.update(chemnet=False), Level.VALID, "fcd_test must be there if ChemNet was"),
        (lambda made: made["metrics"].pop("snn_test"), Level.VALID, "all metrics against test must be there"),
        (lambda made: made["metrics"].pop("novelty"), Level.REFUSED, "got no novelty"),
        (metric("beauty", 1.0), Level.REFUSED, "got beauty"),
        (metric("fcd_test", -1.0), Level.REFUSED, "fcd_test"),
        (lambda made: made.update(temperature=0), Level.REFUSED, "temperature"),
        (lambda made: made.update(molecules=10**8), Level.REFUSED, "molecules"),
    ],
)
def test_numbers_that_no_molecules_have(planted: Path, tmp_path: Path, change: Any, level: Level, says: str) -> None:
    verdict = judge(changed(planted, tmp_path, "generation", change), Level.REPRODUCED)
    assert verdict.level == level, verdict.why_not_next
    assert says in verdict.why_not_next


def test_force_fields_draw_nothing(tmp_path: Path, planted: Path) -> None:
    made = json.loads(planted.read_text())["runs"][0]["results"][0]["generation"]
    path = plant(tmp_path, family="force_field", sizes=(4_000,), budgets=(50,), seeds=1)
    content = json.loads(path.read_text())
    content["runs"][0]["results"][0]["generation"] = made
    path.write_text(json.dumps(content))
    assert "only language models draw molecules and have features" in judge(path).why_not_next


@pytest.mark.parametrize(("molecules", "most"), [(1_000, 0.08), (30_000, 0.02)])
def test_tolerances_shrink_with_the_molecules(molecules: int, most: float) -> None:
    metrics = dict.fromkeys(OF_MOLECULES, 0.5) | {"snn_test": 0.5}
    made = Generation(
        molecules=molecules, seed=0, temperature=1, top_k=0, top_p=1, reference_digest="0" * 64, chemnet=False,
        metrics=metrics,
    )  # fmt: skip
    for name in ("valid", "filters", "snn_test", "internal_diversity_1"):
        assert 0.001 < regenerate.tolerance(made, name) < most * 2
