"""The verb `leaderboard`: collect, rank, and show as a page, a table and an MLflow run."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chemscale_bench.data.opening import output_path
from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import page
from chemscale_bench.leaderboard.board import Board, build
from chemscale_bench.leaderboard.collect import Refusal, Study, read_entries, read_experiment
from chemscale_bench.leaderboard.levels import Level
from chemscale_bench.leaderboard.published import read_published
from chemscale_bench.places import PROJECT
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
    out = output_path(settings.out)
    counted = f"{len(studies)} studies, {len(refused)} refused{note}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page.render(boards, refused, tables, f"Made on {datetime.date.today()} from {counted}."))
    except OSError as error:
        raise UserError(f"out must be a file that can be written, got {settings.out!r} ({error.strerror})") from None
    print(f"{counted}\npage: {out.absolute()}")
    print(summary(boards))
    for refusal in refused:
        print(f"refused {refusal.name}: {refusal.reason}")
    return out, boards


def summary(boards: Sequence[Board]) -> str:
    """The leaders of every board that has runs, at its largest budget."""
    lines = []
    for board in boards:
        ran = [row for row in board.rows if row.study.runs]
        budgets = sorted({budget for row in ran for budget in row.reached})
        if not budgets:
            continue
        budget = budgets[-1]
        lines.append(f"{titled(board.task)} at {budget:,} {board.data}, {board.metric}")
        ranked = [row for row in board.rows if str(budget) in row.rank]
        for row in sorted(ranked, key=lambda row: row.rank[str(budget)])[:5]:
            value = row.reached[budget].metrics[board.metric]
            lines.append(f"{row.rank[str(budget)]:>4}. {value:<9.5g} {row.study.model}, {row.study.submitter}")
    return "\n".join(lines)


def log(run_id: str, out: Path, boards: Sequence[Board]) -> None:
    """Log the page, the table, and how much there is of what."""
    from chemscale_bench.tracking.recorder import Recorder

    recorder = Recorder(run_id)
    rows = [row for board in boards for row in board.rows]
    values: dict[str, Any] = {"boards": len(boards), "studies": sum(bool(row.study.runs) for row in rows)}
    recorder.metrics({f"leaderboard/{name}": value for name, value in values.items()}, 0)
    recorder.deliver()
    recorder.client.log_artifact(run_id, str(out))
    recorder.client.log_text(run_id, page.table(boards).to_csv(index=False), "board.csv")
    recorder.client.log_text(run_id, page.molecules_table(boards).to_csv(index=False), "molecules.csv")
    print(f"logged to MLflow run {run_id}")
