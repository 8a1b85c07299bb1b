"""Molecules of a trained model, tracked as one MLflow run: drawn, decoded, measured, shown."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from PIL import Image
from rdkit import Chem
from rdkit.Chem import Draw

from chemscale_bench.data.store import TokenStore
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.checkpoints import Checkpoint
from chemscale_bench.evaluation.drawn import References, draw, metrics_of, reference_digest
from chemscale_bench.evaluation.sampling import Drawing
from chemscale_bench.places import PROJECT
from chemscale_bench.runs.checkpoint import Data, find, kept_budgets, losses_at
from chemscale_bench.runs.result import Result, Told
from chemscale_bench.settings.generate import GenerateSettings
from chemscale_bench.tracking.housekeeping import housekeeping_run
from chemscale_bench.tracking.looking import look_at
from chemscale_bench.tracking.provenance import code_tags, environment_tags
from chemscale_bench.tracking.recorder import Recorder
from chemscale_bench.training.devices import evaluation_device

SHOWN, COLUMNS = 24, 6
PUBLISHED = {
    "valid": "valid", "unique_at_10k": "unique@10k", "fcd_test": "FCD test", "fcd_test_scaffolds": "FCD scaffolds",
    "novelty": "novelty", "internal_diversity_1": "IntDiv",
}  # fmt: skip
"""Metrics that stand beside published ones, and what these call them."""


def generate(settings: GenerateSettings, prints: bool = True) -> Result:
    """Draw molecules, and log and print what they are like; gives what was found of the last budget.

    Raises:
        UserError: if there is no such model, its data are not to be had, or none of its molecules is valid.
    """
    for budget in kept_budgets(settings.run) if settings.budget == "all" else ():
        generate_from(settings, *at_budget(settings.run, budget, settings.task), budget, prints)
    try:
        checkpoint, data = find(settings.run, settings.task)
    except UserError as error:  # what may be given here, beside what any verb takes
        raise UserError(str(error).replace("be the id of a run,", "be an experiment, the id of a run,", 1)) from None
    return generate_from(settings, checkpoint, data, data.tokens if data else 0, prints)


def at_budget(run: str, budget: int, task: str = "") -> tuple[Checkpoint, Data | None]:
    """The model that a run has kept of one of its budgets, with its losses there, and its data."""
    checkpoint, data = find(run, task, f"models/{budget}")
    return replace(checkpoint, metrics=losses_at(run, budget)), data


def generate_from(
    settings: GenerateSettings, checkpoint: Checkpoint, data: Data | None, budget: int, prints: bool = True
) -> Result:
    """Draw from one model, of that budget in tokens if it is known, as one MLflow run."""
    device, told = evaluation_device(settings.device), Told(prints)
    with housekeeping_run("generate", settings.experiment) as run_id:
        recorder = Recorder(run_id)
        describe(recorder, settings, checkpoint, data, budget, device)
        store = data.prepare() if data else None
        of_moses = data is not None and data.task.data == "moses"
        found, valid = measured(recorder, settings, checkpoint, store, References(device), of_moses)
        recorder.tags({"reference_digest": reference_digest(store, of_moses)})
        recorder.metrics({f"generation/{name}": value for name, value in found.items()}, 0)
        losses = {name: value for name, value in checkpoint.metrics.items() if name.startswith("val/")}
        recorder.metrics({f"source/{name}": value for name, value in losses.items()}, 0)
        recorder.deliver()
        told("\n".join(f"{name:>28} {value:>12,.6g}" for name, value in found.items()))
        if of_moses:
            told("\n".join(["", *beside_published(checkpoint.model, found), ""]))
        told(
            f"molecules.smi and molecules.png are artifacts of MLflow run {run_id}; look at it with: {look_at(run_id)}"
        )
    numbers = {f"generation/{name}": value for name, value in found.items()}
    return Result(valid, told, numbers, {"molecules": Image.open(BytesIO(picture(valid)))}, run_id)


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


def measured(
    recorder: Recorder, settings: GenerateSettings, checkpoint: Checkpoint, store: TokenStore | None,
    references: References, of_moses: bool, place: str = "",
) -> tuple[dict[str, float], pd.DataFrame]:  # fmt: skip
    """Draw, log the molecules in the folder `place`, and measure them; of MOSES against its own test sets.

    Returns:
        Their metrics, and the valid ones: columns smiles, nats.
    """
    drawing = Drawing(settings.temperature, settings.top_k, settings.top_p)
    drawn = draw(
        checkpoint.network, checkpoint.vocabulary, settings.molecules, settings.seed, drawing, references.device
    )
    pairs = [(each.smiles, nats) for each, nats in zip(drawn.read, drawn.samples.nats, strict=True) if each.smiles]
    valid = pd.DataFrame(pairs, columns=["smiles", "nats"])
    log_molecules(recorder, valid, place)
    return metrics_of(drawn, store, references, of_moses), valid


def log_molecules(recorder: Recorder, valid: pd.DataFrame, place: str) -> None:
    """Log `molecules.smi`, canonical SMILES, tab, nats, and a picture of the first ones."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        valid.to_csv(folder / "molecules.smi", sep="\t", header=False, index=False, float_format="%.4f")
        (folder / "molecules.png").write_bytes(picture(valid))
        recorder.client.log_artifacts(recorder.run_id, temporary, place or None)


def picture(valid: pd.DataFrame) -> bytes:
    """The first molecules as a PNG, each with its nats."""
    first = valid.head(SHOWN)
    grid = Draw.MolsToGridImage(
        [Chem.MolFromSmiles(smiles) for smiles in first["smiles"]], molsPerRow=COLUMNS, subImgSize=(220, 180),
        legends=[f"{nats:.1f} nats" for nats in first["nats"]], returnPNG=True,
    )  # fmt: skip
    return grid if isinstance(grid, bytes) else bytes(grid.data)


def published() -> dict[str, dict[str, float]]:
    """The published metrics of models of MOSES, by our names; those that a paper gives."""
    rows = json.loads((PROJECT / "leaderboard" / "published" / "moses.json").read_text())["generated"]
    return {row.pop("model"): row for row in rows}


def beside_published(model: str, found: dict[str, float]) -> list[str]:
    """A table of these metrics and the published ones."""
    rows = {f"{model} (this run)": found} | published()
    cells = [[name, *(f"{row[key]:.4f}" if key in row else "" for key in PUBLISHED)] for name, row in rows.items()]
    return ["".join(f"{cell:>20}" for cell in row) for row in (["model", *PUBLISHED.values()], *cells)]
