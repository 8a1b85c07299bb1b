"""Parameters of every verb that trains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from chemscale_bench.settings.base import Auto, Count, Settings


def check_name(name: str) -> str:
    """A name that MLflow's registry takes.

    Raises:
        ValueError: if it is blank, or has a slash or colon.
    """
    if set(name) & set("/:") or (name and not name.strip()):
        raise ValueError(f"must be a name without / and :, and not blank, got {name!r}")
    return name


class TrainingSettings(Settings):
    """What every training run takes, whatever it trains."""

    learning_rate: Annotated[float, Field(gt=0, le=10)] | Auto = "auto"
    """Peak learning rate, of a language model that of its base shape, under Muon of hidden matrices; `auto` is one
    found by measurement, and for ChemGPT with AdamW grows with the warm-up."""
    warmup: float = Field(0.3, ge=0, le=1)
    """Share of the smallest budget spent on linear warm-up, whether that budget is measured or not."""
    decay: float = Field(0.2, gt=0, le=1)
    """Share of each budget spent on the final decay of the learning rate to zero."""
    weight_decay: float = Field(0.1, ge=0)
    """Decoupled weight decay on matrices, at the base shape (1/step at learning rate 1)."""
    clip: float = Field(1.0, gt=0, allow_inf_nan=True)
    """Largest norm of the gradient before it is scaled down."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the initial weights and of the order of the data; for a language model of that of later passes over them,
    the first is the same for all runs."""
    seeds: Count = Field(1, ge=1, le=1000)
    """Runs with this and the next seeds, trained as one stacked model (ChemGPT, Llama, SchNet, PaiNN), each a child
    run."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; `auto` takes a GPU if there is one. Under torchrun or Slurm every process takes its own."""
    precision: Literal["auto", "fp32", "bf16", "fp64"] = "auto"
    """Arithmetic of the forward and backward pass; `auto` is bf16 on a GPU and fp32 on a CPU; fp64 is slow."""
    checkpoint_minutes: float = Field(5.0, gt=0, allow_inf_nan=True)
    """Minutes between two resume states; a killed run loses at most this much work."""
    experiment: str = "chemscale"
    """MLflow experiment that the run is logged to."""
    register_as: Annotated[str, AfterValidator(check_name)] = ""
    """Name in MLflow's model registry under which the trained model becomes the next version; empty registers none."""
    resume: str = ""
    """Run id of an interrupted run to carry on; all other parameters are taken from it."""
