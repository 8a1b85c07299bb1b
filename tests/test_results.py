"""The page of results says what the entries say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chemscale_bench.leaderboard.collect import read_entries
from chemscale_bench.leaderboard.levels import Level
from results.__main__ import ENTRIES, HERE, law_table, scaled

NUMBER = r"\d+\.\d+"
PAGE = (HERE / "README.md").read_text()


def test_links_and_figures_are_there() -> None:
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", PAGE) if "://" not in target]
    assert len(targets) > 5
    assert not [target for target in targets if not (HERE / target).exists()]
    assert {path.name for path in HERE.glob("*.svg")} <= set(targets)


def test_rows_follow_from_their_entries() -> None:
    """The smallest study of every task: all would take a minute. `python -m results` writes them anew."""
    studies = [study for study in read_entries(ENTRIES, Level.VALID)[0] if f"entries/{study.name})" in PAGE]
    smallest = {study.task: study for study in sorted(studies, key=lambda study: -len(study.runs))}
    assert smallest
    for study in smallest.values():
        (written,) = [line for line in PAGE.splitlines() if line.startswith("| ") and f"entries/{study.name})" in line]
        found = list(law_table([scaled(study)]))[-1]
        assert re.sub(NUMBER, "", found) == re.sub(NUMBER, "", written)
        numbers = [[float(number) for number in re.findall(NUMBER, line)] for line in (found, written)]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.02), study.name


def test_every_entry_of_a_study_stands_in_it() -> None:
    listed = {Path(path) for path in re.findall(r"leaderboard/entries/([^)]+\.json)", PAGE)}
    studies = read_entries(ENTRIES, Level.VALID)[0]
    wanted = {Path(study.name) for study in studies if len({run.non_embedding_params for run in study.runs}) >= 3}
    assert listed == wanted
