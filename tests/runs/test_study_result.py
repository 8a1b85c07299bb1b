"""What a study says of its forecast, and draws of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from chemscale_bench.runs.study_result import StudyResult, WrittenForecast
from chemscale_bench.scaling import validate
from chemscale_bench.scaling.analysis import analyse


def test_a_forecast_without_an_upper_end_says_so_and_its_bar_leaves_the_figure() -> None:
    params, tokens = np.repeat([3e4, 1e5, 3e5], 3), np.tile([3e4, 1e5, 3e5], 3)
    loss = np.array([1.9679, 1.5774, 1.2869, 1.8242, 1.4922, 1.2262, 1.8134, 1.4536, 1.1757])
    analysis = analyse(validate(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss})), replicates=20)
    names = ["params", "data", "foretold", "low", "high", "measured", "inside"]
    rows = [(3e5, 1e5, 1.45, 1.4, 1.5, 1.4536, True), (3e5, 3e5, 1.2, 0.9, 25_572.0, 1.1757, True)]
    wide, narrow = (
        StudyResult("", 9, analysis, WrittenForecast("today", 7, pd.DataFrame(kept, columns=names)), "loss")
        for kept in (rows, rows[:1])
    )
    lines = wide.text().splitlines()
    assert repr(wide) == wide.text()
    assert lines[-1] == "  no bound: these runs tell none"
    assert [line.split()[-2] for line in lines[-5:-2]] == ["high", "1.5", "bound"]
    assert "no bound" not in narrow.text().splitlines()[-1]
    assert wide.figures()["forecast"].layout.yaxis.range[1] < 2.1
    assert narrow.figures()["forecast"].layout.yaxis.range is None
