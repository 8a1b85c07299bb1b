"""The verb `speed`: suites of any outcome become rows, metrics, a page and a figure; bad input is one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pytest
import torch

from chemscale_bench.cli import main
from chemscale_bench.speed import measurements, suites
from chemscale_bench.speed.ceilings import MATRIX_SIZE, ceilings_of

SUITES = {
    "good": """
import pytest
def test_rates(record_row):
    record_row("work", "steps/s", [4, 6, 8], "the usual", [2, 2, 2], flops=1e6)
@pytest.mark.slow
def test_long(record_row):
    record_row("long work", "s", 100)
""",
    "mixed": """
import pytest
def test_goal(record_row):
    assert record_row("wait", "s", 2, "the usual", 1).ratio > 1
def test_gpu():
    pytest.skip("needs a GPU")
""",
    "broken": "import nothing_of_that_name",
}


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "benchmarks" / "speed"
    folder.mkdir(parents=True)
    shutil.copy(suites.FOLDER / "conftest.py", folder)
    for name, code in SUITES.items():
        (folder / f"test_{name}.py").write_text(code)
    monkeypatch.setattr(suites, "FOLDER", folder)
    monkeypatch.setattr(suites, "QUICK", ("good", "mixed"))
    monkeypatch.setattr("chemscale_bench.verbs.speed.SECONDS", 0.01)
    monkeypatch.setitem(MATRIX_SIZE, "cpu", 64)
    return folder


def logged() -> mlflow.entities.Run:
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("chemscale-housekeeping").experiment_id])
    return run


def test_quick_measures_what_is_not_slow(planted: Path, tracking_uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    main(["speed"])
    printed, progress = capfd.readouterr()
    assert "| good | work, steps/s | 6 | the usual: 2 | 3 (2 to 4) |" in printed
    assert "| mixed | wait, s | 2 | the usual: 1 | 0.5 |" in printed
    assert "- mixed, test_gpu: skipped: needs a GPU" in printed
    assert "- mixed, test_goal: failed: " in printed
    assert "long work" not in printed
    assert "suite mixed, 2 of 2" in progress
    run = logged()
    assert run.info.status == "FINISHED"
    assert run.data.params["suite"] == "quick"
    metrics = run.data.metrics
    assert metrics["speed/good/work/ratio"] == 3
    assert metrics["speed/good/work/share_of_peak"] == pytest.approx(
        6e6 / 1e9 / metrics["ceilings/matrix_fp32_gflop_per_s_high"]
    )
    assert metrics["speed/failed"] == 1
    client = mlflow.MlflowClient()
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["figures", "rows.jsonl", "speed.md"]
    rows = measurements.read(Path(client.download_artifacts(run.info.run_id, "rows.jsonl")))
    assert [(row.suite, row.ratio) for row in rows if not row.note][:2] == [("good", 3), ("mixed", 0.5)]
    assert [file.path for file in client.list_artifacts(run.info.run_id, "figures")] == ["figures/speed.html"]


def test_a_suite_that_breaks_leaves_the_others_standing(
    planted: Path, tracking_uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    main(["speed", "--suite", "broken, good"])
    printed = capfd.readouterr().out
    assert "- broken, the suite: failed: pytest ended with exit code 2" in printed
    assert "| good | long work, s | 100 |" in printed
    assert logged().data.metrics["speed/failed"] == 1


@pytest.mark.parametrize(
    ("suite", "says"),
    [
        ("mixd", "suite must be quick, all, or of broken, good, mixed, got 'mixd'; did you mean mixed?"),
        ("xyz", "choose some, with commas between them"),
        ("", "got ''"),
    ],
)
def test_an_unknown_suite_is_one_line(
    suite: str, says: str, planted: Path, tracking_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["speed", "--suite", suite])
    assert end.value.code == 2
    assert says in capsys.readouterr().err
    assert mlflow.MlflowClient().get_experiment_by_name("chemscale-housekeeping") is None, "no run is left behind"


def test_without_a_checkout_there_is_nothing_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracking_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suites, "FOLDER", tmp_path)
    with pytest.raises(SystemExit):
        main(["speed"])
    assert f"there are none in {tmp_path}; run it in a clone" in capsys.readouterr().err


def test_the_quick_suites_are_there() -> None:
    assert list(suites.chosen("quick")) == list(suites.QUICK)


def test_ceilings_of_this_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MATRIX_SIZE, "cpu", 256)
    found = ceilings_of(torch.device("cpu"), 0.05)
    assert list(found) == ["matrix_fp32_gflop_per_s", "matrix_bf16_gflop_per_s", "copy_gb_per_s"]
    for one in found.values():
        assert 0 < one.low <= one.median <= one.high < 1e6
