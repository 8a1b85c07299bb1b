"""Parameters of the verb `language`, and what it shares with `chemgpt`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chemscale_bench.settings.base import Auto, Count
from chemscale_bench.settings.training import TrainingSettings


class LanguageModelSettings(TrainingSettings):
    """What the training of any language model takes; an option that its family lacks has to be left out."""

    task: str = "pubchem10m-lm"
    """Task in benchmarks/ (or a path to a task file): data, budgets, validation split and metric."""
    params: Count = Field(1_000_000, ge=10_000, le=20_000_000_000)
    """Non-embedding parameters wanted, for example 1e8; met within 5 %."""
    tokens: Annotated[Count, Field(ge=1)] | Auto = "auto"
    """Largest budget in tokens; the task's smaller budgets are passed on the way. `auto` is the task's largest."""
    smaller_budgets: bool = True
    """Decay and validate at the task's smaller budgets too, on the way."""
    data: str = "auto"
    """Data set (pubchem10m, pubchem, moses, embedded) or a path to a .smi, .csv or .txt file of SMILES or SELFIES,
    compressed or not."""
    column: str = ""
    """Column of your file that holds the molecules, by the name in its header; left out, it is found."""
    vocabulary: Literal["dataset", "smiles", "chemgpt"] = "dataset"
    """How molecules are written, and in which symbols: `dataset`, SELFIES with those of the data set; `smiles`,
    canonical SMILES with those of the data set; `chemgpt`, SELFIES with the 684 of the released ChemGPT."""
    ladder: Literal["balanced", "chemgpt"] = "balanced"
    """Shapes: `balanced` keeps depth and width in proportion, `chemgpt` is the paper's 24 layers and 16 heads."""
    parametrization: Literal["mutransfer", "standard"] = "mutransfer"
    """How initial weights, learning rates and multipliers follow width and depth, so that one learning rate serves
    every size; `standard` is GPT-Neo's usual initialisation with the same learning rate for all weights."""
    optimizer: Literal["auto", "adamw", "muon"] = "auto"
    """`adamw`, or `muon`: hidden matrices change by their momentum made orthogonal, all else by AdamW. `auto` is muon
    for llama, adamw for the others."""
    batch_tokens: Annotated[Count, Field(ge=64)] | Auto = "auto"
    """Tokens per optimizer step, by gradient accumulation; `auto` grows with the tokens seen (512 to 524,288)."""
    sharding: Literal["auto", "none", "full"] = "auto"
    """Of several processes (torchrun, srun): `none` gives each a whole model, `full` a part of weights, gradients and
    optimizer state (FSDP2); `auto` spreads what would not fit."""
    init: str = ""
    """Start from a Hugging Face GPT-Neo checkpoint, a folder or a hub name; it then sets the size, not `params`."""


class LanguageSettings(LanguageModelSettings):
    """Train a language model by its name to fixed token budgets and report its validation loss."""

    model: str = "chemgpt"
    """Language model: chemgpt, llama or lstm. An option that it lacks has to be left out, `ladder` for example."""
    init: str = ""
    """Start from a checkpoint of this model (of chemgpt and llama in Hugging Face's format), a folder or a hub name; it
    then sets the size, not `params`."""
