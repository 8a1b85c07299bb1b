"""What `verify` says, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chemscale_bench.cli import main
from chemscale_bench.leaderboard.planted import plant


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    return plant(tmp_path, sizes=(30_000,), budgets=(30_000,), seeds=1)


def verify(path: Path | str, level: str, capture: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code, and what was printed."""
    code = 0
    try:
        main(["verify", "--entry", str(path), "--level", level])
    except SystemExit as end:
        code = int(end.code or 0)
    return code, "".join(capture.readouterr())


def test_consistent_and_why_not_reproduced(entry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = verify(entry, "consistent", capsys)
    assert code == 0
    assert "is consistent: every number follows from the curves" in text
    assert "not reproduced: the best run must have a checkpoint" in text
    code, text = verify(entry, "reproduced", capsys)
    assert code == 2
    assert "must be reproduced, it is consistent only" in text


def test_valid_and_why_not_consistent(entry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(entry.read_text())
    content["runs"][0]["train_seconds"] *= 2
    entry.write_text(json.dumps(content))
    code, text = verify(entry, "valid", capsys)
    assert code == 0
    assert "not consistent: train_seconds must be" in text
    assert verify(entry, "consistent", capsys)[0] == 2


@pytest.mark.parametrize("path", ["", "nowhere.json", "entry.txt"])
def test_what_is_no_entry_has_exit_code_2(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = verify(path, "valid", capsys)
    assert code == 2
    assert text.startswith("error: ")
    assert text.count("\n") == 1
