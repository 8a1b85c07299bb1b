"""The verb `language`: train a language model by its name, tracked as one MLflow run, and print its row of the grid."""

from __future__ import annotations

from chemscale_bench.runs.language import LanguageRun
from chemscale_bench.runs.start import train
from chemscale_bench.settings.language import LanguageSettings


def language(settings: LanguageSettings) -> None:
    """Train one language model, tracked as one MLflow run, and print its row of the grid."""
    train(settings, LanguageRun)
