"""Parameters of the verb `study`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chemscale_bench.settings.base import MOST_LAYERS, Auto, Count, Counts, Settings


class StudySettings(Settings):
    """From a task, a model and some hours to a scaling law: trains what tells most, and fits. Run it again to go on."""

    task: str = "pubchem10m-lm"
    """Task in benchmarks/ (or a path): of language models or of force fields."""
    model: str = "auto"
    """What is trained: of language models chemgpt (`auto`), llama or lstm, of force fields painn (`auto`), schnet,
    mace, spookynet, allegro or nequip (nequip-l0, nequip-l2, ...: see `forcefield`). Several with commas,
    chemgpt,llama, are studied in turn, each with its share of the budget, and compared: which is better, by how much,
    and whether small runs knew."""
    hours: float = Field(0.0, ge=0)
    """Wall-clock hours that it may take, from the start of the command to its last line: sizes, budgets and seeds are
    then chosen to tell most about `target` on this machine. 0 trains the whole grid of what is given."""
    gpu_hours: float = Field(0.0, ge=0)
    """Instead of hours: hours times the GPUs that the workers of this command hold, one each or less; with
    workers=8, gpu_hours=16 are hours=2."""
    flops: float = Field(0.0, ge=0)
    """Instead of hours: FLOPs of all trainings together, chosen in the same way."""
    target: Literal["exponent"] | Count = "exponent"
    """What is asked: `exponent`, the narrowest intervals of both, or a size, 1e8, whose loss is to be foretold."""
    params: Annotated[Counts, Field(min_length=1)] | Auto = "auto"
    """Sizes with commas, 1e4,3e4,1e5: all of them, or with `hours` those to choose from; `auto` is half decades."""
    tokens: Annotated[Count, Field(ge=1)] | Auto = "auto"
    """Language models: largest budget; the task's smaller budgets are passed on the way. `auto` is the task's."""
    train_size: Annotated[Counts, Field(min_length=1)] | Auto = "auto"
    """Force fields: numbers of training frames with commas; `auto` are the task's."""
    seeds: Count = Field(1, ge=1, le=100)
    """Runs of every cell of a grid, from this many neighbouring seeds; with `hours` it is chosen."""
    dry_run: bool = False
    """Measure the machine, print the table of runs with their times and what they should tell, and stop."""
    workers: Count = Field(1, ge=1, le=1000)
    """Processes that train at once, each on its GPU or its share of the cores. The same command with the same
    `storage` on another machine helps, too."""
    engine: Literal["local", "slurm", "ray"] = "local"
    """Who starts the workers: this machine, a Slurm cluster as a job array, or a running Ray cluster."""
    engine_options: str = ""
    """slurm: options of sbatch, partition=gpu,time=4:00:00,gres=gpu:1; ray: address=auto,num_cpus=4,num_gpus=0.5."""
    together: Annotated[Count, Field(ge=1, le=1000)] | Auto = "auto"
    """Seeds of one cell, and of typed sizes of a force field all its numbers of frames, that are trained as one stacked
    model; `auto` is up to 8 of ChemGPT, Llama, SchNet or PaiNN."""
    storage: str = ""
    """Optuna storage of the cells: a database URL, grpc://HOST:PORT, or a journal file; the default is a file in
    CHEMSCALE_HOME."""
    study: str = ""
    """Name of the study; by default it follows from the other parameters, so that the same command goes on."""
    seed: int = Field(0, ge=0, lt=2**31)
    """The first seed."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] | Auto = "auto"
    """Peak learning rate of all runs, as in `language` and `forcefield`."""
    optimizer: Literal["auto", "adamw", "muon"] = "auto"
    """Language models: of all runs, as in `language`."""
    tune: Count = Field(0, ge=0)
    """Trials of a search before all else, at the smallest size, with losers stopped early: what it finds is carried to
    all sizes, and the learning rate checked at the largest that can be paid. 0 takes what `auto` takes."""
    vocabulary: str = "dataset"
    """Language models: `dataset`, SELFIES, `smiles` or `chemgpt`, as in `language`. Several with commas,
    dataset,smiles, are studied like several models, and compared by nats per molecule."""
    molecule: str = "auto"
    """Force fields: molecule of the task; `auto` is its first."""
    depth: Annotated[Count, Field(ge=1, le=MOST_LAYERS)] | Auto = "auto"
    """Force fields: layers of every run; `auto` is what the model has at each size."""
    steps: Annotated[Count, Field(ge=1)] | Auto = "auto"
    """Force fields: optimizer steps of every run."""
    data: str = "auto"
    """Data set or file, as in `language` and `forcefield`."""
    column: str = ""
    """Language models: column of the molecules in your file, by its name in the header; left out, it is found."""
    test_data: str = ""
    """Force fields: test frames in a file of their own."""
    energy_unit: str = ""
    """Force fields: unit of the energies in your file."""
    length_unit: str = ""
    """Force fields: unit of the positions in your file."""
    force_unit: str = ""
    """Force fields: unit of the forces in your file, if that is not energy_unit/length_unit."""
    energy_key: str = ""
    """Force fields: key of the energies in your file, such as dft_energy, if it is not found by itself."""
    forces_key: str = ""
    """Force fields: key of the forces in your file, likewise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    experiment: str = "chemscale-studies"
    """MLflow experiment: one parent run for the study, one child per training."""
    level: float = Field(0.9, gt=0, lt=1)
    """Level of the intervals."""
