"""The verb `tune`: search the hyperparameters of a task's model, alone or beside other processes."""

from __future__ import annotations

import sys

from chemscale_bench.runs.sweep import Sweep
from chemscale_bench.settings.tune import TuneSettings


def tune(settings: TuneSettings) -> None:
    """Run trials until the study has enough."""
    sys.exit(Sweep(settings).run())
