"""The verb `submit`: an entry from logged runs, verified, and what to do with it next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable

import click

from chemscale_bench import tasks
from chemscale_bench.data.frames import NAMES as FRAMES
from chemscale_bench.data.sources import NAMES
from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import forecasts, generated, probed, regenerate, reprobe, resimulate, simulated
from chemscale_bench.leaderboard.entry import Entry, Run, slug
from chemscale_bench.leaderboard.files import parse
from chemscale_bench.leaderboard.submission import study, write
from chemscale_bench.places import CHECKOUT
from chemscale_bench.scaling.table import describe
from chemscale_bench.settings.submit import SubmitSettings
from chemscale_bench.shell import typed
from chemscale_bench.tracking.housekeeping import run_if_launched
from chemscale_bench.tracking.reader import LoggedRun


def submit(settings: SubmitSettings) -> None:
    """Write an entry from logged runs, verify it, and say what to do next.

    Raises:
        UserError: if the runs are not one finished study of one task, or the entry would not be consistent.
    """
    with run_if_launched("submit"):
        if not slug(settings.submitter):
            raise UserError(
                f"submitter must be a name with some of a-z or 0-9, got {settings.submitter!r}; give submitter='Ada'"
            )
        runs, left_out = study(settings)
        ask_before_publishing(settings, runs[0].run if runs else None)
        path = write(settings, runs)
        sizes = len({kept.run.params["non_embedding_params"] for kept in runs})
        print(f"{path} is consistent; runs: {len(runs)}, sizes: {sizes}, {describe(left_out)}")
        entry = parse(path.read_bytes())
        if entry.family == "language_model":
            print(f"it tells of {told(entry, generated.summary(entry), regenerate.chosen, 'draws those')}")
            print(f"it tells of {told(entry, probed.summary(entry), reprobe.chosen, 'probes those')}")
        else:
            print(f"it tells of {told(entry, simulated.summary(entry), resimulate.chosen, 'simulates that')}")
        print(f"it tells of {forecasts.summary(entry.foretold, entry.runs, entry.family)}")
        # It is proposed in a clone; what was made elsewhere, as with an installed wheel, has to be copied there.
        here = CHECKOUT is not None and path.resolve().is_relative_to(CHECKOUT)
        copy = "" if here else "  in a clone of the project, with these files at the same path:\n"
        print(
            f"""next:
  {typed("chemscale")} verify --entry {shlex.quote(str(path))}    # also computes the losses again from the checkpoint
{copy}  git checkout -b {path.stem}
  git add {shlex.quote(str(path.with_suffix("")))}*
  git commit -m "Leaderboard: {"/".join(path.parts[-3:-1])} by {slug(settings.submitter)}"
and open a pull request that adds these files; it is verified there as it was here."""
        )


def told(entry: Entry, summary: str, chosen: Callable[[Entry], Run | None], does: str) -> str:
    """What an entry tells of molecules, features or motion, and whether it can be had again from what it holds."""
    try:
        again = chosen(entry)
    except UserError as problem:
        return f"{summary}; it can't be reproduced: {problem}"
    return summary + (f"; `verify` {does} of run {again.run} again" if again else "")


def ask_before_publishing(settings: SubmitSettings, run: LoggedRun | None) -> None:
    """Before an entry of somebody's own data is written, say what of them it holds, and ask.

    Raises:
        UserError: unless it was allowed, in the settings or on a terminal.
    """
    data = own_data(run) if run else ""
    if not data or settings.publish:
        return
    weights = "" if settings.checkpoint == "none" else ", and weights, from which molecules like yours can be drawn"
    holds = f"an entry holds the name {data.rpartition('/')[2]}, its digest, all settings and loss curves{weights}"
    if sys.stdin.isatty():
        click.echo(f"These runs are of your own data: {holds}. The file itself stays here.")
        if click.confirm("Write it?"):
            return
    raise UserError(
        f"data of your own are published only if you say so: {holds}; give publish=True, and checkpoint=none to keep "
        "weights to yourself"
    )


def own_data(run: LoggedRun) -> str:
    """The name or path of data that are the user's own, also if a task of the user's names them; or nothing."""
    data, task = run.params.get("data", "auto"), run.params.get("task", "")
    if data == "auto" and task:
        try:
            data = tasks.load(task).data
        except UserError:  # its file is gone or elsewhere, so that it is none of ours
            data = task
    return "" if data in {"auto", *NAMES, *FRAMES} else data
