"""Parameters of the verb `forcefield`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chemscale_bench.settings.base import MOST_LAYERS, Auto, Count
from chemscale_bench.settings.training import TrainingSettings


class ForceFieldSettings(TrainingSettings):
    """Train a force field on frames of one molecule or several and report its force and energy errors on the test."""

    task: str = "rmd17-ff"
    """Task in benchmarks/ (or a path to a task file): frames, labels, splits, budgets and metric."""
    model: str = "painn"
    """Force field: schnet, painn, mace, spookynet, allegro or nequip; the degree of what atoms know of directions can
    be part of the name: nequip-l0 is invariant, nequip-l2 has quadrupoles, likewise mace-l2 and allegro-l3."""
    molecule: str = "auto"
    """Molecule of the task (`auto` is its first), or what to call what is in your own frames."""
    train_size: Annotated[Count, Field(ge=1)] | Auto = "auto"
    """Training frames, in a joint task of each molecule; `auto` is the task's largest budget."""
    split: int = Field(1, ge=1, le=5)
    """Official split, 1 to 5; of one file of your own: which random split."""
    recipe: Literal["quick", "paper"] = "quick"
    """What `auto` stands for below: settings for minutes on a CPU core, or those of the model's paper or its authors'
    code, hours to days: sizes, cutoff, steps, batch, learning rate, weights; schedule and optimizer are ours."""
    init: str = ""
    """Start from a trained force field of this model, which sets size and cutoff: the id of a run, a folder, or a file
    of mace-torch, which is a pickle and can run any code."""
    params: Annotated[Count, Field(ge=1000, le=1_000_000_000)] | Auto = "auto"
    """Parameters wanted outside the tables of elements, met within 5 %; `auto` is the default of the recipe."""
    depth: Annotated[Count, Field(ge=1, le=MOST_LAYERS)] | Auto = "auto"
    """Layers; `auto` is what the model has at this size. The width is what `params` leaves."""
    steps: Annotated[Count, Field(ge=1)] | Auto = "auto"
    """Optimizer steps; `auto` is the task's number, of a paper's recipe 1,000 passes over 950 frames."""
    batch_frames: Annotated[Count, Field(ge=1)] | Auto = "auto"
    """Frames per optimizer step; `auto` is 10, of some papers 5."""
    cutoff: Annotated[float, Field(gt=0, le=50)] | Auto = "auto"
    """Distance in Angstrom beyond which atoms do not see one another; `auto` is 5, of some papers 4 to 7."""
    force_weight: Annotated[float, Field(gt=0)] | Auto = "auto"
    """Weight of the squared force error in the loss, in units of the training forces' mean square; `auto` is .99."""
    energy_weight: Annotated[float, Field(ge=0)] | Auto = "auto"
    """Weight of the squared energy error, in the same unit (per Angstrom squared); `auto` is .01."""
    average: Annotated[float, Field(ge=0, lt=1)] | Auto = "auto"
    """Decay per step of the running average of the weights that is measured and kept; `auto` is .99."""
    data: str = "auto"
    """Frames: rmd17, md17, ani1x, embedded, or a path to an .npz, .extxyz, .xyz or ASE .db file, units stated."""
    test_data: str = ""
    """Test frames in a file of their own; without it they are drawn from `data`."""
    energy_unit: str = ""
    """Unit of the energies in your file, unless it declares one: eV, meV, kcal/mol, kJ/mol or Hartree."""
    length_unit: str = ""
    """Unit of the positions in your file, unless it declares one: Angstrom, Bohr or nm."""
    force_unit: str = ""
    """Unit of the forces in your file, if that is not energy_unit/length_unit: Hartree/Bohr, for example."""
    energy_key: str = ""
    """Key of the energies in your file, such as dft_energy, if it is not found by itself."""
    forces_key: str = ""
    """Key of the forces in your file, likewise."""
    warmup: float = Field(0.01, ge=0, le=1)
    """Share of the steps spent on linear warm-up, 20 steps at least (or half of them); 0 is none."""
    decay: float = Field(0.5, gt=0, le=1)
    """Share of the steps spent on the final decay of the learning rate to zero."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of AdamW (1/step at learning rate 1)."""
    clip: float = Field(10.0, gt=0, allow_inf_nan=True)
    """Largest norm of the gradient before it is scaled down."""
    precision: Literal["fp32", "fp64"] = "fp32"
    """Arithmetic; energies are referenced in float64 either way."""
