"""Parameters of the verb `fit`."""

from __future__ import annotations

from chemscale_bench.settings.runs import RunsSettings


class FitSettings(RunsSettings):
    """Fit scaling laws to runs: exponents, regimes, the compute-optimal frontier, with intervals and figures."""

    out: str = ""
    """Folder for fit.json and the figures as .html files; none are written if empty."""
    log: bool = True
    """Log numbers and figures to one MLflow run."""
