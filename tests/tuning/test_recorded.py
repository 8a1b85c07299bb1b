import json
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.training.schedules import ForwardArea
from chemscale_bench.tuning import recorded
from chemscale_bench.tuning.recorded import Curves


@pytest.fixture
def curves() -> Curves:
    """Forty curves that fall to their level; their order never changes."""
    levels = np.linspace(1, 4, 40)
    values = levels[:, None] * (1 + 1 / np.arange(1, 21))
    return Curves("made", values, np.tile(np.arange(1, 21) / 20, (40, 1)))


def test_all_formats_give_the_same_curves(curves: Curves, tmp_path: Path) -> None:
    rows = [
        {"trial": trial, "step": step, "value": value, "rate": 0.1}
        for trial, values in enumerate(curves.values)
        for step, value in enumerate(values, 1)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv")
    pd.DataFrame(rows).to_csv(tmp_path / "a2.csv", sep=";", decimal=",")
    pd.DataFrame(rows).to_parquet(tmp_path / "b.parquet")
    (tmp_path / "c.jsonl").write_text("\n".join(json.dumps({"learning_curve": list(v)}) for v in curves.values))
    content = json.dumps([{"valid": {"loss": list(v)}} for v in curves.values]).encode()
    (tmp_path / "d.json.xz").write_bytes(lzma.compress(content))
    long, european, parquet, lines, taskset = (recorded.read(str(file)) for file in sorted(tmp_path.iterdir()))
    assert lines.values == pytest.approx(curves.values)
    assert taskset.values == pytest.approx(curves.values)
    assert long.values == pytest.approx(parquet.values)
    assert long.values == pytest.approx(curves.values)
    assert european.values == pytest.approx(curves.values)
    for read in (long, parquet, lines, taskset):
        assert read.spent == pytest.approx(curves.spent)


def test_stopped_trials_are_left_out_and_divergence_is_worst() -> None:
    rows = [{"trial": t, "step": s, "value": float(t)} for t in range(12) for s in range(1, 11 if t else 6)]
    table = pd.DataFrame(rows)
    table.loc[(table.trial == 3) & (table.step == 10), "value"] = np.nan
    curves = recorded.from_long(table, "x")
    assert len(curves.values) == 11
    assert np.isinf(curves.final).sum() == 1


def test_a_trial_that_ends_up_to_two_percent_early_ran_to_the_end_and_a_step_counts_as_last_reported() -> None:
    lasts = [100] * 10 + [98, 97]
    rows = [(trial, step, step / last + trial) for trial, last in enumerate(lasts) for step in range(1, last + 1)]
    rows.append((0, 50, 99.0))
    curves = recorded.from_long(pd.DataFrame(rows, columns=["trial", "step", "value"]), "x")
    assert curves.values.shape == (11, 50), "at fifty points, whatever the reports"
    assert curves.values[1] == pytest.approx(1 + np.arange(1, 51) / 50)
    assert curves.values[10] == pytest.approx(10 + np.arange(1, 51) / 50)
    assert curves.values[0, 24] == 99
    assert curves.spent[10] == pytest.approx(np.arange(1, 51) / 50, abs=1 / 98)


@pytest.mark.parametrize(("trials", "reports", "enough"), [(10, 5, True), (9, 5, False), (10, 4, False)])
def test_ten_trials_of_five_reports_are_enough_and_shorter_ones_are_left_out(
    trials: int, reports: int, enough: bool, tmp_path: Path
) -> None:
    rows = [list(np.arange(reports, dtype=float)) for _ in range(trials)] + [[1.0]]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"learning_curve": row}) for row in rows))
    if enough:
        found = recorded.read(str(tmp_path / "a.jsonl"))
        assert found.values.shape == (trials, reports)
        assert found.spent[0].tolist() == [0.2, 0.4, 0.6, 0.8, 1.0]
    else:
        with pytest.raises(UserError, match=f"a has {trials} of {reports}; record more"):
            recorded.read(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("unit", [1e-3, 1, 1000])
def test_trials_of_other_schedules_meet_at_equal_areas(unit: float) -> None:
    def loss(warmup: float, decay: float) -> pd.DataFrame:
        steps = np.arange(10, 1001, 10)
        area = ForwardArea(warmup, decay).at(steps / 1000)
        return pd.DataFrame({"step": steps * unit, "value": 3 - area, "warmup": warmup, "decay": decay})

    schedules = [(0.0, 0.1), (0.6, 0.1), (0.0, 0.6), (1.0, 0.5)] * 3
    table = pd.concat([loss(*schedule).assign(trial=trial) for trial, schedule in enumerate(schedules)])
    curves = recorded.from_long(table, "x")
    assert curves.values[:-1] == pytest.approx(curves.values[1:], rel=1e-3)
    plain, warming, decaying, _ = curves.spent[:4, 4]  # 10 % of the area
    assert decaying < plain < warming
    assert np.ptp(recorded.from_long(table.drop(columns="decay"), "x").values[:, 4]) > 0.1
    for wrong in (1.01, -0.01, np.nan, "x"):
        with pytest.raises(UserError, match="warmup must be a share of the steps, 0 to 1, x has"):
            recorded.from_long(table.assign(warmup=wrong), "x")


def test_every_stress_does_what_it_says(curves: Curves) -> None:
    def draw(stress: recorded.Stress) -> Curves:
        return curves.draw(30, np.random.default_rng(1), stress)

    assert len(curves.draw(99, np.random.default_rng(1)).values) == 40, "as many as there are"
    plain = draw("none")
    assert draw("none").values.tolist() == plain.values.tolist()
    assert len({tuple(row) for row in plain.values}) == 30
    noisy = draw("noise")
    assert noisy.final.tolist() == plain.final.tolist()
    assert np.std(noisy.values[:, :-1] - plain.values[:, :-1]) == pytest.approx(
        0.3 * np.subtract(*np.quantile(plain.final, [0.75, 0.25])), rel=0.15
    )
    blind = draw("no_information")
    assert blind.values[:, 10:].tolist() == plain.values[:, 10:].tolist()
    assert sorted(blind.values[:, 9]) == sorted(plain.values[:, 9])
    assert blind.values[:, 9].tolist() != plain.values[:, 9].tolist()
    assert abs(np.corrcoef(blind.values[:, 5], blind.final)[0, 1]) < 0.5
    drifts = [curves.draw(40, np.random.default_rng(seed), "drift").final for seed in range(30)]
    assert -0.75 < np.mean([np.corrcoef(np.arange(40), final)[0, 1] for final in drifts]) < -0.6, "1 / sqrt(1 + 12 / 9)"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "trial,step\n1,2\n", "curves need the columns trial, step and value"),
        ("a.csv", "trial,step,value\n" + "1,1,1\n" * 3, "at least 10 trials of at least 5 reports"),
        ("a.csv", "trial,step,value\n1,x,1\n", "steps must be numbers"),
        ("a.jsonl", "nothing", "curves must be a readable file"),
        ("a.json", "{}", "at least 10 trials"),
        ("a.txt", "", "curves must be a .csv"),
    ],
)
def test_bad_files_give_one_line(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as raised:
        recorded.read(str(tmp_path / name))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_shared_curves_are_read(shared_data: Path) -> None:
    shapes = {
        file.name[:12]: recorded.read(str(file)).values.shape for file in (shared_data / "learning_curves").iterdir()
    }
    assert shapes == {"klein2017_ci": (256, 40), "taskset_Fixe": (1000, 51)}
