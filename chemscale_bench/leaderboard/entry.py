"""What an entry is: one (task, model) training study by one submitter, as JSON with its curves beside it.

`leaderboard/entries/<task>/<model>/<submitter>-<date>.json` is its identity, `<submitter>-<date>.parquet` holds the
curves, and a folder `<submitter>-<date>/` the checkpoints, if they come along. Everything here may be hostile: texts
are bounded and free of markup, numbers are numbers and finite, and a key that is not declared is refused.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from chemscale_bench.leaderboard.foretold import Foretold
from chemscale_bench.leaderboard.motion import Motion
from chemscale_bench.leaderboard.record import Count, Identifier, Positive, Record

Family = Literal["language_model", "force_field"]

RESULTS: dict[Family, tuple[str, ...]] = {
    "language_model": (
        "val/loss_nats_per_token",
        "val/nats_per_molecule",
        "val/bits_per_heavy_atom",
        "baseline/trigram_nats_per_token",
    ),
    "force_field": (
        "test/force_mae_mev_per_angstrom",
        "test/energy_mae_mev",
        "baseline/zero_force_mae_mev_per_angstrom",
        "baseline/mean_energy_mae_mev",
    ),
}
"""Metrics that a result may hold, under the names that runs log; the first is what the board ranks."""
CURVES: dict[Family, tuple[str, ...]] = {
    "language_model": (
        "train/loss_nats_per_token", "decay/loss_nats_per_token", "speed/train_tokens_per_s",
        "speed/decay_tokens_per_s", *RESULTS["language_model"],
    ),
    "force_field": (
        "train/loss", "decay/loss", "speed/train_structures_per_s", "speed/decay_structures_per_s",
        "val/force_mae_mev_per_angstrom", "val/energy_mae_mev", *RESULTS["force_field"],
    ),
}  # fmt: skip
"""Metrics that the curves may hold; the first four are loss and speed on the trunk and on the decays."""

OF_MOLECULES = (
    "valid", "raw_valid", "unique_at_1k", "unique_at_10k", "novelty", "internal_diversity_1", "internal_diversity_2",
    "filters",
)  # fmt: skip
"""Metrics of drawn molecules by themselves, shares all of them."""
AGAINST = (
    "snn", "fragments", "scaffolds", "fcd", "fcd_raw_valid", "fcd_extrapolated",
    *(f"wasserstein_{name}" for name in ("logp", "sa", "qed", "weight")),
)  # fmt: skip
REFERENCES = ("test", "test_scaffolds")
"""Metrics against sets of test molecules, named METRIC_SET: of MOSES its own two, of other tasks the first only."""
DRAWN = (*OF_MOLECULES, *(f"{name}_{of}" for of in REFERENCES for name in AGAINST))

Property = Literal["esol", "freesolv", "lipophilicity", "bbbp", "bace"]
"""What features are probed for: MoleculeNet's small sets."""

MOST_MOLECULES = 100_000
"""From one model: whoever verifies an entry draws so many again, and compares each with each."""

# Printable text in one line, without what could be taken for markup or turn the reading direction around.
CLEAN = r"^[^<>\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=CLEAN)]
LongText = Annotated[str, StringConstraints(max_length=2000, pattern=CLEAN)]
Key = Annotated[str, StringConstraints(max_length=40, pattern=r"^[a-z][a-z0-9._-]*$")]
Link = Annotated[
    str, StringConstraints(max_length=300, pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[A-Za-z0-9._~/%+@=-]*$")
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16,64}$")]


class Network(Record):
    """Shape of a transformer, from which its parameters and FLOPs follow."""

    layers: int = Field(ge=1, le=1000)
    width: int = Field(ge=1, le=65_536)
    heads: int = Field(ge=1, le=1024)
    vocabulary_size: int = Field(ge=2, le=65_536)
    """Rows of the embedding."""


class Checkpoint(Record):
    """The trained model: `config.json` and `model.safetensors` in a folder beside the entry, or elsewhere."""

    weights_sha256: Sha256
    """Of model.safetensors."""
    config_sha256: Sha256
    """Of config.json."""
    url: Link | None = None
    """Address of a folder with both files; without one they lie in `<submitter>-<date>/<run>/` beside the entry."""


class Generation(Record):
    """Molecules drawn from a model, and what they are like by the metrics of MOSES."""

    molecules: int = Field(ge=1, le=MOST_MOLECULES)
    """That were drawn."""
    seed: int = Field(ge=0, lt=2**31)
    """Of the draws."""
    temperature: float = Field(gt=0, le=100)
    top_k: int = Field(ge=0, le=65_536)
    top_p: float = Field(gt=0, le=1)
    reference_digest: Digest
    """Of the test molecules that they are compared with."""
    chemnet: bool
    """Whether ChemNet was there; without it there is no Frechet distance."""
    metrics: dict[Annotated[str, Field(max_length=60)], Annotated[float, Field(ge=0, lt=1e40)]]
    """By the name that `generate` logs."""

    @model_validator(mode="after")
    def _metrics_are_known(self) -> Self:
        unknown, missing = sorted(set(self.metrics) - set(DRAWN)), sorted(set(OF_MOLECULES) - set(self.metrics))
        if unknown or missing:
            raise ValueError(
                f"metrics of drawn molecules must hold {', '.join(OF_MOLECULES)}, and besides only those against a set "
                f"of test molecules, got {unknown[0][:60] if unknown else f'no {missing[0]}'}"
            )
        return self


class Probe(Record):
    """What a model's features tell of one property, by `probe` with its own pooling, layer and splits.

    RMSE in the property's unit, or of two classes the area under the ROC curve: means over splits by scaffold.
    """

    molecules: int = Field(ge=1, le=100_000)
    """Of the set, that the model can read."""
    linear: float = Field(ge=0, lt=1e6)
    """Of ridge or logistic regression."""
    linear_untrained: float = Field(ge=0, lt=1e6)
    """The same on the features of the network that the run began with."""
    neighbours: float = Field(ge=0, lt=1e6)
    """Of the five nearest neighbours."""
    rogi_xd: float = Field(ge=0, le=1)
    """Roughness of the property over the features."""


class Result(Record):
    """What a run reached at one budget."""

    budget: Count
    """Training tokens seen (language model), or training frames in the set (force field)."""
    metrics: dict[Annotated[str, Field(max_length=60)], Positive]
    """By the name that the run logs, which ends in the unit."""
    generation: Generation | None = None
    """What the language model of that budget draws, if that was measured."""
    probes: dict[Property, Probe] | None = Field(None, min_length=1)
    """What its features are worth, if that was measured."""
    motion: Motion | None = None
    """How the force field moves its molecule, if that was measured."""


class Run(Record):
    """One training, of one size with one seed."""

    run: Identifier
    """Id of the MLflow run, and of its rows in the curves."""
    seed: int = Field(ge=0, lt=2**31)
    non_embedding_params: Count
    network: Network | None = None
    """Needed for chemgpt."""
    results: tuple[Result, ...] = Field(min_length=1, max_length=64)
    """By budget, ascending."""
    units_trained: Count
    """Tokens or frames that passed through training, decays to every budget included."""
    train_seconds: Positive
    """Wall time of training, without validation."""
    units_per_s: Positive
    """Tokens or frames trained on per second of that time."""
    flops_total: Positive | None = None
    """Training FLOPs of all that passed."""
    mfu: float | None = Field(None, gt=0, le=1)
    """Share of the GPUs' dense bf16 peak; none on other devices."""
    energy_kj: Positive | None = None
    """Energy by a hardware counter, validation included; none where there is no counter."""
    energy_source: Literal["nvml", "rapl", "unavailable"] = "unavailable"
    """Which counter."""
    device: Text
    """Product name of the GPU, or of the processor."""
    gpus: int = Field(ge=0, le=100_000)
    """GPUs that shared the training; 0 on a processor."""
    cpus: int = Field(ge=1, le=10_000)
    """Processor cores that the run could use."""
    arithmetic: Text
    """Precision of forward and backward passes."""
    code_commit: str = Field(pattern=r"^([0-9a-f]{40}|unknown)$")
    """Commit of this project that trained."""
    code_dirty: bool | None = None
    """Whether the code differed from that commit; none if there was no commit, as in an installed wheel."""
    software: dict[Key, Text] = Field(max_length=32)
    """Versions of the packages that matter."""
    settings: dict[Key, Annotated[str, StringConstraints(max_length=200, pattern=CLEAN)]] = Field(max_length=64)
    """Parameters as the run logged them."""
    checkpoint: Checkpoint | None = None

    @model_validator(mode="after")
    def _budgets_ascend(self) -> Self:
        budgets = [result.budget for result in self.results]
        if budgets != sorted(set(budgets)):
            raise ValueError(f"budgets of a run must ascend, got {budgets[:5]} in run {self.run}")
        return self


class Entry(Record):
    """An entry of the leaderboard."""

    version: Literal[1]
    """Of this format."""
    family: Family
    task: str = Field(max_length=100, pattern=r"^[a-z0-9][a-z0-9._@-]*$")
    """Name of a task in benchmarks/, with `@molecule` for a force field and `@file` for the submitter's own data."""
    task_digest: Digest
    """Of the task on the data it was run on; entries are compared under one digest only."""
    data: Text
    """Named data set, or the submitter's file as the run was given it; it is never opened."""
    vocabulary: Literal["dataset", "smiles", "chemgpt"] | None = None
    """Of a language model."""
    molecule: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] | None = None
    """Of a force field."""
    data_digest: Sha256
    """Of the prepared data."""
    split_digest: Digest
    """Of the molecules or frames that the results were measured on."""
    model: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    submitter: Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=CLEAN)]
    date: datetime.date
    description: LongText = ""
    """What is special about it."""
    link: Link | None = None
    """Where to read more."""
    curves_sha256: Sha256
    """Of the parquet file beside the entry."""
    runs: tuple[Run, ...] = Field(min_length=1, max_length=2000)
    """All sizes and seeds."""
    foretold: Foretold | None = None
    """What the study wrote down of its largest runs before they began, if it did."""

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if not slug(self.submitter):
            raise ValueError(f"submitter must hold one of a-z or 0-9, for the file's name, got {self.submitter!r}")
        settings = [(run.non_embedding_params, run.seed, r.budget) for run in self.runs for r in run.results]
        ids = [run.run for run in self.runs]
        if len(set(ids)) < len(ids) or len(set(settings)) < len(settings):
            double = max(ids, key=ids.count) if len(set(ids)) < len(ids) else max(settings, key=settings.count)
            raise ValueError(f"every run, and every size, seed and budget, may appear once, got {double} again")
        allowed = RESULTS[self.family]
        for run in self.runs:
            for result in run.results:
                unknown = sorted(set(result.metrics) - set(allowed))
                if unknown or allowed[0] not in result.metrics:
                    raise ValueError(
                        f"metrics must hold {allowed[0]}, and besides only {', '.join(allowed[1:])}, "
                        f"got {', '.join(unknown)[:80] or 'none of that name'} in run {run.run}"
                    )
        language = self.family == "language_model"
        if not language and any(result.generation or result.probes for run in self.runs for result in run.results):
            raise ValueError("only language models draw molecules and have features, got those of a force field")
        if language and any(result.motion for run in self.runs for result in run.results):
            raise ValueError("only force fields move molecules, got the motion of a language model")
        if (self.vocabulary is None) == language or (self.molecule is None) != language:
            raise ValueError(
                "a language model must have a vocabulary, a force field a molecule, and neither the other, got "
                f"{self.vocabulary} and {self.molecule}"
            )
        return self

    @property
    def primary_metric(self) -> str:
        """What the board ranks."""
        return RESULTS[self.family][0]

    @property
    def stem(self) -> str:
        """Name of the entry's files, without ending."""
        return f"{slug(self.submitter)}-{self.date.isoformat()}"

    @property
    def identity(self) -> str:
        """Path below leaderboard/entries, without ending."""
        return f"{self.task}/{self.model}/{self.stem}"


def slug(name: str) -> str:
    """A name as part of a path: lower-case ASCII letters and digits, hyphens between."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
