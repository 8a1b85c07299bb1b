"""A trained language model by the id of its run, its folder, or its name on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chemscale_bench.data import chemgpt
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.models import hub
from chemscale_bench.models.language_models import family_of
from chemscale_bench.models.packed import LanguageModel

RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Checkpoint:
    """A network in evaluation mode, with the vocabulary that it was trained on."""

    network: LanguageModel
    vocabulary: Vocabulary


def load(run: str | Path, untrained: bool = False) -> Checkpoint:
    """Load a trained model, or the same network as it was before training.

    Args:
        run: id of a finished run, a folder with a checkpoint and its tokenizer.json, or a name on the hub.
        untrained: take fresh weights: those of the run's seed, with which it began unless it had an `init`; of a
            folder those of seed 0.

    Raises:
        UserError: if there is no such run or checkpoint, or it is of no language model.
    """
    params: dict[str, str] = {}
    if not Path(run).is_dir() and RUN_ID.fullmatch(str(run)):
        folder, params = of_run(str(run))
    else:
        folder = folder_of(str(run))
    family = family_of(folder, "run")
    try:
        vocabulary = chemgpt.read(folder / "tokenizer.json")
    except ValueError as error:
        raise UserError(
            f"run must have a tokenizer.json with the symbols of the model, got {folder} ({error}); put the one that "
            "it was trained with there"
        ) from None
    try:
        network: LanguageModel = family.load_pretrained(folder)
    except UserError as error:
        raise UserError(str(error).replace("init must", "run must", 1)) from None
    if network.config.vocabulary_size != vocabulary.size:
        raise UserError(
            f"run must have a tokenizer.json of its {network.config.vocabulary_size} symbols, got {vocabulary.size} "
            f"in {folder}; put the one that it was trained with there"
        )
    if untrained:
        options: dict[str, Any] = {name: params[name] for name in family.OPTIONS if name in params}
        network = family.untrained(network.config, int(params.get("seed", "0")), **options)
    return Checkpoint(network.eval().requires_grad_(False), vocabulary)


def folder_of(source: str) -> Path:
    """The folder of a checkpoint, given by its path, by that of a run's artifacts, or by its name on the hub."""
    if not source:
        raise UserError("run must be the id of a run or the folder of a checkpoint, got nothing; `mlflow ui` shows ids")
    path = Path(source).expanduser()
    if (path / "model" / "config.json").is_file():
        return path / "model"
    if path.is_dir():
        return path
    try:
        return hub.checkpoint_folder(source)
    except UserError as error:
        raise UserError(str(error).replace("init must be", "run must be the id of a run,", 1)) from None


def of_run(run_id: str) -> tuple[Path, dict[str, str]]:
    """The folder of a run's checkpoint, and the run's parameters."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # beside our own
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        run = mlflow.get_run(run_id)
    except MlflowException:
        raise UserError(
            f"run must be the id of a run of this store, got {run_id!r}; check it and MLFLOW_TRACKING_URI"
        ) from None
    try:
        folder = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="model"))
    except (MlflowException, OSError):
        raise UserError(
            f"run must have a model among its artifacts, {run_id} has none (it is {run.info.status}); give a finished "
            "run of a language model, or the folder of a checkpoint"
        ) from None
    return folder, dict(run.data.params)
