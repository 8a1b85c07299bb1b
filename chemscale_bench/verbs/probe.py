"""The verb `probe`: what the features of trained models are worth."""

from __future__ import annotations

from chemscale_bench.runs import probing
from chemscale_bench.settings.probe import ProbeSettings


def probe(settings: ProbeSettings) -> None:
    """Probe models beside the same networks untrained, tracked as one MLflow run, and print what they reach."""
    probing.probe(settings)
