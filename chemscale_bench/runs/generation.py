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

from chemscale_bench.data.codec import Codec
from chemscale_bench.data.spelling import spell
from chemscale_bench.data.store import TokenStore
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import chemnet, generation, moses
from chemscale_bench.evaluation.checkpoints import Checkpoint
from chemscale_bench.evaluation.chemistry import Read, in_parallel, read_selfies
from chemscale_bench.evaluation.chemnet import Gaussian
from chemscale_bench.evaluation.generation import Distribution, progress_bar
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


def generate(settings: GenerateSettings) -> None:
    """Draw molecules, and log and print what they are like.

    Raises:
        UserError: if there is no such model, its data are not to be had, or none of its molecules is valid.
    """
    for budget in kept_budgets(settings.run) if settings.budget == "all" else ():
        checkpoint, data = find(settings.run, settings.task, f"models/{budget}")
        generate_from(settings, replace(checkpoint, metrics=losses_at(settings.run, budget)), data, budget)
    checkpoint, data = find(settings.run, settings.task)
    generate_from(settings, checkpoint, data, data.tokens if data else 0)


def generate_from(settings: GenerateSettings, checkpoint: Checkpoint, data: Data | None, budget: int) -> None:
    """Draw from one model, of that budget in tokens if it is known, as one MLflow run."""
    device = evaluation_device(settings.device)
    with housekeeping_run("generate", settings.experiment) as run_id:
        recorder = Recorder(run_id)
        describe(recorder, settings, checkpoint, data, budget, device)
        store = data.prepare() if data else None
        of_moses = data is not None and data.task.data == "moses"
        found = metrics_of(recorder, settings, checkpoint, store, device, of_moses)
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
    device: torch.device, of_moses: bool,
) -> dict[str, float]:  # fmt: skip
    """Draw, log the molecules, and measure them; those of a model of MOSES against its own test sets."""
    start = time.perf_counter()
    drawing = Drawing(settings.temperature, settings.top_k, settings.top_p)
    with progress_bar("drawing", settings.molecules) as bar:
        drawn = sample(
            checkpoint.network.to(device), checkpoint.vocabulary, settings.molecules, seed=settings.seed,
            drawing=drawing, progress=bar.update,
        )  # fmt: skip
    seconds = time.perf_counter() - start
    with progress_bar("decoding", len(drawn.selfies)) as bar:
        read = in_parallel(read_selfies, drawn.selfies, bar.update)
    smiles = [each.smiles for each in read if each.smiles]
    counts = counts_of(settings.molecules, drawn, read) | {"molecules_per_s": settings.molecules / seconds}
    if drawn.unfinished:
        say(f"{drawn.unfinished:,} of {settings.molecules:,} molecules did not end, and are left out")
    if not smiles:
        raise UserError(
            f"some of the molecules must be valid, got none of {settings.molecules:,}; draw more, or train longer"
        )
    log_molecules(recorder, drawn, read)
    if len(smiles) < ENOUGH:
        say(f"{len(smiles):,} molecules are valid: unique_at_1k is that of all, and everything else depends on so few")
    ours = Distribution.of(smiles, "what was drawn")
    counts |= generation.own_metrics(smiles, ours)
    if store is None:
        say("of a folder nothing is known but the model: task=NAME adds novelty and the comparison with a test set")
        return counts
    counts["novelty"] = generation.novelty(spelled(smiles, store.vocabulary), tokens_of(store))
    if of_moses and len(smiles) > 1:
        return counts | against_moses(ours, smiles, device)
    with progress_bar("decoding test molecules", min(REFERENCE, len(store.test))) as bar:
        test = in_parallel(read_selfies, test_selfies(store), bar.update)
    known = [each.smiles for each in test if each.smiles]
    if min(len(smiles), len(known)) < 2:
        say(f"{len(smiles)} molecules can't be compared with {len(known)} test molecules: two of each are needed")
        return counts
    counts |= generation.metrics_against(ours, Distribution.of_reference(known, "test molecules"), "test")
    return counts | distance(smiles, known, device)


def counts_of(molecules: int, drawn: Samples, read: list[Read]) -> dict[str, float]:
    """How many there are, as numbers and as shares of all that were drawn."""
    valid = sum(bool(each.smiles) for each in read)
    return {
        "molecules": molecules, "unfinished": drawn.unfinished, "valid": valid / molecules,
        "raw_valid": sum(each.raw_valid for each in read) / molecules, "tokens": drawn.tokens,
        "nats_per_token": sum(drawn.nats) / max(1, drawn.tokens),
    }  # fmt: skip


def log_molecules(recorder: Recorder, drawn: Samples, read: list[Read]) -> None:
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
        recorder.client.log_artifacts(recorder.run_id, temporary)


def spelled(smiles: list[str], vocabulary: Vocabulary) -> list[bytes]:
    """Tokens of molecules as training data have them, the end included; by these they are told apart.

    What the vocabulary can't spell is in no training set: it stays as it is.
    """
    found = spell(smiles, vocabulary, Codec())
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


def test_selfies(store: TokenStore) -> list[str]:
    """The first test molecules: a uniform sample of them, as a source is read in a random order."""
    sequences = zip(store.test.sequences(), range(REFERENCE), strict=False)
    return [store.vocabulary.decode(sequence.tolist()) for sequence, _ in sequences]


def distance(smiles: list[str], known: list[str], device: torch.device) -> dict[str, float]:
    """The Frechet ChemNet distance to the test molecules; without its network, a line that says how to get it."""
    ours = chemnet_sees(smiles, device)
    theirs = chemnet_sees(known, device) if ours else None
    return {"fcd_test": chemnet.frechet_distance(ours, theirs)} if ours and theirs else {}


def against_moses(ours: Distribution, smiles: list[str], device: torch.device) -> dict[str, float]:
    """How alike the molecules are to the whole official test sets: what published rows say."""
    seen, found = chemnet_sees(smiles, device), dict[str, float]()
    for name in moses.SETS:
        reference = moses.reference(name)
        found |= generation.metrics_against(ours, reference.distribution, name)
        found |= {f"fcd_{name}": chemnet.frechet_distance(seen, reference.gaussian)} if seen else {}
    return found


def chemnet_sees(smiles: list[str], device: torch.device) -> Gaussian | None:
    """What ChemNet makes of molecules; without the package, None and a line that says how to get it."""
    try:
        chemnet.check_installed()
    except UserError as error:
        say(str(error))
        return None
    with progress_bar("Frechet ChemNet distance", len(smiles)) as bar:
        return chemnet.activations_of(smiles, device, bar.update)


def beside_published(model: str, found: dict[str, float]) -> list[str]:
    """A table of these metrics and the published ones."""
    published = json.loads((PROJECT / "leaderboard" / "published" / "moses.json").read_text())
    own = (found.get(name) for name in ("valid", "unique_at_10k", "fcd_test", "novelty", "internal_diversity_1"))
    cells = [[cell if isinstance(cell, str) else "" if cell is None else f"{cell:.4f}" for cell in row]
             for row in ([f"{model} (this run)", *own], *published["rows"])]  # fmt: skip
    return ["".join(f"{cell:>20}" for cell in row) for row in ([str(name) for name in published["columns"]], *cells)]


def say(message: str) -> None:
    """Tell the user."""
    print(f"note: {message}", file=sys.stderr, flush=True)
