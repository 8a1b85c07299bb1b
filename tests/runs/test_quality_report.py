"""What a table of models says of their molecules: the line through FCD, where it leads, and when it leads nowhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chemscale_bench.runs.generation import published
from chemscale_bench.runs.quality_report import figure, line_of, line_text, metrics, text

GOAL = published()["CharRNN"]["fcd_test"]


def table_of(losses: list[float], distances: list[float]) -> pd.DataFrame:
    rows = range(len(losses))
    about = {"model": ["lstm", "llama"] * len(losses), "non_embedding_params": [10_060, 10_080, 100_000] * len(losses)}
    return pd.DataFrame(
        {name: values[: len(losses)] for name, values in about.items()}
        | {"tokens": [100_000 for _ in rows], "run_id": [f"{row:032x}" for row in rows]}
        | {"loss_nats_per_token": losses, "fcd_test": distances, "valid": 1.0, "raw_valid": 0.2, "novelty": 0.9}
    )


def test_the_line_leads_to_the_published_distance() -> None:
    losses = [1.4, 1.15, 0.97, 0.84, 0.9]
    noise = [0.1, -0.1, 0.05, 0.0, -0.05]
    table = table_of(losses, [33 * loss - 16.4 + off for loss, off in zip(losses, noise, strict=True)])
    line = line_of(table)
    found = metrics(table, line, GOAL)
    assert found["fcd_over_loss/slope_per_nat_per_token"] == pytest.approx(33, rel=0.02)
    assert found["fcd_over_loss/slope_per_nat_per_token_low"] < 33 < found["fcd_over_loss/slope_per_nat_per_token_high"]
    assert found["fcd_over_loss/charrnn_loss_nats_per_token"] == pytest.approx((GOAL + 16.4) / 33, abs=0.01)
    assert found["fcd_over_loss/charrnn_extrapolated"] == 1
    said = line_text(table, line, GOAL, 5_000, "CharRNN")
    assert "CharRNN's FCD, 0.0732, is reached at a loss of 0.50" in said
    assert "an extrapolation, the lowest loss measured is 0.840" in said
    assert "of 30,000 molecules; 5,000 give larger distances" in said
    assert "larger distances" not in line_text(table, line, GOAL, 30_000, "CharRNN")
    assert "CharRNN" not in line_text(table, line, None, 5_000, "CharRNN")
    names = [trace.name for trace in figure(table, line, GOAL, "title").data]
    assert "extrapolated" in names
    assert {"lstm 1e+04", "llama 1e+04", "lstm 1e+05"} <= set(names)
    assert "extrapolated" not in [trace.name for trace in figure(table, line, None, "title").data]
    rows = text(table, {"CharRNN, published": published()["CharRNN"]}).splitlines()
    assert [row.split()[3] for row in rows[1:6]] == [f"{loss:.4f}" for loss in sorted(losses)]
    assert rows[6].split() == ["CharRNN,", "published", "0.9748", "-", "0.9994", "0.8419", "0.0732"]


def test_within_the_losses_it_is_no_extrapolation() -> None:
    table = table_of([0.5, 0.6, 0.7, 0.8], [0.0, 0.1, 0.21, 0.3])
    line = line_of(table)
    assert metrics(table, line, GOAL)["fcd_over_loss/charrnn_extrapolated"] == 0
    assert "extrapolation" not in line_text(table, line, GOAL, 30_000, "CharRNN")


@pytest.mark.parametrize(
    ("losses", "distances", "says"),
    [
        ([1.0, 1.1, 1.2], [3.0, 4.0, 5.0], "needs 4 models that have both, and two losses; got 3"),
        ([1.0, 1.1, 1.2, np.nan], [3.0, 4.0, 5.0, 6.0], "got 3"),
        ([1.0, 1.0, 1.0, 1.0], [3.0, 4.0, 5.0, 6.0], "and two losses; got 4"),
        ([1.0, 1.1, 1.2, 1.3], [6.0, 5.0, 4.0, 3.2], "FCD does not fall with the loss here"),
        ([1.0, 1.1, 1.2, 1.3], [3.0, 5.0, 1.0, 5.0], "interval without ends"),
    ],
)
def test_what_no_line_can_tell(losses: list[float], distances: list[float], says: str) -> None:
    table = table_of(losses, distances)
    line = line_of(table)
    assert says in line_text(table, line, GOAL, 30_000, "CharRNN")
    assert "fcd_over_loss/charrnn_loss_nats_per_token" not in metrics(table, line, GOAL) or "ends" in says
    figure(table, line, GOAL, "title")


def test_without_chemnet_there_is_a_table_and_no_line() -> None:
    table = table_of([1.0, 1.1, 1.2, 1.3], [0.0] * 4).drop(columns="fcd_test")
    assert line_of(table) is None
    assert metrics(table, None, GOAL) == {}
    assert "got 0" in line_text(table, None, GOAL, 30_000, "CharRNN")
    assert text(table, {}).splitlines()[1].split()[-1] == "-"
    figure(table, None, None, "title")
