"""Parameters of the verb `generate`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chemscale_bench.settings.base import Count, Settings


class GenerateSettings(Settings):
    """Draw molecules from a trained language model, and say how good they are by the metrics of MOSES."""

    run: str = ""
    """Id of a finished run of a language model, or the folder of a checkpoint with its tokenizer; or an experiment, or
    a run with children: all of its language models, their quality over their loss."""
    budget: Literal["last", "all"] = "last"
    """Of a run: draw from its last model, or from the model of every budget it passed, each as an MLflow run of its
    own beside the loss of that budget; of an experiment each as a row of its one table."""
    molecules: Count = Field(30_000, ge=1, le=100_000_000)
    """How many to draw; MOSES takes 30,000."""
    temperature: float = Field(1.0, gt=0, le=100)
    """Logits are divided by it; 1 is the distribution that was learned."""
    top_k: Count = Field(0, ge=0)
    """Only so many of the likeliest next tokens; 0 for all."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Only the likeliest next tokens that together have this probability."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the draws; the first n are the same for every number of molecules."""
    task: str = ""
    """Of a folder: the task it was trained on, for novelty and a test set. A run knows its own."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to draw; `auto` takes a GPU if there is one."""
    experiment: str = "chemscale-generation"
    """MLflow experiment that the run is logged to."""
