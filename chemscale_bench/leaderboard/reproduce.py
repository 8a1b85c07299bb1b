"""Whether an entry's checkpoints give the results that it states, on the pinned split.

Only JSON and safetensors are read, and a network is built only once the file is as large as its weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chemscale_bench import tasks
from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.consistent import task_of
from chemscale_bench.leaderboard.entry import Entry, Family, Run
from chemscale_bench.leaderboard.files import MOST_JSON_BYTES, Loaded, read, shown
from chemscale_bench.tasks import LanguageTask

TOLERANCE = {"32-true": 2e-4, "bf16-mixed": 5e-3}
"""Share by which a loss may differ when it is computed again in fp32, by the arithmetic it was stated in."""
GPT_NEO_KEYS = frozenset(
    """architectures model_type activation_function attention_dropout attention_layers attention_types bos_token_id
    embed_dropout eos_token_id hidden_size initializer_range intermediate_size layer_norm_epsilon
    max_position_embeddings num_heads num_layers pad_token_id resid_dropout tie_word_embeddings torch_dtype vocab_size
    window_size""".split()  # noqa: SIM905
)
"""What the config.json of our checkpoints holds; a key beyond, such as auto_map, asks for more than weights."""
MOST_HEADER_BYTES = 1 << 20


class NotReproduced(UserError):
    """A checkpoint is missing, altered, malformed, or gives another result."""


def check(loaded: Loaded, checkpoints: Path | None = None, data: str = "") -> None:
    """Compute the primary metric of every checkpoint of an entry again.

    The entry's best run must be among them.

    Args:
        loaded: a consistent entry.
        checkpoints: folder with `RUN/config.json` and `RUN/model.safetensors`; by default the one beside the entry.
        data: the submitter's own data file, where the task is on one.

    Raises:
        NotReproduced: with the first run that fails, and how.
        UserError: if the data are not to be had.
    """
    entry = loaded.entry
    with_checkpoint = [run for run in entry.runs if run.checkpoint is not None]
    if best_run(entry) not in with_checkpoint:
        raise NotReproduced(f"the best run must have a checkpoint, run {best_run(entry).run} has none; publish it")
    elsewhere = [run.checkpoint.url for run in with_checkpoint if run.checkpoint is not None and run.checkpoint.url]
    if elsewhere and checkpoints is None:
        raise NotReproduced(
            f"checkpoints must be at hand, nothing is fetched for you; download {elsewhere[0]} into FOLDER/RUN and "
            "verify with checkpoints=FOLDER"
        )
    folder = checkpoints or loaded.path.with_suffix("")
    for run in with_checkpoint:
        check_files(run, folder / run.run)
    MEASURE[entry.family](entry, with_checkpoint, folder, data)


def best_run(entry: Entry) -> Run:
    """The run with the best primary metric at its last budget."""
    return min(entry.runs, key=lambda run: run.results[-1].metrics[entry.primary_metric])


def check_files(run: Run, folder: Path) -> None:
    """The checkpoint of a run is the one that its entry names."""
    assert run.checkpoint is not None
    if folder.is_symlink():
        raise NotReproduced(f"the checkpoint of run {run.run} must lie in a plain folder, got a link; copy it")
    config, weights = folder / "config.json", folder / "model.safetensors"
    if hashlib.sha256(read(config, MOST_JSON_BYTES)).hexdigest() != run.checkpoint.config_sha256:
        raise NotReproduced(f"config.json of run {run.run} must have the sha256 that the entry states, it has not")
    if weights.is_symlink() or not weights.is_file():
        raise NotReproduced(f"model.safetensors of run {run.run} must be a plain file, got none; add it")
    with weights.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != run.checkpoint.weights_sha256:
            raise NotReproduced(
                f"model.safetensors of run {run.run} must have the sha256 that the entry states, it has not"
            )


def read_config(path: Path) -> dict[str, Any]:
    """A checkpoint's config.json."""
    try:
        config = json.loads(read(path, MOST_JSON_BYTES))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise NotReproduced(f"config.json must be a JSON object, got something else in {path.parent.name}")
    return config


def check_agrees(run: Run, metric: str, stated: float, found: float) -> None:
    """Compare a metric with what the entry says."""
    tolerance = TOLERANCE.get(run.arithmetic, min(TOLERANCE.values()))
    if not abs(found - stated) <= tolerance * stated:
        raise NotReproduced(
            f"{metric} of run {run.run} must be {stated:.6g} within {tolerance:.2%}, its checkpoint gives {found:.6g}"
        )


# -- language models ---------------------------------------------------------------------------------------------


def check_gpt_neo(run: Run, folder: Path) -> None:
    """The config asks for GPT-Neo weights and nothing else, and the file is as large as they are."""
    config = read_config(folder / "config.json")
    unknown = sorted(set(config) - GPT_NEO_KEYS)
    if unknown:
        raise NotReproduced(f"config.json may hold only what GPT-Neo needs, got {shown(unknown[0])} in run {run.run}")
    network = run.network
    stated = network and (network.layers, network.width, network.heads, network.vocabulary_size)
    found = tuple(config.get(key) for key in ("num_layers", "hidden_size", "num_heads", "vocab_size"))
    if stated != found or not all(type(value) is int for value in found):
        raise NotReproduced(f"config.json must be of the network {stated}, got {shown(found)} in run {run.run}")
    assert network is not None
    positions = config.get("max_position_embeddings")
    embedding = network.width * (network.vocabulary_size + (positions if type(positions) is int else 0))
    weights = 4 * (run.non_embedding_params + embedding)
    size = (folder / "model.safetensors").stat().st_size
    if not weights <= size <= weights + MOST_HEADER_BYTES:
        raise NotReproduced(f"model.safetensors must hold {weights:,} bytes of weights, got {size:,} in run {run.run}")


def measure_language(entry: Entry, runs: list[Run], folder: Path, data: str) -> None:
    """Validation loss of language models, by the code that trained them."""
    from chemscale_bench.data.prepare import prepare
    from chemscale_bench.models.chemgpt import load_pretrained
    from chemscale_bench.training.language import validate

    if entry.model != "chemgpt":
        raise NotReproduced(f"only chemgpt can be loaded here, got {entry.model}; add the model to the project first")
    task = task_of(entry)
    assert isinstance(task, LanguageTask)
    for run in runs:
        check_gpt_neo(run, folder / run.run)
    if task.data != tasks.load_language(entry.task.partition("@")[0]).data and not data:
        raise NotReproduced(f"the data are the submitter's own file, {shown(entry.data)}; give yours as data=FILE")
    largest = max(result.budget for run in runs for result in run.results)
    store = prepare(
        data or task.data, vocabulary=task.vocabulary, train_tokens=largest,
        validation_molecules=task.validation_molecules,
    )  # fmt: skip
    if (store.digest, store.validation.digest) != (entry.data_digest, entry.split_digest):
        raise NotReproduced(
            f"the data must have the digest {entry.data_digest[:16]}, split {entry.split_digest[:16]}, here they are "
            f"{store.digest[:16]} and {store.validation.digest[:16]}; use the versions that the entry names"
        )
    for run in runs:
        model = load_pretrained(folder / run.run).eval()
        found = validate(model, store.validation, store.vocabulary.start_id, "cpu").metrics[entry.primary_metric]
        check_agrees(run, entry.primary_metric, run.results[-1].metrics[entry.primary_metric], found)


def measure_force(entry: Entry, runs: list[Run], folder: Path, data: str) -> None:
    """Test errors of force fields."""
    raise NotReproduced("force fields are not computed again yet")


MEASURE: dict[Family, Callable[[Entry, list[Run], Path, str], None]] = {
    "language_model": measure_language,
    "force_field": measure_force,
}
