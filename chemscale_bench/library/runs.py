"""The library's functions for what was trained: read, fitted, planned with, graded, ranked and verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from chemscale_bench import tasks
from chemscale_bench.errors import UserError
from chemscale_bench.settings.fit import FitSettings

if TYPE_CHECKING:
    from chemscale_bench.leaderboard.levels import Verdict
    from chemscale_bench.runs.result import Result
    from chemscale_bench.runs.study_result import StudyResult
    from chemscale_bench.scaling.analysis import Analysis

LOSS: str = FitSettings.model_fields["metric"].default


def list_tasks() -> pd.DataFrame:
    """The tasks of the benchmark, one row each, by name.

    Example:
        >>> import chemscale_bench as cs
        >>> cs.list_tasks().loc["embedded-lm", ["family", "primary_metric"]].to_list()
        ['language_model', 'val/loss_nats_per_token']
    """
    rows = {name: tasks.load(name).model_dump() | {"digest": tasks.load(name).digest} for name in tasks.names()}
    table = pd.DataFrame.from_dict(rows, orient="index").drop(columns="name").rename_axis("task")
    budgets = table.pop("budgets_tokens").fillna(table.pop("budgets_frames"))
    table.insert(1, "budgets", budgets)
    return table


def read_runs(experiment: str, metric: str = LOSS) -> pd.DataFrame:
    """The finished runs of an MLflow experiment or of a study, one row for each run and budget.

    Args:
        experiment: its name, or the run id of a study.
        metric: what becomes the column `loss`; of force fields `test/force_mae_mev_per_angstrom`.

    Returns:
        Columns params, tokens (or frames), loss, seed, task, model, task_digest, run_id; `attrs["left_out"]` counts
        the runs that are not in it, by reason. `fit` takes it as it is.

    Raises:
        UserError: if there is no such experiment in this tracking store.
    """
    from chemscale_bench.leaderboard.sources import read_experiment

    table, left_out = read_experiment(experiment, metric)
    table.attrs["left_out"] = left_out
    return table


def fit(
    runs: pd.DataFrame | str | Path, *, task: str = "", model: str = "", task_digest: str = "", metric: str = LOSS,
    level: float = 0.9, replicates: int = 1000,
) -> Analysis:  # fmt: skip
    """Fit all scaling laws to runs: what the command `fit` prints and draws, as an object.

    Args:
        runs: a table with columns params, tokens (or frames), loss; the path of one, .csv or .parquet; or an MLflow
            experiment or study, as in `read_runs`.
        task: only the runs of this task.
        model: only the runs of this kind of model.
        task_digest: only the runs of this version of the task.
        metric: of an experiment, what to fit; of a table, what its losses are called.
        level: of the intervals.
        replicates: bootstrap refits behind them.

    Returns:
        The laws in `joint` and `forecast`, every number in `numbers()`, the report in `text()`, plotly figures by name
        in `figures()`, what can't be told in `refusals`.

    Raises:
        UserError: if there are no such runs, or they are not fit for a fit.

    Example:
        >>> import chemscale_bench as cs, pandas as pd
        >>> sizes = [(params, tokens) for params in (1e4, 1e5, 1e6, 1e7) for tokens in (1e6, 1e7, 1e8)]
        >>> runs = pd.DataFrame(sizes, columns=["params", "tokens"])
        >>> runs["loss"] = 0.5 + 5 * runs["params"] ** -0.2 + 20 * runs["tokens"] ** -0.3
        >>> law = cs.fit(runs, replicates=100).joint
        >>> round(law.params_exponent_, 2), round(law.tokens_exponent_, 2)
        (0.2, 0.3)
    """
    from chemscale_bench.leaderboard.sources import read, table_of
    from chemscale_bench.scaling.analysis import analyse

    chosen = {"task": task, "model": model, "task_digest": task_digest, "metric": metric, "level": level}
    chosen |= {"replicates": replicates, "log": False}
    if isinstance(runs, pd.DataFrame):
        from_store = "left_out" in runs.attrs
        left_out = runs.attrs["left_out"] if from_store else {}
        table = table_of(runs, left_out, FitSettings.read(chosen, "fit"), "the table", typed=not from_store)
    elif not isinstance(runs, str | Path):
        rule = "runs must be a table, a file's path or an experiment's name"
        raise UserError(f"{rule}, got {type(runs).__name__}; pass a pandas.DataFrame")
    else:
        is_file = isinstance(runs, Path) or runs.endswith((".csv", ".parquet"))
        table = read(FitSettings.read(chosen | {"table" if is_file else "experiment": str(runs)}, "fit"))
    return analyse(table, level, replicates)


def plan(
    found: Analysis | StudyResult, *, flops: float = 0.0, gpu_hours: float = 0.0, device: str = "h200", mfu: float = 0.4
) -> Result:
    """How to spend a budget, by the forecast of a fit: what the command `plan` prints, as an object.

    Args:
        found: what `fit` or `study` returned.
        flops: budget in training FLOPs.
        gpu_hours: budget in GPU-hours instead, of `device`.
        device: h200, h100, a100, ...
        mfu: share of the device's bf16 peak that training reaches.

    Returns:
        The best split and those a factor of two off in `table`; the loss with its interval in `numbers()`, the report
        in `text()`, loss against size in `figure()`.

    Raises:
        UserError: if there is not exactly one budget, or the fit has no forecast.

    Example:
        >>> import chemscale_bench as cs, pandas as pd
        >>> sizes = [(params, tokens) for params in (1e4, 1e5, 1e6, 1e7) for tokens in (1e6, 1e7, 1e8)]
        >>> runs = pd.DataFrame(sizes, columns=["params", "tokens"])
        >>> runs["loss"] = 0.5 + 5 * runs["params"] ** -0.2 + 20 * runs["tokens"] ** -0.3
        >>> spent = cs.plan(cs.fit(runs, replicates=100), flops=1e16)
        >>> spent.table["split"].to_list()
        ['optimum', 'half the size', 'twice the size']
        >>> bool(spent.table["loss"].idxmin() == 0)
        True
    """
    from chemscale_bench.runs.study_result import StudyResult
    from chemscale_bench.scaling.analysis import FRAMES_HAVE_NO_FLOPS, Analysis
    from chemscale_bench.settings.plan import PlanSettings
    from chemscale_bench.verbs.plan import budget_of, spend

    analysis = found.analysis if isinstance(found, StudyResult) else found
    if not isinstance(analysis, Analysis):
        raise UserError(
            f"a plan needs what fit or study has returned, got {type(found).__name__}; "
            "pass cs.fit(...) of that table, file or experiment"
        )
    budget = {"flops": flops, "gpu_hours": gpu_hours, "device": device, "mfu": mfu, "level": analysis.level}
    settings = PlanSettings.read(budget, "plan")
    if analysis.table.data_column == "frames":
        raise UserError(FRAMES_HAVE_NO_FLOPS)
    if analysis.forecast is None:
        raise UserError(f"a plan needs the forecast of a fit, which has none: {analysis.refusals['forecast']}")
    return spend(analysis.forecast, settings, budget_of(settings), prints=False)[1]


def replay(curves: str | Path = "", **parameters: Any) -> Result:
    """Grade pruners on recorded learning curves, without training: what the command `replay` prints, as an object.

    Args:
        curves: file of curves; or leave it out and give `experiment`.
        **parameters: of that command, such as pruners, trials, studies; `chemscale replay --help` explains them.

    Returns:
        A row for each pruner in `table`, the report in `text()`, what each saves and keeps in `figure()`.

    Raises:
        UserError: if a parameter breaks a rule, or there are no such curves.

    Example:
        >>> import chemscale_bench as cs, numpy as np, pandas as pd
        >>> ends = np.geomspace(1, 3, 40)
        >>> rows = [(trial, step, end * (1 + 2 / step)) for trial, end in enumerate(ends) for step in range(1, 21)]
        >>> pd.DataFrame(rows, columns=["trial", "step", "value"]).to_csv("curves.csv", index=False)
        >>> graded = cs.replay("curves.csv", pruners="performance,none", trials=20, studies=2)
        >>> graded.table.set_index("pruner")["kept_percent"].to_dict()
        {'performance': 100.0, 'none': 100.0}
    """
    from chemscale_bench.settings.replay import ReplaySettings
    from chemscale_bench.verbs.replay import make

    settings = ReplaySettings.read({"curves": str(curves), **parameters}, "replay")
    return make(settings, prints=False)


def read_leaderboard(experiment: str = "", **parameters: Any) -> Result:
    """Rank entries, published results and an experiment of your own: the board that the command `leaderboard` writes.

    Args:
        experiment: of your own, to stand beside the entries.
        **parameters: of that command, such as source and flops; `chemscale leaderboard --help` explains them.

    Returns:
        A row for each result in `table`, the leaders in `text()`, what all reached at each budget in `figure(task)`; of
        several versions of a task in `figure("TASK DIGEST")`, with six digits of it, as `figures()` lists them.

    Raises:
        UserError: if a parameter breaks a rule, or there are no such runs.
    """
    from chemscale_bench.settings.leaderboard import LeaderboardSettings
    from chemscale_bench.verbs.leaderboard import board

    settings = LeaderboardSettings.read({"experiment": experiment, **parameters}, "leaderboard")
    return board(settings)


def verify(entry: str | Path, **parameters: Any) -> Verdict:
    """How far an entry can be trusted, and why not further, as the command `verify` says.

    Args:
        entry: path of its .json file.
        **parameters: of that command: checkpoints, data, test_data.

    Returns:
        The `level` that it reaches, `why_not_next`, and both in words in `text()`.

    Raises:
        UserError: for another kind of file; what is wrong with an entry is part of the verdict.

    Example:
        >>> import chemscale_bench as cs
        >>> entry = next(Path("leaderboard/entries").glob("embedded-ff@ethanol/schnet/*.json"))  # of a checkout
        >>> cs.verify(entry).level.word
        'reproduced'
    """
    from chemscale_bench.settings.verify import VerifySettings
    from chemscale_bench.verbs.verify import judged

    settings = VerifySettings.read({"entry": str(entry), **parameters}, "verify")
    return judged(settings)
