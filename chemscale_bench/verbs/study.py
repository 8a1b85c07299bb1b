"""The verb `study`: from a task, a model and some hours to a scaling law."""

from __future__ import annotations

import sys

import psutil

from chemscale_bench.runs.comparison import run_studies, show_plans, studies_of
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.tracking.housekeeping import run_if_launched


def study(settings: StudySettings) -> None:
    """Train what a law needs, fit it, and print what it says; with `dry_run` only the plan."""
    studies = studies_of(settings, psutil.Process().create_time())
    if settings.dry_run:
        with run_if_launched("study"):
            show_plans(studies)
    else:
        sys.exit(run_studies(studies))
