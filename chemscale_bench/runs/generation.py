"""Molecules of a trained model, tracked as one MLflow run: drawn, decoded, measured, shown."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rdkit import Chem
from rdkit.Chem import Draw

from chemscale_bench.data.smiles import codec_for
from chemscale_bench.data.spelling import spell
from chemscale_bench.data.store import TokenStore
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import chemnet, generation, moses
from chemscale_bench.evaluation.checkpoints import Checkpoint
from chemscale_bench.evaluation.chemistry import READERS, Read, in_parallel
from chemscale_bench.evaluation.chemnet import Gaussian
from chemscale_bench.evaluation.generation import Distribution, progress_bar
from chemscale_bench.evaluation.moses import Reference
from chemscale_bench.evaluation.sampling import Drawing, Samples, sample
from chemscale_bench.places import PROJECT
from chemscale_bench.runs.checkpoint import Data, find, kept_budgets, losses_at
from chemscale_bench.settings.generate import GenerateSettings
from chemscale_bench.tracking.housekeeping import housekeeping_run
from chemscale_bench.tracking.provenance import code_tags, environment_tags
from chemscale_bench.tracking.recorder import Recorder
from chemscale_bench.training.devices import evaluation_device

SHOWN, COLUMNS = 24, 6
REFERENCE = 10_000  # test molecules that others are compared with
ENOUGH = generation.UNIQUE_AT[0]  # valid molecules, for the smallest metric of MOSES
PUBLISHED_AS = ("valid", "unique_at_10k", "fcd_test", "novelty", "internal_diversity_1")
"""Our names of the columns of published rows."""


class References:
    """The molecules that drawn ones are compared with, each set measured once: models of one task share theirs."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.measured: dict[str, dict[str, Reference]] = {}
        self.told = False

    def of(self, store: TokenStore, of_moses: bool) -> dict[str, Reference]:
        """By name: the whole official test sets for models of MOSES, else the first test molecules.

        Without ChemNet the latter have no gaussian; without two molecules there is no set.
        """
        key = "moses" if of_moses else store.test.digest
        if key not in self.measured:
            self.measured[key] = {name: moses.reference(name) for name in moses.SETS} if of_moses else self.first(store)
        return self.measured[key]

    def first(self, store: TokenStore) -> dict[str, Reference]:
        """The first test molecules of a task."""
        with progress_bar("decoding test molecules", min(REFERENCE, len(store.test))) as bar:
            test = in_parallel(READERS[store.vocabulary.string], test_strings(store), bar.update)
        known = [each.smiles for each in test if each.smiles]
        if len(known) < 2:
            return {}
        distribution = Distribution.of_reference(known, "test molecules")
        return {"test": Reference(distribution, self.seen(known))}

    def seen(self, smiles: list[str]) -> Gaussian | None:
        """What ChemNet makes of molecules; without the package, None and, once, a line that says how to get it."""
        try:
            chemnet.check_installed()
        except UserError as error:
            if not self.told:
                say(str(error))
            self.told = True
            return None
        with progress_bar("Frechet ChemNet distance", len(smiles)) as bar:
            return chemnet.activations_of(smiles, self.device, bar.update)


def generate(settings: GenerateSettings) -> None:
    """Draw molecules, and log and print what they are like.

    Raises:
        UserError: if there is no such model, its data are not to be had, or none of its molecules is valid.
    """
    for budget in kept_budgets(settings.run) if settings.budget == "all" else ():
        generate_from(settings, *at_budget(settings.run, budget, settings.task), budget)
    try:
        checkpoint, data = find(settings.run, settings.task)
    except UserError as error:  # what may be given here, beside what any verb takes
        raise UserError(str(error).replace("be the id of a run,", "be an experiment, the id of a run,", 1)) from None
    generate_from(settings, checkpoint, data, data.tokens if data else 0)


def at_budget(run: str, budget: int, task: str = "") -> tuple[Checkpoint, Data | None]:
    """The model that a run has kept of one of its budgets, with its losses there, and its data."""
    checkpoint, data = find(run, task, f"models/{budget}")
    return replace(checkpoint, metrics=losses_at(run, budget)), data


def generate_from(settings: GenerateSettings, checkpoint: Checkpoint, data: Data | None, budget: int) -> None:
    """Draw from one model, of that budget in tokens if it is known, as one MLflow run."""
    device = evaluation_device(settings.device)
    with housekeeping_run("generate", settings.experiment) as run_id:
        recorder = Recorder(run_id)
        describe(recorder, settings, checkpoint, data, budget, device)
        store = data.prepare() if data else None
        of_moses = data is not None and data.task.data == "moses"
        found = metrics_of(recorder, settings, checkpoint, store, References(device), of_moses)
        recorder.metrics({f"generation/{name}": value for name, value in found.items()}, 0)
        losses = {name: value for name, value in checkpoint.metrics.items() if name.startswith("val/")}
        recorder.metrics({f"source/{name}": value for name, value in losses.items()}, 0)
        recorder.deliver()
        for name, value in found.items():
            print(f"{name:>28} {value:>12,.6g}")
        if of_moses:
            print("\n".join(["", *beside_published(checkpoint.model, found), ""]))
        print(f"molecules.smi and molecules.png are artifacts of MLflow run {run_id}; look at it with: mlflow ui")


def describe(
    recorder: Recorder, settings: GenerateSettings, checkpoint: Checkpoint, data: Data | None, budget: int,
    device: torch.device,
) -> None:  # fmt: skip
    """Log what is drawn from."""
    config = checkpoint.network.config
    about = {"model": checkpoint.model, "non_embedding_params": config.non_embedding_params, **config.sizes}
    if data:
        about |= {"task_name": data.task.name, "tokens": budget}
    recorder.params(settings.model_dump() | about)
    name = f"generate-{checkpoint.model}-{config.non_embedding_params:.2g}-seed{settings.seed}"
    tags = {"source_run": checkpoint.run_id or settings.run, "mlflow.runName": name}
    recorder.tags(tags | code_tags() | environment_tags(device))


def metrics_of(
    recorder: Recorder, settings: GenerateSettings, checkpoint: Checkpoint, store: TokenStore | None,
    references: References, of_moses: bool, place: str = "",
) -> dict[str, float]:  # fmt: skip
    """Draw, log the molecules in the folder `place`, and measure them; of MOSES against its own test sets."""
    device, start = references.device, time.perf_counter()
    drawing = Drawing(settings.temperature, settings.top_k, settings.top_p)
    with progress_bar("drawing", settings.molecules) as bar:
        drawn = sample(
            checkpoint.network.to(device), checkpoint.vocabulary, settings.molecules, seed=settings.seed,
            drawing=drawing, progress=bar.update,
        )  # fmt: skip
    seconds = time.perf_counter() - start
    with progress_bar("decoding", len(drawn.strings)) as bar:
        read = in_parallel(READERS[checkpoint.vocabulary.string], drawn.strings, bar.update)
    smiles = [each.smiles for each in read if each.smiles]
    counts = counts_of(settings.molecules, drawn, read) | {"molecules_per_s": settings.molecules / seconds}
    if drawn.unfinished:
        say(f"{drawn.unfinished:,} of {settings.molecules:,} molecules did not end, and are left out")
    if not smiles:
        raise UserError(
            f"some of the molecules must be valid, got none of {settings.molecules:,}; draw more, or train longer"
        )
    log_molecules(recorder, drawn, read, place)
    if len(smiles) < ENOUGH:
        say(f"{len(smiles):,} molecules are valid: unique_at_1k is that of all, and everything else depends on so few")
    ours = Distribution.of(smiles, "what was drawn")
    counts |= generation.own_metrics(smiles, ours)
    if store is None:
        say("of a folder nothing is known but the model: task=NAME adds novelty and the comparison with a test set")
        return counts
    counts["novelty"] = generation.novelty(spelled(smiles, store.vocabulary), tokens_of(store))
    known = references.of(store, of_moses) if len(smiles) > 1 else {}
    if not known:
        say(f"{len(smiles)} molecules can't be compared with {len(store.test)} test molecules: two of each are needed")
        return counts
    seen = references.seen(smiles)
    for name, reference in known.items():
        counts |= generation.metrics_against(ours, reference.distribution, name)
        if seen and reference.gaussian:
            counts[f"fcd_{name}"] = chemnet.frechet_distance(seen, reference.gaussian)
    return counts


def counts_of(molecules: int, drawn: Samples, read: list[Read]) -> dict[str, float]:
    """How many there are, as numbers and as shares of all that were drawn."""
    valid = sum(bool(each.smiles) for each in read)
    return {
        "molecules": molecules, "unfinished": drawn.unfinished, "valid": valid / molecules,
        "raw_valid": sum(each.raw_valid for each in read) / molecules, "tokens": drawn.tokens,
        "nats_per_token": sum(drawn.nats) / max(1, drawn.tokens),
    }  # fmt: skip


def log_molecules(recorder: Recorder, drawn: Samples, read: list[Read], place: str) -> None:
    """Log `molecules.smi`, canonical SMILES, tab, nats, and a picture of the first ones."""
    valid = [(each.smiles, nats) for each, nats in zip(read, drawn.nats, strict=True) if each.smiles]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "molecules.smi").write_text("".join(f"{smiles}\t{nats:.4f}\n" for smiles, nats in valid))
        grid = Draw.MolsToGridImage(
            [Chem.MolFromSmiles(smiles) for smiles, _ in valid[:SHOWN]], molsPerRow=COLUMNS, subImgSize=(220, 180),
            legends=[f"{nats:.1f} nats" for _, nats in valid[:SHOWN]], returnPNG=True,
        )  # fmt: skip
        (folder / "molecules.png").write_bytes(grid if isinstance(grid, bytes) else grid.data)
        recorder.client.log_artifacts(recorder.run_id, temporary, place or None)


def spelled(smiles: list[str], vocabulary: Vocabulary) -> list[bytes]:
    """Tokens of molecules as training data have them, the end included; by these they are told apart.

    What the vocabulary can't spell is in no training set: it stays as it is.
    """
    found = spell(smiles, vocabulary, codec_for(vocabulary.string))
    words = np.split(found.ids.astype(np.uint16), found.lengths.cumsum()[:-1])
    return [
        np.append(word, np.uint16(vocabulary.end_id)).tobytes() if len(word) else each.encode()
        for word, each in zip(words, smiles, strict=True)
    ]


def tokens_of(store: TokenStore) -> Iterator[bytes]:
    """The training molecules, as `spelled` has them."""
    with progress_bar("novelty", len(store.train)) as bar:
        for sequence in store.train.sequences():
            yield sequence.tobytes()
            bar.update()


def test_strings(store: TokenStore) -> list[str]:
    """The first test molecules: a uniform sample of them, as a source is read in a random order."""
    sequences = zip(store.test.sequences(), range(REFERENCE), strict=False)
    return [store.vocabulary.decode(sequence.tolist()) for sequence, _ in sequences]


def published() -> dict[str, dict[str, float]]:
    """The published metrics of models of MOSES, by our names; those that a paper gives."""
    rows = json.loads((PROJECT / "leaderboard" / "published" / "moses.json").read_text())["rows"]
    return {
        model: {name: value for name, value in zip(PUBLISHED_AS, values, strict=True) if value is not None}
        for model, *values in rows
    }


def beside_published(model: str, found: dict[str, float]) -> list[str]:
    """A table of these metrics and the published ones."""
    columns = json.loads((PROJECT / "leaderboard" / "published" / "moses.json").read_text())["columns"]
    rows = {f"{model} (this run)": found} | published()
    cells = [[name, *(f"{row[key]:.4f}" if key in row else "" for key in PUBLISHED_AS)] for name, row in rows.items()]
    return ["".join(f"{cell:>20}" for cell in row) for row in (columns, *cells)]


def say(message: str) -> None:
    """Tell the user."""
    print(f"note: {message}", file=sys.stderr, flush=True)
