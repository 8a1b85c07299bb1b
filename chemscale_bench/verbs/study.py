"""The verb `study`: from a task, a model and some hours to a scaling law."""

from __future__ import annotations

import sys

from chemscale_bench.runs.study import Study
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.tracking.housekeeping import run_if_launched


def study(settings: StudySettings) -> None:
    """Train what a law needs, fit it, and print what it says; with `dry_run` only the plan."""
    work = Study(settings)
    if settings.dry_run:
        with run_if_launched("study"):
            work.show_plan()
    else:
        sys.exit(work.run())
