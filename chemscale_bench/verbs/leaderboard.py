"""The verb `leaderboard`: collect, rank, and show as a page, a table and an MLflow run."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plotly.graph_objects import Figure

from chemscale_bench.data.opening import output_file
from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import page
from chemscale_bench.leaderboard.board import Board, Row, build
from chemscale_bench.leaderboard.collect import Refusal, Study, read_entries, read_experiment
from chemscale_bench.leaderboard.levels import Level
from chemscale_bench.leaderboard.published import read_published
from chemscale_bench.places import PROJECT
from chemscale_bench.runs.result import Result, Told
from chemscale_bench.scaling.table import describe
from chemscale_bench.settings.leaderboard import LeaderboardSettings
from chemscale_bench.tasks import titled
from chemscale_bench.tracking.adoption import launched_run
from chemscale_bench.tracking.housekeeping import housekeeping_run

ENTRIES = Path("leaderboard/entries")
PUBLISHED = PROJECT / "leaderboard" / "published"


def leaderboard(settings: LeaderboardSettings) -> None:
    """Write the page, print where it is and who leads, and log all to a housekeeping run."""
    made = None if settings.log and launched_run() else make(settings)
    if settings.log:
        with housekeeping_run("leaderboard") as run_id:
            log(run_id, *(made or make(settings)))


def make(settings: LeaderboardSettings) -> tuple[Path, list[Board]]:
    """Collect, rank, write the page and print a summary."""
    out = output_file(settings.out)
    boards, refused, tables, counted = ranked(settings)
    out.write_text(page.render(boards, refused, tables, f"Made on {datetime.date.today()} from {counted}."))
    print(f"{counted}\npage: {out.absolute()}")
    print(summary(boards, refused))
    return out, boards


def ranked(settings: LeaderboardSettings) -> tuple[list[Board], list[Refusal], list[dict[str, Any]], str]:
    """The boards, what is refused, results of papers on other scales, and how many there are of what."""
    studies, refused = list[Study](), list[Refusal]()
    if settings.source:
        source = ENTRIES if ENTRIES.is_dir() else PROJECT / ENTRIES
        source = source if settings.source == "auto" else Path(settings.source)
        studies, refused = read_entries(source, Level[settings.verify.upper()])
    note = ""
    if settings.experiment:
        own, left_out = read_experiment(settings.experiment)
        if not own:
            raise UserError(
                f"experiment must hold finished runs, got none in {settings.experiment!r} ({describe(left_out)}); "
                "train first"
            )
        studies += own
        note = f"; of experiment {settings.experiment}: {describe(left_out)}"
    published, tables = read_published(PUBLISHED)
    boards = build([*studies, *published], settings.level, settings.flops)
    return boards, refused, tables, f"{len(studies)} studies, {len(refused)} refused{note}"


def board(settings: LeaderboardSettings) -> Result:
    """The boards as the library returns them, without a page."""
    boards, refused, _, counted = ranked(settings)
    told = Told(prints=False)
    told(f"{counted}\n{summary(boards, refused)}")
    versions = Counter(one.task for one in boards)
    drawn = {one.task + f" {one.task_digest[:6]}" * (versions[one.task] > 1): figure_of(one) for one in boards}
    return Result(page.table(boards), told, counts(boards), drawn, "")


def counts(boards: Sequence[Board]) -> dict[str, float]:
    """How much there is of what."""
    studies = sum(bool(row.study.runs) for one in boards if not one.repeats for row in one.rows)
    return {"leaderboard/boards": float(len(boards)), "leaderboard/studies": float(studies)}


def figure_of(board: Board) -> Figure:
    """What every study of a board reached at each budget, with its interval over seeds."""
    made = Figure()
    for row in board.rows:
        budgets = sorted(row.reached)
        values = [row.reached[budget].metrics[board.metric] for budget in budgets]
        above = [row.reached[budget].high - value for budget, value in zip(budgets, values, strict=True)]
        name = f"{row.study.model}, {row.study.submitter}"
        made.add_scatter(x=budgets, y=values, error_y={"array": above}, mode="lines+markers", name=name)
    made.update_layout(title=board.task, template="plotly_white", xaxis_title=board.data, yaxis_title=board.metric)
    return made.update_xaxes(type="log").update_yaxes(type="log")


def summary(boards: Sequence[Board], refused: Sequence[Refusal]) -> str:
    """The leaders of every board that has runs, at its largest budget, and what is refused."""
    lines = []
    for board in boards:
        ran = [row for row in board.rows if row.study.runs]
        budgets = sorted({budget for row in ran for budget in row.reached})
        if not budgets:
            continue
        budget = budgets[-1]
        lines.append(f"{titled(board.task)} at {budget:,} {board.data}, {board.metric}")
        placed = [row for row in board.rows if str(budget) in row.rank]
        for row in sorted(placed, key=lambda row: row.rank[str(budget)])[:5]:
            value = row.reached[budget].metrics[board.metric]
            who = f"{row.study.model}, {row.study.submitter}{held(row, budget)}"
            lines.append(f"{row.rank[str(budget)]:>4}. {value:<9.5g} {who}")
    return "\n".join([*lines, *(f"refused {refusal.name}: {refusal.reason}" for refusal in refused)])


def held(row: Row, budget: int) -> str:
    """How long the best size held its molecule together with a thermostat, if that was simulated."""
    size = row.reached[budget].params
    runs = [run for run in row.study.runs if run.non_embedding_params == size]
    for motion in (result.motion for run in runs for result in run.results if result.budget == budget):
        if motion:
            times = [each for each in motion.conditions if each.ensemble == "Langevin"]
            listed = ", ".join(f"{each.stability_ps:.3g} ps at {each.temperature_k:g} K" for each in times)
            return f"; holds {listed} of {motion.picoseconds:g} ps"
    return ""


def log(run_id: str, out: Path, boards: Sequence[Board]) -> None:
    """Log the page, the table, and how much there is of what."""
    from chemscale_bench.tracking.recorder import Recorder

    recorder = Recorder(run_id)
    recorder.metrics(counts(boards), 0)
    recorder.deliver()
    recorder.client.log_artifact(run_id, str(out))
    recorder.client.log_text(run_id, page.table(boards).to_csv(index=False), "board.csv")
    for file, models in {"molecules.csv": page.drawn, "features.csv": page.probed, "motion.csv": page.moved}.items():
        recorder.client.log_text(run_id, page.models_table(boards, models).to_csv(index=False), file)
    print(f"logged to MLflow run {run_id}")
