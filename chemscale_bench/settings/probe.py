"""Parameters of the verb `probe`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chemscale_bench.settings.base import Count
from chemscale_bench.settings.features import FeatureSettings


class ProbeSettings(FeatureSettings):
    """Measure what the features of trained language models are worth for a property, and how rough it is over them."""

    run: str = ""
    """Name of an experiment, id of a run (with all its children, if it has any), or the folder of a checkpoint."""
    budget: Literal["last", "all"] = "last"
    """Of each run: its last model, or the model of every token budget that it passed."""
    tasks: str = ""
    """Properties by name, with commas: esol, freesolv, lipophilicity, bbbp, bace (MoleculeNet, downloaded once)."""
    data: str = ""
    """Instead of tasks, your own: a table with a column of SMILES and a header (.csv, also compressed)."""
    target: str = ""
    """Column of the property: numbers, or 0 and 1 for two classes; rows without a value are left out and counted."""
    splits: Count = Field(5, ge=2, le=100)
    """Scaffold splits, by seeds 0, 1, ...; their number decides how sure the intervals are."""
