"""Rows of the speed suites: which side is better, how rounds are paired, and what a table says of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chemscale_bench.speed.ceilings import Ceiling
from chemscale_bench.speed.measurements import Row, append, figure, number, read, table

CEILINGS = {"matrix_fp32_gflop_per_s": Ceiling(95, 90, 100), "matrix_bf16_gflop_per_s": Ceiling(395, 390, 400)}


@pytest.mark.parametrize(
    ("unit", "ours", "theirs", "ratio"),
    [
        ("tokens/s", [10, 20, 30], [5, 5, 5], (4, 2, 6)),  # more is better
        ("s", [1, 2, 4], [8, 8, 8], (4, 2, 8)),  # less is better
        ("s", [1, 2, 4], [4, 2, 1], (1, 0.25, 4)),  # rounds are paired, sides not sorted
        ("s", [1, 2, 4], 8, (4, 2, 8)),  # one value for all rounds
        ("s", 2, [8, 4, 2], (2, 1, 4)),
    ],
)
def test_a_ratio_above_one_means_that_ours_is_better(
    unit: str, ours: list[float], theirs: list[float], ratio: tuple[float, float, float]
) -> None:
    row = Row.measured("suite", "work", unit, ours, "theirs", theirs)
    assert (row.ratio, row.ratio_low, row.ratio_high) == ratio


def test_a_row_survives_its_file(tmp_path: Path) -> None:
    row = Row.measured("data", "SMILES to ids, 2 cores", "molecules/s", [3.0, 4.0, 5.0], "selfies", [1.0, 1.0, 1.0])
    assert read(tmp_path / "rows") == []
    append(row, tmp_path / "rows")
    append(Row("data", "test_other", note="skipped: no GPU"), tmp_path / "rows")
    again, other = read(tmp_path / "rows")
    assert str(again) == str(row) == "SMILES to ids, 2 cores: 4 molecules/s; selfies 1, ratio 4 (3 to 5)"
    assert math.isnan(other.ours)
    assert other.metrics(CEILINGS) == {}
    assert again.metrics(CEILINGS) == {
        "speed/data/smiles_to_ids_2_cores/ours_molecules_per_s": 4,
        "speed/data/smiles_to_ids_2_cores/alternative_molecules_per_s": 1,
        "speed/data/smiles_to_ids_2_cores/ratio": 4,
        "speed/data/smiles_to_ids_2_cores/ratio_low": 3,
        "speed/data/smiles_to_ids_2_cores/ratio_high": 5,
    }


@pytest.mark.parametrize(("precision", "share"), [("fp32", 0.5), ("bf16", 0.125)])
def test_arithmetic_is_compared_with_the_matrix_rate_of_its_precision(precision: str, share: float) -> None:
    row = Row.measured("training", "1e6", "tokens/s", [1000], flops=5e7, precision=precision)
    assert row.metrics(CEILINGS)["speed/training/1e6/share_of_peak"] == pytest.approx(share)


def test_table_and_figure() -> None:
    rows = [
        Row.measured("data", "ids", "molecules/s", [200_000], "selfies", [2000, 4000]),
        Row.measured("training", "1e6", "tokens/s", [1000], flops=5e7),
        Row("training", "test_b", note="failed: assert 1 > 2"),
    ]
    assert table(rows, CEILINGS).splitlines()[2:] == [
        "| data | ids, molecules/s | 200,000 | selfies: 3,000 | 75 (50 to 100) |  |",
        "| training | 1e6, tokens/s | 1,000 |  |  | 50% |",
        "",
        "- training, test_b: failed: assert 1 > 2",
    ]
    assert list(figure(rows, "here").data[0].x) == [75]


@pytest.mark.parametrize(
    ("value", "text"), [(35_119_279, "35,120,000"), (999.6, "1,000"), (34.81, "34.8"), (0.00412, "0.00412")]
)
def test_numbers_have_the_digits_of_a_timing(value: float, text: str) -> None:
    assert number(value) == text
