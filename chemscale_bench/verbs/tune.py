"""The verb `tune`: search the hyperparameters of a task's model, alone or beside other processes."""

from __future__ import annotations

import sys

from chemscale_bench.runs.sweep import Sweep
from chemscale_bench.settings.tune import TuneSettings
from chemscale_bench.verbs import next_command


def tune(settings: TuneSettings) -> None:
    """Run trials until the study has enough."""
    sweep = Sweep(settings)
    code = sweep.run()
    best = sweep.best()
    if best and sweep.prints and not sweep.is_worker:
        verb = "language" if sweep.family == "language_model" else "forcefield"
        more = (
            {"seeds": "3"} if sweep.kind.MODELS.family(sweep.settings.model).STACKED else {"seed": str(best.seed + 1)}
        )
        again = next_command.settings(verb, best, **more)
        next_command.show({"the best settings with other seeds: how much of it was chance?": again})
    sys.exit(code)
