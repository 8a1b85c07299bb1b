"""Bad tables are refused in one line that names the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import JointLaw, PowerLaw, validate
from chemscale_bench.scaling.table import DataError, columns_of, like, rows


def good(**changed: object) -> pd.DataFrame:
    """Four sound rows, with some columns replaced or added."""
    table = {"params": [1e6, 1e7, 1e8, 1e9], "tokens": [1e9] * 4, "loss": [2.0, 1.6, 1.3, 1.1], "seed": [0] * 4}
    return pd.DataFrame(table | changed)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (good()[:0], "must have finished rows, got none"),
        (good().drop(columns="loss"), "got params, tokens, seed; rename or add loss"),
        (good(loss=[2.0, np.nan, 1.3, 1.1]), "loss must be finite and positive, got nan in row 1;"),
        (good(loss=[2.0, np.inf, 1.3, np.inf]), "got inf in rows 1, 3;"),
        (good(loss=[2.0, 1.6, 0, 1.1]), "got 0 in row 2;"),
        (good(loss=[-2.0, 1.6, 1, 1.1]), "got -2 in row 0;"),
        (good(params=[1e6, 10, 100, 1e9]), "params must be a plain count .* got 10 in rows 1, 2, .* millions"),
        (good(tokens=[300.0] * 4), "tokens must be a plain count .* rows 0, 1, 2, 3, .* millions"),
        (good(loss=["a", "b", "c", "d"]), "loss must hold numbers"),
        (good(params=[1e6, 1e7, 1e7, 1e9]), r"every \(params, tokens, seed\) may appear once, .* rows 1, 2;"),
        (good(params=[1e6] * 4, loss=[2.0] * 4).drop(columns="seed"), "may appear once, .* rows 0, 1, 2, 3;"),
        (good(task=["a", "a", "b", "a"]), r"one task, got 2 \(a, b\), the odd ones in row 2; select one task"),
        (good(metric=["mae", "nats", "nats", "nats"]), "one metric, got 2 .* row 0;"),
        (good(status=["FAILED"] * 4), r"got none \(4 failed left out\)"),
    ],
)
def test_bad_tables(table: pd.DataFrame, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        validate(table)
    assert "\n" not in str(error.value)


def test_unfinished_rows_are_left_out_counted_and_not_checked() -> None:
    table = validate(good(status=["finished", "FAILED", "KILLED", "FINISHED"], loss=[2.0, np.nan, 1.3, 1.1]))
    assert len(table.frame) == 2
    assert table.left_out == {"FAILED": 1, "KILLED": 1}


def test_rows_keep_their_numbers_when_others_are_left_out() -> None:
    with pytest.raises(UserError, match="row 3;"):
        validate(good(status=["FINISHED", "FAILED", "FINISHED", "FINISHED"], loss=[2.0, 1.6, 1.3, np.nan]))


def test_a_count_of_just_enough_is_one_and_a_selection_keeps_its_numbers() -> None:
    assert len(validate(good(params=[1e3, 1e7, 1e8, 1e9], tokens=[1e4] * 4)).frame) == 4
    chosen = good(loss=[2.0, 1.6, 1.3, np.nan])[1:]
    with pytest.raises(UserError, match="got nan in row 3;"):
        validate(chosen)
    with pytest.raises(UserError, match="got nan in row 2;"):
        validate(chosen.set_index(pd.Index(["a", "b", "c"])))


def test_frames_may_be_few() -> None:
    table = validate(good(frames=[50, 100, 500, 950]).drop(columns="tokens"))
    assert table.data_column == "frames"


def test_beside_tokens_frames_are_another_column() -> None:
    table = validate(good(frames=[5, 6, 7, 8]))
    assert table.data_column == "tokens"
    assert table.frame["tokens"].tolist() == [1e9] * 4


def test_logged_losses_may_be_below_one() -> None:
    small = [0.9, 0.5, 0.02, 0.73]
    assert validate(good(loss=small), typed=False).frame["loss"].tolist() == small


def test_seeds_share_the_say_of_their_size() -> None:
    table = validate(good(params=[1e6, 1e6, 1e6, 1e9], seed=[0, 1, 2, 0]))
    np.testing.assert_allclose(table.seed_weight, [1 / 3, 1 / 3, 1 / 3, 1])


@pytest.mark.parametrize("bad", [[], [1e6, np.nan, 1e8], [1e6, -1, 1e8]])
def test_the_classes_name_rows_too(bad: list[float]) -> None:
    with pytest.raises(UserError, match="x must be"):
        PowerLaw().fit(bad, [1.0] * len(bad))


def test_params_in_millions_are_refused_by_the_joint_law() -> None:
    with pytest.raises(UserError, match="looks like millions"):
        JointLaw().fit([1, 10, 100], [1e9, 1e10, 1e11], [3, 2, 1])


def test_of_a_search_the_best_row_of_a_setting_counts_and_the_others_are_counted() -> None:
    rows = [
        (n, d, 2.0 + 1e6 / n + abs(np.log2(rate)), rate, 64) for n in (1e6, 1e7) for d in (1e9, 1e10)
        for rate in (0.5, 1.0, 2.0)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["params", "tokens", "loss", "lr", "bs"])
    table = validate(frame)
    assert len(table.frame) == 4
    assert table.frame["loss"].tolist() == frame[frame["lr"] == 1]["loss"].tolist()
    assert table.left_out == {"of a search over lr, bs (a better one kept)": 8}
    seeds = validate(frame.assign(seed=frame.groupby(["params", "tokens"]).cumcount()).drop(columns="lr"))
    assert len(seeds.frame) == 12, "seeds of one batch are no search"
    some = validate(frame.assign(seed=[0.0] * 6 + [None] * 6))
    assert len(some.frame) == 4, "a size whose rows have no seed"


def test_the_published_sweep_is_the_published_best(shared_data: object) -> None:
    found = Path(str(shared_data)).parent / "found"
    if not found.is_dir():
        pytest.skip("needs ../shared/found")
    sweep = validate(pd.read_csv(found / "steplaw_sweep.csv")).frame.sort_values(["params", "tokens"])
    best = validate(pd.read_csv(found / "steplaw_best.csv")).frame.sort_values(["params", "tokens"])
    np.testing.assert_array_equal(sweep.to_numpy(), best.to_numpy())


def test_rows_are_named_up_to_five() -> None:
    assert rows([3]) == "row 3"
    assert rows(range(5)) == "rows 0, 1, 2, 3, 4"
    assert rows(range(6, 13)) == "rows 6, 7, 8, 9, 10 and 2 more"


def test_what_a_machine_counted_may_be_one() -> None:
    table = pd.DataFrame({"params": [1.0, 2.0], "frames": [1.0, 1.0], "loss": [2.0, 1.0]})
    assert len(validate(table, typed=False).frame) == 2
    with pytest.raises(UserError, match=r"count of at least 1, got 0\.5"):
        validate(table.assign(params=[0.5, 2.0]), typed=False)
    with pytest.raises(UserError, match="params must be a plain count of at least 1000, got 1"):
        validate(table)


def test_a_matrix_has_a_column_for_each_size() -> None:
    params, tokens = columns_of([[1e6, 1e8], [1e7, 1e9], [1e8, 1e10]], ("params", "tokens"))
    assert (params.tolist(), tokens.tolist()) == ([1e6, 1e7, 1e8], [1e8, 1e9, 1e10])
    for other in (np.ones((2, 3)), np.ones(4), np.ones((2, 2, 2))):
        with pytest.raises(DataError, match=r"columns params, tokens, got shape \("):
            columns_of(other, ("params", "tokens"))
    alone = [1e6, 1e7]
    assert columns_of(alone, ("x",)) == (alone,)
    assert columns_of([[1e6], [1e7]], ("x",))[0].tolist() == alone


def test_numbers_give_a_number_and_lists_an_array() -> None:
    values = np.array([2.0])
    assert like((1e6, 1e8), values) == 2.0
    assert isinstance(like((1e6, 1e8), values), float)
    for sizes in (([1e6], 1e8), (1e6, np.array([1e8]))):
        assert like(sizes, values) is values
