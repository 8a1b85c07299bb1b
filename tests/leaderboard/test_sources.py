"""Tables of runs, as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.sources import read
from chemscale_bench.settings.fit import FitSettings


def test_selecting_by_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params,tokens,loss\n1e6,1e8,3\n")
    with pytest.raises(UserError, match="task=lm selects by the column task, got a table with params, tokens, loss"):
        read(FitSettings(table=str(path), task="lm"))


def test_rows_are_those_of_the_file_also_in_a_selection(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params,tokens,loss,task\n1e6,1e8,3,a\n1e6,1e9,2,b\n1e7,1e8,-1,b\n")
    with pytest.raises(UserError, match="got -1 in row 2;"):
        read(FitSettings(table=str(path), task="b"))


def test_spreadsheets_write_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params;tokens;loss\n1e6;1e8;3,5\n1e6;1e9;2,25\n1e7;1e8;3\n", encoding="utf-8-sig")
    assert read(FitSettings(table=str(path))).frame["loss"].to_list() == [3.5, 2.25, 3.0]
    path.write_text("params;tokens;loss;note\n1e6;1e8;3.5;a, b\n1e6;1e9;2.25;\n1e7;1e8;3;1,5 h\n")
    assert read(FitSettings(table=str(path))).frame["loss"].to_list() == [3.5, 2.25, 3.0]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_that_is_no_table(kind: str, tmp_path: Path) -> None:
    spoilt = tmp_path / f"spoilt.{kind}"
    spoilt.write_bytes(b"\xff\x00")
    with pytest.raises(UserError, match="table must be readable as"):
        read(FitSettings(table=str(spoilt)))
