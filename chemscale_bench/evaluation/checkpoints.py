"""A trained language model by the id of its run, its folder, or its name on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chemscale_bench.data.opening import user_path
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.models import hub
from chemscale_bench.models.language_models import family_of
from chemscale_bench.models.logged import fetch_model, find_run
from chemscale_bench.models.packed import LanguageModel
from chemscale_bench.models.registry import FORCE_FIELDS, LANGUAGE_MODELS
from chemscale_bench.shell import unquoted

RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Checkpoint:
    """A network in evaluation mode, with the vocabulary that it was trained on."""

    network: LanguageModel
    vocabulary: Vocabulary
    model: str
    """Name of its family."""
    run_id: str = ""
    """Of the run that trained it; empty if nobody knows."""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of that run."""


def load(run: str | Path, untrained: bool = False, artifact: str = "model") -> Checkpoint:
    """Load a trained model, or the same network as it was before training.

    Args:
        run: id of a finished run, a folder with a checkpoint and its tokenizer.json, or a name on the hub.
        untrained: take fresh random weights: of a run those of its seed, with which it began unless it had `init`; of a
            folder those of seed 0.
        artifact: of a run: `model`, or `models/TOKENS` for the model of an earlier budget.

    Raises:
        UserError: if there is no such run or checkpoint, or it is of no language model.
    """
    if not run:
        raise UserError("run must be the id of a run or the folder of a checkpoint, got nothing; `mlflow ui` shows ids")
    if RUN_ID.fullmatch(str(run)) and not user_path(str(run)).is_dir():
        return of_run(str(run), untrained, artifact)
    if artifact != "model":
        raise UserError(f"the model of an earlier budget needs the id of a run, got run={run}; leave budget out")
    return of_folder(folder_of(str(run)), untrained, {})


def of_folder(folder: Path, untrained: bool, params: Mapping[str, str]) -> Checkpoint:
    """The checkpoint in a folder; `params` are those of the run that trained it, as far as they are known."""
    name = family_of(folder, "run")
    family, vocabulary = LANGUAGE_MODELS.family(name), Vocabulary.load_pretrained(folder)
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
        network = before_training(name, network, int(params.get("seed", "0")), params)
    return Checkpoint(network.eval().requires_grad_(False), vocabulary, name)


def before_training(name: str, network: LanguageModel, seed: int, params: Mapping[str, str]) -> LanguageModel:
    """The same network with the weights that a run of this seed and these parameters begins with."""
    family = LANGUAGE_MODELS.family(name)
    options: dict[str, Any] = {option: params[option] for option in family.OPTIONS if option in params}
    fresh: LanguageModel = family.untrained(network.config, seed, **options)
    return fresh


def folder_of(source: str) -> Path:
    """The folder of a checkpoint, given by its path, by that of a run's artifacts, or by its name on the hub."""
    path = user_path(source)
    if (path / "model" / "config.json").is_file():
        return path / "model"
    if path.is_dir():
        return path
    try:
        return hub.checkpoint_folder(source)
    except UserError as error:
        raise UserError(str(error).replace("init must be", "run must be the id of a run,", 1)) from None


def of_run(run_id: str, untrained: bool, artifact: str) -> Checkpoint:
    """The checkpoint of a run of this store."""
    run = find_run(run_id)
    params = unquoted(run.data.params)
    if (kind := params.get("model", "")) in FORCE_FIELDS:
        raise UserError(f"run must be of a language model, {run_id} is of the force field {kind}; give another")
    with TemporaryDirectory() as temporary:
        found = of_folder(fetch_model(run_id, temporary, artifact=artifact), untrained, params)
    return Checkpoint(found.network, found.vocabulary, found.model, run_id, params, run.data.metrics, run.data.tags)
