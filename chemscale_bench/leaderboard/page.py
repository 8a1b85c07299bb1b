"""The page: one HTML file that works from disk and without a network.

What strangers wrote is data for the page's script, which shows it as text; a policy in the page lets no script run but
the two that are built in.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from chemscale_bench.leaderboard.board import Board, Row
from chemscale_bench.leaderboard.collect import Refusal, Study
from chemscale_bench.leaderboard.entry import Result, Run
from chemscale_bench.leaderboard.forecasts import summary
from chemscale_bench.leaderboard.laws import Estimate
from chemscale_bench.leaderboard.levels import Level
from chemscale_bench.leaderboard.motion import Motion
from chemscale_bench.tasks import titled

FOLDER = Path(__file__).parent
SCRIPTS = ("page.molecules.js", "page.js")  # the last one starts
LEVEL = {"experiment": "yours", "published": "published"}


def render(
    boards: Sequence[Board], refused: Sequence[Refusal] = (), tables: Sequence[dict[str, Any]] = (), made: str = ""
) -> str:
    """The page of all boards.

    Args:
        boards: from `board.build`.
        refused: entries that take no part.
        tables: results of papers on other scales.
        made: line at the bottom.
    """
    from plotly.offline import get_plotlyjs

    # The board whose figure tells most: of the most studies that have several sizes, or else of the most points.
    first = max(range(len(boards)), key=lambda i: _told(boards[i]), default=0)
    data = {
        "boards": [_board(board) for board in boards],
        "first": first,
        "refused": [list(refusal) for refusal in refused],
        "tables": list(tables),
        "made": made,
    }
    plotly, script = get_plotlyjs(), "\n".join((FOLDER / name).read_text() for name in SCRIPTS)
    allowed = " ".join(f"'sha256-{_sha256(text)}'" for text in (plotly, script))
    parts = {
        "policy": f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:",
        "style": (FOLDER / "page.css").read_text(),
        "data": json.dumps(_clean(data), separators=(",", ":")).replace("<", "\\u003c"),
        "plotly": plotly,
        "script": script,
    }
    # In one pass, so that no part is searched for the names of the others.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], (FOLDER / "page.html").read_text())


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _clean(value: Any) -> Any:
    """Plain JSON: six significant digits, and null for what is not a finite number."""
    if isinstance(value, dict):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    if isinstance(value, float):
        rounded = float(f"{value:.6g}") if math.isfinite(value) else None
        return int(rounded) if rounded is not None and rounded.is_integer() and abs(rounded) < 1e15 else rounded
    return value


def _told(board: Board) -> tuple[int, int]:
    """How many studies have three sizes or more, and how many points all have."""
    points = [row.points.drop_duplicates(["params", "budget"]) for row in board.rows]
    return sum(each["params"].nunique() >= 3 for each in points), sum(map(len, points))


def _board(board: Board) -> dict[str, Any]:
    return {
        "task": board.task, "title": titled(board.task), "task_digest": board.task_digest, "metric": board.metric,
        "data": board.data, "note": board.note,
        "flops": board.flops, "level": board.level, "budgets": board.budgets,
        "rows": [_row(row, board.metric) for row in board.rows if not row.study.generated],
        "drawn": drawn(board), "probed": probed(board), "moved": moved(board),
    }  # fmt: skip


def _row(row: Row, metric: str) -> dict[str, Any]:
    study, laws = row.study, row.laws
    points = row.points[["params", "budget", "loss", "flops", "energy_kj", "device_seconds"]]
    return {
        "kind": study.kind, "name": study.name, "model": study.model, "submitter": study.submitter,
        "date": study.date, "link": study.link, "note": study.note,
        "level": LEVEL.get(study.kind, study.level.word), "why": study.why_not_next,
        "reached": {
            budget: [at.metrics[metric], at.low, at.high, at.seeds, at.params]
            for budget, at in row.reached.items()
        },
        "rank": row.rank, "differs": row.differs,
        "params_exponent": list(laws.params_exponent), "data_exponent": list(laws.data_exponent),
        "predicted": list(laws.predicted),
        "line": laws.line, "line_budget": laws.line_budget, "points": points.astype(object).to_numpy().tolist(),
        "device": ", ".join(dict.fromkeys(run.device for run in study.runs)),
        "software": ", ".join(f"{name} {value}" for name, value in _shared(study.runs, "software").items()),
        "settings": ", ".join(f"{name}={value}" for name, value in _shared(study.runs, "settings").items() if value),
        "runs": [_run(run) for run in study.runs],
        "foretold": study.foretold and study.level >= Level.CONSISTENT
        and summary(study.foretold, study.runs, study.family),
    }  # fmt: skip


def drawn(board: Board) -> list[dict[str, Any]]:
    """Every model that molecules were drawn from: how large it is, what it was trained on, and their metrics."""
    rows: list[dict[str, Any]] = []
    for study in (row.study for row in board.rows):
        if study.generated:
            rows.append(_about(study) | {"metrics": study.generated})
        for run in study.runs:
            told = [result for result in run.results if result.generation]
            rows += [_about(study) | _model(run, result, board.metric) | drawn_by(result) for result in told]
    return rows


def probed(board: Board) -> list[dict[str, Any]]:
    """Every model whose features were probed: how large it is, what it was trained on, and what they are worth."""
    return [
        _about(row.study) | _model(run, result, board.metric) | probed_by(result)
        for row in board.rows for run in row.study.runs for result in run.results if result.probes
    ]  # fmt: skip


def moved(board: Board) -> list[dict[str, Any]]:
    """Every model whose motion was simulated: how large it is, what it was trained on, and how long it holds."""
    return [
        _about(row.study) | _model(run, result, board.metric) | moved_by(result.motion)
        for row in board.rows for run in row.study.runs for result in run.results if result.motion
    ]  # fmt: skip


def _about(study: Study) -> dict[str, Any]:
    level = LEVEL.get(study.kind, study.level.word)
    return {"model": study.model, "by": study.submitter, "link": study.link, "level": level}


def _model(run: Run, result: Result, metric: str) -> dict[str, Any]:
    return {
        "params": run.non_embedding_params, "budget": result.budget, "run": run.run, "seed": run.seed,
        "loss": result.metrics[metric],
    }  # fmt: skip


def _shared(runs: Sequence[Run], what: str) -> dict[str, str]:
    """What all runs have in common."""
    items = [set(getattr(run, what).items()) for run in runs]
    return dict(sorted(set.intersection(*items))) if items else {}


def _run(run: Run) -> list[Any]:
    code = run.code_commit[:10] + (" with changes" if run.code_dirty else "")
    return [
        run.run, run.non_embedding_params, run.seed, run.units_trained, run.train_seconds, run.mfu, run.energy_kj,
        run.gpus, run.arithmetic, code,
    ]  # fmt: skip


def drawn_by(result: Result) -> dict[str, Any]:
    """The metrics of what a model drew, and how it was drawn from where that is not plainly."""
    made = result.generation
    assert made is not None
    chosen = {"temperature": (made.temperature, 1), "top-k": (made.top_k, 0), "top-p": (made.top_p, 1)}
    return {
        "metrics": {"molecules": made.molecules, **made.metrics},
        "drawing": ", ".join(f"{name} {value:g}" for name, (value, plain) in chosen.items() if value != plain),
    }


def probed_by(result: Result) -> dict[str, Any]:
    """What a model's features are worth, by property and what was measured."""
    found = {name: made.model_dump() for name, made in (result.probes or {}).items()}
    return {"metrics": {f"{name}_{what}": value for name, made in found.items() for what, value in made.items()}}


def moved_by(motion: Motion) -> dict[str, Any]:
    """How a model's molecule moves, and what was simulated."""
    about = motion.model_dump(include={"replicas", "picoseconds", "timestep_fs"})
    moving = f"{motion.replicas} replicas of {motion.picoseconds:g} ps"
    return {"metrics": about | motion.metrics, "moving": moving, "kelvins": motion.temperatures_k}


def models_table(boards: Sequence[Board], models: Callable[[Board], list[dict[str, Any]]]) -> pd.DataFrame:
    """What `drawn`, `probed` or `moved` gives, of every board, as a table for molecules.csv and the like."""
    rows = [
        {"task": board.task, "task_digest": board.task_digest, **row, **row["metrics"]}
        for board in boards if not board.repeats for row in models(board)
    ]  # fmt: skip
    return pd.DataFrame(rows).drop(columns=["metrics", "kelvins"], errors="ignore")


def table(boards: Sequence[Board]) -> pd.DataFrame:
    """Every result of every board, one row each, for board.csv."""
    rows = []
    for board in boards:
        for row in board.rows:
            study, estimates = row.study, dict[str, float]()
            for name in ("params_exponent", "data_exponent", "predicted"):
                found: Estimate = getattr(row.laws, name)
                estimates |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            about: dict[str, Any] = {
                "task": board.task, "task_digest": board.task_digest, "kind": study.kind, "name": study.name,
                "model": study.model, "submitter": study.submitter, "level": LEVEL.get(study.kind, study.level.word),
            }  # fmt: skip
            for budget, at in row.reached.items():
                rows.append(
                    about
                    | {
                        "budget": budget, "rank": row.rank.get(str(budget)), **at.metrics, "low": at.low,
                        "high": at.high, "seeds": at.seeds, "best_params": at.params,
                        "p_next_rank": row.differs.get(str(budget)), "predicted_at_flops": board.flops,
                    }
                    | estimates
                )  # fmt: skip
    return pd.DataFrame(rows)
