"""The verb `generate`: molecules of a trained language model, and how good they are."""

from __future__ import annotations

from chemscale_bench.runs import generation, quality
from chemscale_bench.settings.generate import GenerateSettings


def generate(settings: GenerateSettings) -> None:
    """Draw molecules from a checkpoint, or from all of an experiment, and print their metrics."""
    if quality.names_many(settings.run):
        quality.generate_from_all(settings)
    else:
        generation.generate(settings)
