"""Parameters of the verb `tune`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chemscale_bench.settings.base import MOST_LAYERS, Auto, Count, Settings


class TuneSettings(Settings):
    """Search hyperparameters of a task's model; trials that will lose are stopped early. Run it again to go on."""

    task: str = "pubchem10m-lm"
    """Task in benchmarks/ (or a path): of language models or of force fields."""
    model: str = "auto"
    """What is trained: of language models chemgpt (`auto`), llama or lstm, of force fields painn (`auto`), schnet,
    mace, spookynet, allegro or nequip."""
    trials: Count = Field(50, ge=1)
    """Trials of the study in all, those of earlier and of parallel `tune` processes included."""
    params: Annotated[Count, Field(ge=1000)] | Auto = "auto"
    """Parameters of every trial's model; `auto` is the default of its kind."""
    search: str = "auto"
    """What is searched, with commas, of learning_rate, warmup, decay, weight_decay and batch_tokens or batch_frames;
    `auto` is all, what is left out is as in `language` and `forcefield`."""
    pruner: Literal[
        "performance",
        "performance_careful",
        "performance_bold",
        "paper",
        "median_20",
        "successive_halving_10",
        "hyperband",
        "none",
    ] = "performance"
    """Who stops trials: `performance` ranks them by training performance estimation, `performance_careful` keeps more
    winners, `performance_bold` saves more; `paper` is Frey et al.'s rule; the others are Optuna's, with a first stop at
    20 or 10 % of the area under the schedule."""
    sampler: str = "TPESampler"
    """Who proposes trials: a sampler of Optuna (TPESampler, RandomSampler, GPSampler, QMCSampler, CmaEsSampler)."""
    storage: str = ""
    """Optuna storage: a database URL, grpc://HOST:PORT, or a journal file; the default is a file in CHEMSCALE_HOME."""
    study: str = ""
    """Name of the study; by default it follows from the other parameters, so that the same command goes on."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the sampler, and of every trial's weights."""
    tokens: Annotated[Count, Field(ge=1)] | Auto = "auto"
    """Language models: training tokens of a trial."""
    smaller_budgets: bool = False
    """Language models: whether trials reach the smaller token budgets on the way, too, as trainings of `study` do."""
    optimizer: Literal["auto", "adamw", "muon"] = "auto"
    """Language models: of all trials, as in `language`."""
    batch_tokens: Annotated[Count, Field(ge=64)] | Literal["search", "auto"] = "search"
    """Language models: tokens per optimizer step, searched too, or as in `language`."""
    together: Count = Field(1, ge=1, le=1000)
    """Trials of ChemGPT, Llama, SchNet or PaiNN trained at once as one stacked model, which small ones need to keep
    a device busy; needs `batch_tokens` or `batch_frames`. Newcomers with `auto` batches are filled up to the longest
    one."""
    workers: Count = Field(1, ge=1, le=1000)
    """Processes that search at once, each on its GPU or its share of the cores."""
    engine: Literal["local", "slurm", "ray"] = "local"
    """Who starts the workers: this machine, a Slurm cluster as a job array, or a running Ray cluster."""
    engine_options: str = ""
    """slurm: options of sbatch, partition=gpu,time=4:00:00,gres=gpu:1; ray: address=auto,num_cpus=4,num_gpus=0.5."""
    molecule: str = "auto"
    """Force fields: molecule of the task; `auto` is its first."""
    train_size: Annotated[Count, Field(ge=1)] | Auto = "auto"
    """Force fields: training frames; `auto` is the task's largest budget."""
    depth: Annotated[Count, Field(ge=1, le=MOST_LAYERS)] | Auto = "auto"
    """Force fields: layers; `auto` is what the model has at this size."""
    steps: Annotated[Count, Field(ge=1)] | Auto = "auto"
    """Force fields: frames seen by a trial, counted in optimizer steps of 10, whatever its batch."""
    batch_frames: Annotated[Count, Field(ge=1)] | Literal["search"] = "search"
    """Force fields: frames per optimizer step, searched too, or a number."""
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
    experiment: str = "chemscale-sweeps"
    """MLflow experiment: one parent run for the study, one child per trial."""
