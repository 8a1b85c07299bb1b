"""Parameters of the verbs that train."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chemscale_bench.settings.base import Auto, Count, Settings


class TrainingSettings(Settings):
    """What every training run takes, whatever it trains."""

    learning_rate: Annotated[float, Field(gt=0, le=10)] | Auto = "auto"
    """Peak learning rate of AdamW; `auto` is one found by measurement. ChemGPT scales it from its base shape."""
    warmup: float = Field(0.3, ge=0, le=1)
    """Share of the smallest budget spent on linear warm-up."""
    decay: float = Field(0.2, gt=0, le=1)
    """Share of each budget spent on the final decay of the learning rate to zero."""
    weight_decay: float = Field(0.1, ge=0)
    """Decoupled weight decay of AdamW on matrices, at the base shape (1/step at learning rate 1)."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient before it is scaled down."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the initial weights and of the order of the data; for a language model of that of later passes over them,
    the first is the same for all runs."""
    seeds: Count = Field(1, ge=1, le=1000)
    """Runs with this and the next seeds, trained as one stacked model (ChemGPT, SchNet, PaiNN), each a child run."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; `auto` takes a GPU if there is one. Under torchrun or Slurm every process takes its own."""
    precision: Literal["auto", "fp32", "bf16", "fp64"] = "auto"
    """Arithmetic of the forward and backward pass; `auto` is bf16 on a GPU and fp32 on a CPU; fp64 is slow."""
    checkpoint_minutes: float = Field(5.0, gt=0)
    """Minutes between two resume states; a killed run loses at most this much work."""
    experiment: str = "chemscale"
    """MLflow experiment that the run is logged to."""
    resume: str = ""
    """Run id of an interrupted run to carry on; all other parameters are taken from it."""


class ChemGPTSettings(TrainingSettings):
    """Train a ChemGPT language model to fixed token budgets and report its validation loss."""

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
    vocabulary: Literal["dataset", "chemgpt"] = "dataset"
    """Vocabulary built from the data set, or the released ChemGPT one (684 tokens, SELFIES 1.x spelling)."""
    ladder: Literal["balanced", "chemgpt"] = "balanced"
    """Shapes: `balanced` keeps depth and width in proportion, `chemgpt` is the paper's 24 layers and 16 heads."""
    parametrization: Literal["mutransfer", "standard"] = "mutransfer"
    """How initial weights, learning rates and multipliers follow width and depth, so that one learning rate serves
    every size; `standard` is GPT-Neo's usual initialisation with the same learning rate for all weights."""
    batch_tokens: Annotated[Count, Field(ge=64)] | Auto = "auto"
    """Tokens per optimizer step, by gradient accumulation; `auto` grows with the tokens seen (512 to 524,288)."""
    init: str = ""
    """Start from a Hugging Face GPT-Neo checkpoint, a folder or a hub name; it then sets the size, not `params`."""


class ForceFieldSettings(TrainingSettings):
    """Train a force field on one molecule's frames and report its force and energy errors on the test split."""

    task: str = "rmd17-ff"
    """Task in benchmarks/ (or a path to a task file): frames, labels, splits, budgets and metric."""
    model: str = "painn"
    """Force field: schnet, painn, mace, spookynet or allegro."""
    molecule: str = "auto"
    """Molecule of the task (`auto` is its first), or what to call the one in your own frames."""
    train_size: Count = Field(950, ge=1)
    """Training frames; the task's budgets are compared with one another."""
    split: int = Field(1, ge=1, le=5)
    """Official split, 1 to 5; of one file of your own: which random split."""
    params: Annotated[Count, Field(ge=1000, le=1_000_000_000)] | Auto = "auto"
    """Parameters wanted outside the tables of elements, met within 5 %; `auto` is the default of the model."""
    steps: Annotated[Count, Field(ge=1)] | Auto = "auto"
    """Optimizer steps; `auto` is the task's number."""
    batch_frames: Count = Field(10, ge=1)
    """Frames per optimizer step."""
    cutoff: float = Field(5.0, gt=0, le=50)
    """Distance in Angstrom beyond which atoms do not see one another."""
    force_weight: float = Field(0.99, gt=0)
    """Weight of the squared force error in the loss, in units of the training forces' mean square."""
    energy_weight: float = Field(0.01, ge=0)
    """Weight of the squared energy error, in the same unit (per Angstrom squared)."""
    average: float = Field(0.99, ge=0, lt=1)
    """Decay per step of the running average of the weights that is measured and kept."""
    data: str = "auto"
    """Frames: rmd17, md17, embedded, or a path to an .npz, .extxyz, .xyz or ASE .db file, units stated."""
    test_data: str = ""
    """Test frames in a file of their own; without it they are drawn from `data`."""
    energy_unit: str = ""
    """Unit of the energies in your file, unless it declares one: eV, meV, kcal/mol, kJ/mol or Hartree."""
    length_unit: str = ""
    """Unit of the positions in your file, unless it declares one: Angstrom, Bohr or nm."""
    force_unit: str = ""
    """Unit of the forces in your file, if that is not energy_unit/length_unit: Hartree/Bohr, for example."""
    warmup: float = Field(0.01, ge=0, le=1)
    """Share of the steps spent on linear warm-up, 20 steps at least (or half of them); 0 is none."""
    decay: float = Field(0.5, gt=0, le=1)
    """Share of the steps spent on the final decay of the learning rate to zero."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of AdamW (1/step at learning rate 1)."""
    clip: float = Field(10.0, gt=0)
    """Largest norm of the gradient before it is scaled down."""
    precision: Literal["fp32", "fp64"] = "fp32"
    """Arithmetic; energies are referenced in float64 either way."""


class TuneSettings(Settings):
    """Search hyperparameters of a task's model; trials that will lose are stopped early. Run it again to go on."""

    task: str = "pubchem10m-lm"
    """Task in benchmarks/ (or a path): a language-model task trains ChemGPT, a force-field task what `model` says."""
    trials: Count = Field(50, ge=1)
    """Trials of the study in all, those of earlier and of parallel `tune` processes included."""
    params: Annotated[Count, Field(ge=1000)] | Auto = "auto"
    """Parameters of every trial's model; `auto` is the default of its kind."""
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
    batch_tokens: Annotated[Count, Field(ge=64)] | Literal["search", "auto"] = "search"
    """Language models: tokens per optimizer step, searched too, or as in `chemgpt`."""
    together: Count = Field(1, ge=1, le=1000)
    """Trials of ChemGPT, SchNet or PaiNN trained at once as one stacked model, which small ones need to keep a device
    busy; needs `batch_tokens` or `batch_frames`. Newcomers with `auto` batches are filled up to the longest one."""
    model: str = "painn"
    """Force fields: schnet, painn, mace, spookynet or allegro."""
    molecule: str = "auto"
    """Force fields: molecule of the task; `auto` is its first."""
    train_size: Count = Field(950, ge=1)
    """Force fields: training frames."""
    steps: Annotated[Count, Field(ge=1)] | Auto = "auto"
    """Force fields: frames seen by a trial, counted in optimizer steps of 10, whatever its batch."""
    batch_frames: Annotated[Count, Field(ge=1)] | Literal["search"] = "search"
    """Force fields: frames per optimizer step, searched too, or a number."""
    data: str = "auto"
    """Data set or file, as in `chemgpt` and `forcefield`."""
    test_data: str = ""
    """Force fields: test frames in a file of their own."""
    energy_unit: str = ""
    """Force fields: unit of the energies in your file."""
    length_unit: str = ""
    """Force fields: unit of the positions in your file."""
    force_unit: str = ""
    """Force fields: unit of the forces in your file, if that is not energy_unit/length_unit."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    experiment: str = "chemscale-sweeps"
    """MLflow experiment: one parent run for the study, one child per trial."""


class DemoSettings(Settings):
    """A first result in minutes, on a CPU and data inside the package: a grid of runs, a study, fits and a board."""

    tokens: Annotated[Count, Field(ge=1)] = 300_000
    """Largest training budget of each ChemGPT size in tokens."""
    steps: Annotated[Count, Field(ge=1)] = 300
    """Optimizer steps of each force field."""
    out: str = "demo.html"
    """Where to write the leaderboard of the demo's runs."""
    experiment: str = "chemscale-demo"
    """MLflow experiment that the runs are logged to."""
