"""The verb `generate`: molecules of a trained language model, and how good they are."""

from __future__ import annotations

from chemscale_bench.runs import generation
from chemscale_bench.settings.generate import GenerateSettings


def generate(settings: GenerateSettings) -> None:
    """Draw molecules from a checkpoint, tracked as one MLflow run, and print their metrics."""
    generation.generate(settings)
