"""The verb `chemgpt`: train one language model, tracked as one MLflow run, and print its row of the grid."""

from __future__ import annotations

from chemscale_bench.runs.language import ChemGPTRun
from chemscale_bench.runs.start import train
from chemscale_bench.settings.chemgpt import ChemGPTSettings


def chemgpt(settings: ChemGPTSettings) -> None:
    """Train one language model, tracked as one MLflow run, and print its row of the grid."""
    train(settings, ChemGPTRun)
