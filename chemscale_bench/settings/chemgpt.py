"""Parameters of the verb `chemgpt`."""

from __future__ import annotations

from typing import ClassVar

from chemscale_bench.settings.language import LanguageModelSettings


class ChemGPTSettings(LanguageModelSettings):
    """Train a ChemGPT language model to fixed token budgets and report its validation loss."""

    model: ClassVar[str] = "chemgpt"
