"""Parameters of the verb `speed`."""

from __future__ import annotations

from chemscale_bench.settings.base import Settings


class SpeedSettings(Settings):
    """Measure on this machine how fast we are, against what you would use instead and against what it can do."""

    suite: str = "quick"
    """Suites of benchmarks/speed, with commas, or `all`; `quick` is some of them, about 5 minutes on two cores."""
