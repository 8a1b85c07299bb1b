"""Who stands where: ranks, significance, laws, papers, copies, and the user's own runs."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from chemscale_bench.leaderboard.board import Board, build
from chemscale_bench.leaderboard.collect import read_entries
from chemscale_bench.leaderboard.levels import Level
from chemscale_bench.leaderboard.planted import plant, true_loss
from chemscale_bench.leaderboard.published import read_published
from chemscale_bench.scaling.seeds import mean_over_seeds
from chemscale_bench.tasks import titled
from chemscale_bench.verbs.leaderboard import PUBLISHED, counts

SIZES, BUDGETS = (30_000, 100_000, 300_000, 1_000_000), (30_000, 100_000, 300_000, 1_000_000)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies 5 % apart, one with a single seed, and one of force fields."""
    root = tmp_path_factory.mktemp("entries")
    plant(root, "Worse", factor=1.05, sizes=SIZES, budgets=BUDGETS)
    plant(root, "Better", sizes=SIZES, budgets=BUDGETS)
    plant(root, "Single", factor=1.2, sizes=SIZES[:2], budgets=BUDGETS[:2], seeds=1, gpu=True)
    plant(root, "Emmy", family="force_field", sizes=(4_000, 16_000, 64_000), budgets=(50, 100, 200))
    return root


@pytest.fixture(scope="module")
def boards(root: Path) -> dict[str, Board]:
    studies, refused = read_entries(root, Level.CONSISTENT)
    assert not refused
    return {board.task: board for board in build(studies)}


def test_ranks_and_significance(boards: dict[str, Board]) -> None:
    rows = {row.study.submitter: row for row in boards["embedded-lm"].rows}
    assert [rows[name].rank["100000"] for name in ("Better", "Worse", "Single")] == [1, 2, 3]
    assert "1000000" not in rows["Single"].rank
    assert rows["Better"].differs["100000"] < 0.05
    assert "100000" not in rows["Worse"].differs, "the next has one seed only"
    reached = rows["Better"].reached[1_000_000]
    assert reached.params == max(rows["Better"].points["params"])
    assert reached.low < true_loss(reached.params, 1e6) < reached.high
    assert math.isnan(rows["Single"].reached[30_000].low)


def test_tasks_without_a_run_come_last(root: Path) -> None:
    studies, _ = read_entries(root, Level.VALID)
    papers, _ = read_published(PUBLISHED)
    measured = [any(row.study.runs for row in board.rows) for board in build([*papers, *studies], replicates=100)]
    assert True in measured
    assert False in measured
    assert measured == sorted(measured, reverse=True)


def test_models_of_both_strings_stand_on_one_board_by_what_strings_have_in_common(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    plant(tmp_path, "Smiley", factor=0.9, sizes=SIZES, budgets=BUDGETS, vocabulary="smiles")
    studies, refused = read_entries(tmp_path, Level.CONSISTENT)
    assert not refused
    boards = {board.task: board for board in build(studies)}
    assert set(boards) == {"embedded-lm", "embedded-lm@smiles", "embedded-lm@selfies,smiles", "embedded-ff@ethanol"}
    both, selfies = boards["embedded-lm@selfies,smiles"], boards["embedded-lm"]
    assert (both.metric, titled(both.task)) == ("val/bits_per_heavy_atom", "embedded-lm, SELFIES and SMILES")
    assert "34.0 tokens as SELFIES" in both.note
    ranked = sorted((row for row in both.rows if "100000" in row.rank), key=lambda row: row.rank["100000"])
    assert [(row.study.submitter, row.study.model) for row in ranked] == [
        ("Smiley", "chemgpt, SMILES"), ("Better", "chemgpt, SELFIES"), ("Worse", "chemgpt, SELFIES"),
        ("Single", "chemgpt, SELFIES"),
    ]  # fmt: skip
    alone = next(row for row in selfies.rows if row.study.submitter == "Better")
    assert ranked[1].laws.params_exponent.value == pytest.approx(alone.laws.params_exponent.value, abs=1e-3)
    bits, nats = ranked[1].reached[100_000].metrics[both.metric], alone.reached[100_000].metrics[selfies.metric]
    assert bits == alone.reached[100_000].metrics[both.metric] != pytest.approx(nats)
    assert [board.task for board in boards.values() if board.repeats] == [both.task]
    assert counts(list(boards.values()))["leaderboard/studies"] == len(studies)

    for path in tmp_path.glob("embedded-lm@smiles/*/*.json"):  # an entry need not say more than its loss
        entry = json.loads(path.read_text())
        for result in (result for run in entry["runs"] for result in run["results"]):
            result["metrics"] = {selfies.metric: result["metrics"][selfies.metric]}
        path.write_text(json.dumps(entry))
    studies, refused = read_entries(tmp_path, Level.VALID)
    assert not refused
    assert "embedded-lm@selfies,smiles" not in {board.task for board in build(studies, replicates=100)}


def test_laws_recover_what_was_planted(boards: dict[str, Board]) -> None:
    board = boards["embedded-lm"]
    better, worse, single = (
        next(row for row in board.rows if row.study.submitter == name) for name in ("Better", "Worse", "Single")
    )
    assert better.laws.params_exponent.low < better.laws.params_exponent.value < better.laws.params_exponent.high
    assert 0.05 < better.laws.params_exponent.value < 0.25
    assert better.rank["predicted"] < worse.rank["predicted"]
    assert better.laws.predicted.low < better.laws.predicted.value < better.laws.predicted.high
    assert "needs" in single.laws.params_exponent.reason
    (forces,) = boards["embedded-ff@ethanol"].rows
    assert boards["embedded-ff@ethanol"].data == "frames"
    assert forces.laws.params_exponent.value == pytest.approx(0.25, abs=0.02)
    assert forces.laws.data_exponent.value == pytest.approx(0.4, abs=0.03)
    assert forces.reached[200].metrics["test/force_mae_mev_per_angstrom"] < forces.reached[50].high


def test_compute_can_be_chosen(root: Path) -> None:
    studies, _ = read_entries(root, Level.VALID)
    losses = []
    for flops in (1e12, 1e14):
        (board,) = build([study for study in studies if study.submitter == "Better"], flops=flops)
        losses.append(board.rows[0].laws.predicted.value)
    assert losses[0] > losses[1]


def test_a_prediction_far_beyond_the_runs_is_marked_and_not_ranked(root: Path) -> None:
    studies, _ = read_entries(root, Level.VALID)
    (board,) = build([study for study in studies if study.submitter == "Better"], flops=1e16)
    predicted = board.rows[0].laws.predicted
    assert predicted.value > 0
    assert "times the" in predicted.reason
    assert "too far from them to be ranked" in predicted.reason
    assert "predicted" not in board.rows[0].rank


def test_unverified_entries_are_shown_but_not_ranked(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "entries")
    path = next((tmp_path / "entries").glob("*/*/better*.json"))
    entry = json.loads(path.read_text())
    entry["runs"][0]["train_seconds"] /= 10
    path.write_text(json.dumps(entry))
    studies, _ = read_entries(tmp_path / "entries", Level.CONSISTENT)
    rows = {row.study.submitter: row for board in build(studies) for row in board.rows}
    assert rows["Better"].study.level == Level.VALID
    assert "train_seconds" in rows["Better"].study.why_not_next
    assert not rows["Better"].rank
    assert rows["Worse"].rank["30000"] == 1


def test_a_copy_of_somebody_elses_runs_is_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "entries")
    path = next((tmp_path / "entries").glob("*/*/better*.json"))
    entry = json.loads(path.read_text()) | {"submitter": "A Thief", "date": "2026-11-23"}
    thief = path.with_name("a-thief-2026-11-23.json")
    thief.write_text(json.dumps(entry))
    shutil.copy(path.with_suffix(".parquet"), thief.with_suffix(".parquet"))
    _, ((name, reason),) = read_entries(tmp_path / "entries", Level.VALID)
    assert name.endswith("a-thief-2026-11-23.json")
    assert "a run may stand in one entry" in reason


def test_entries_in_the_wrong_place_are_named(root: Path, tmp_path: Path) -> None:
    path = next(root.glob("*/*/single*.json"))
    shutil.copy(path, tmp_path)
    studies, ((name, reason),) = read_entries(tmp_path, Level.VALID)
    assert (studies, name) == ([], path.name)
    assert "an entry must lie at" in reason


def test_papers_stand_on_the_boards_of_their_labels() -> None:
    studies, tables = read_published(PUBLISHED)
    boards = {board.task: board for board in build(studies)}
    revised, original = boards["rmd17-ff@aspirin"], boards["md17-ff@aspirin"]
    names = {row.study.model: row for row in revised.rows if 950 in row.reached}
    assert names["MACE"].rank["950"] == 1
    assert names["NequIP"].reached[950].metrics == {
        "test/force_mae_mev_per_angstrom": 8.2, "test/energy_mae_mev": 2.3
    }  # fmt: skip
    assert {row.study.model for row in original.rows} == {"SchNet", "PaiNN", "SpookyNet", "NequIP l=3", "ViSNet"}
    assert not {"SchNet", "PaiNN"} & set(names), "they have no published rMD17 row"
    chemgpt = boards["pubchem10m-lm"].rows[0]
    assert chemgpt.laws.params_exponent[:3] == pytest.approx((0.17, 0.16, 0.18))
    assert "Roughness of representations, ROGI-XD" in {table["title"] for table in tables}


def test_laws_are_fitted_once_for_the_same_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "Ada")
    studies, _ = read_entries(tmp_path, Level.CONSISTENT)
    first = build(studies)[0].rows[0].laws
    monkeypatch.setattr("chemscale_bench.leaderboard.laws.fit", None)
    assert build(studies)[0].rows[0].laws == first
    with pytest.raises(TypeError, match="not callable"):
        build(studies, flops=1e15)


def test_the_larger_exponent_ranks_first_and_intervals_have_two_sides(root: Path) -> None:
    studies, _ = read_entries(root, Level.CONSISTENT)
    board = next(board for board in build(studies, level=0.8) if board.task == "embedded-lm")
    ranked = sorted(
        (row for row in board.rows if "params_exponent" in row.rank), key=lambda r: r.rank["params_exponent"]
    )
    values = [row.laws.params_exponent.value for row in ranked]
    assert len(values) >= 2
    assert values == sorted(values, reverse=True)
    row = next(row for row in board.rows if row.study.submitter == "Better")
    of_budget = row.points[row.points["budget"] == 100_000]
    reached = row.reached[100_000]
    mean = mean_over_seeds(of_budget["params"], of_budget["loss"], reached.params)
    assert mean.free > reached.seeds - 1, "other sizes tell of the spread, too"
    assert (reached.low, reached.high) == pytest.approx(mean.interval(0.8))
