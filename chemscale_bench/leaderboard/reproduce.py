"""Whether an entry's checkpoints give the results that it states, on the pinned split.

Only JSON and safetensors are read, and a network is built only once the file is as large as its weights.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chemscale_bench import tasks
from chemscale_bench.data.download import file_sha256
from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import regenerate, reprobe, resimulate
from chemscale_bench.leaderboard.consistent import task_of
from chemscale_bench.leaderboard.entry import Entry, Family, Run
from chemscale_bench.leaderboard.files import MOST_JSON_BYTES, Loaded, read, shown
from chemscale_bench.models.force_recipe import RECIPES, recipe_called
from chemscale_bench.models.registry import FORCE_FIELDS, LANGUAGE_MODELS, TOLERANCE
from chemscale_bench.settings.base import MOST_LAYERS
from chemscale_bench.tasks import ForceTask, LanguageTask, Task

if TYPE_CHECKING:
    from chemscale_bench.data.store import TokenStore

LOSS_TOLERANCE = {"32-true": 2e-4, "bf16-mixed": 5e-3}
"""Share by which a loss may differ when it is computed again in fp32, by the arithmetic it was stated in."""
FORCE_TOLERANCE = 1e-3
"""The same for force errors."""
FORCE_FIELD_KEYS = frozenset(
    ("model", "config", "elements", "reference_ev", "numbers", "task", "data_digest", "charge", "unpaired",
     "atomic_reference_ev")
)  # fmt: skip
"""What `force_fields.save` writes for a run."""
OF_A_FILE = ("energy_unit", "length_unit", "force_unit", "energy_key", "forces_key")
MOST_HEADER_BYTES = 1 << 20
MOST_TABLES_BYTES = 16 << 20
"""Of the tables of elements and constants that a force field carries beside its weights."""


class Copies(NamedTuple):
    """The verifier's own files, in place of what lies elsewhere."""

    checkpoints: Path | None = None
    """Folder with `RUN/config.json` and `RUN/model.safetensors`; by default the one beside the entry."""
    data: str = ""
    """Data file, where the task is on one, or official frames."""
    test_data: str = ""
    """Test frames, where they are in a file of their own."""


NO_COPIES = Copies()


class NotReproduced(UserError):
    """A checkpoint is missing, altered, malformed, or gives another result."""


def check(loaded: Loaded, copies: Copies = NO_COPIES) -> None:
    """Compute every metric of every checkpoint of an entry again, and what the cheapest draws, is worth or moves.

    The entry's best run must be among them.

    Args:
        loaded: a consistent entry.
        copies: read in place of what the entry and its task name.

    Raises:
        NotReproduced: with the first run that fails, and how.
        UserError: if the data are not to be had.
    """
    entry = loaded.entry
    with_checkpoint = [run for run in entry.runs if run.checkpoint is not None]
    if best_run(entry) not in with_checkpoint:
        raise NotReproduced(f"the best run must have a checkpoint, run {best_run(entry).run} has none; publish it")
    for again in (regenerate, reprobe, resimulate):
        again.chosen(entry)  # refuses before anything is computed
    elsewhere = [run.checkpoint.url for run in with_checkpoint if run.checkpoint is not None and run.checkpoint.url]
    if elsewhere and copies.checkpoints is None:
        raise NotReproduced(
            f"checkpoints must be at hand, nothing is fetched for you; download {elsewhere[0]} into FOLDER/RUN and "
            "verify with checkpoints=FOLDER"
        )
    folder = copies.checkpoints or loaded.path.with_suffix("")
    for run in with_checkpoint:
        check_files(run, folder / run.run)
    MEASURE[entry.family](entry, with_checkpoint, folder, copies)


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
    if file_sha256(weights) != run.checkpoint.weights_sha256:
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


def needs_file(entry: Entry, task: Task, copies: Copies) -> None:
    """Data that only the submitter has named have to be given by whoever verifies."""
    if task.data != tasks.load(entry.task.partition("@")[0]).data and not copies.data:
        raise NotReproduced(f"the data are the submitter's own file, {shown(entry.data)}; give yours as data=FILE")


def same_data(entry: Entry, data_digest: str, split_digest: str) -> None:
    """The data here are those of the entry."""
    if (data_digest, split_digest) != (entry.data_digest, entry.split_digest):
        raise NotReproduced(
            f"the data must have the digests {entry.data_digest[:16]} and {entry.split_digest[:16]} (split), here they "
            f"have {data_digest[:16]} and {split_digest[:16]}; use the package versions that the entry names"
        )


def check_agrees(run: Run, found: dict[str, float], tolerance: float) -> None:
    """Compare every metric that the entry states of a checkpoint."""
    for name, stated in run.results[-1].metrics.items():
        again = found.get(name, math.nan)
        if not abs(again - stated) <= tolerance * stated:
            wanted = f"{stated:.6g} within {tolerance:.2%}"
            raise NotReproduced(f"{name} of run {run.run} must be {wanted}, computed again it is {again:.6g}")


def check_language_model(model: str, run: Run, folder: Path) -> None:
    """The config asks for the stated network's weights and nothing else, and the file is as large as they are."""
    family, record = LANGUAGE_MODELS.family(model), read_config(folder / "config.json")
    unknown = sorted(set(record) - family.CONFIG_KEYS)
    if unknown:
        raise NotReproduced(f"config.json may hold only what {model} needs, got {shown(unknown[0])} in run {run.run}")
    stated, found = run.network and run.network.model_dump(), family.sizes_of(record)
    if stated != found or not all(type(value) is int for value in found.values()):
        raise NotReproduced(f"config.json must be of the network {stated}, got {shown(found)} in run {run.run}")
    weights = family.weight_bytes(family.stated(found))
    size = (folder / "model.safetensors").stat().st_size
    if not weights <= size <= weights + MOST_HEADER_BYTES:
        raise NotReproduced(f"model.safetensors must hold {weights:,} bytes of weights, got {size:,} in run {run.run}")


def measure_language(entry: Entry, runs: list[Run], folder: Path, copies: Copies) -> None:
    """Validation loss of language models, by the code that trained them."""
    from chemscale_bench.data.prepare import prepare
    from chemscale_bench.evaluation import ngram
    from chemscale_bench.training.language import validate

    if entry.model not in LANGUAGE_MODELS:
        raise NotReproduced(
            f"only {', '.join(LANGUAGE_MODELS.names)} can be loaded here, got {entry.model}; install the "
            "package that adds it, or add the model to the project first"
        )
    task = task_of(entry)
    assert isinstance(task, LanguageTask)
    for run in runs:
        check_language_model(entry.model, run, folder / run.run)
    needs_file(entry, task, copies)

    def data(tokens: int) -> TokenStore:
        return prepare(
            copies.data or task.data, vocabulary=task.vocabulary, train_tokens=tokens,
            validation_molecules=task.validation_molecules, column=runs[0].settings.get("column", ""),
        )  # fmt: skip

    store = data(max(result.budget for run in runs for result in run.results))
    same_data(entry, store.digest, store.validation.digest)
    for run in runs:
        model = LANGUAGE_MODELS.family(entry.model).load_pretrained(folder / run.run).eval()
        found = validate(model, store.validation, store.vocabulary.start_id, "cpu").metrics()
        found["baseline/trigram_nats_per_token"] = ngram.validation_loss(store, run.results[-1].budget)
        check_agrees(run, found, LOSS_TOLERANCE.get(run.arithmetic, min(LOSS_TOLERANCE.values())))
    if drawn := regenerate.chosen(entry):
        model = LANGUAGE_MODELS.family(entry.model).load_pretrained(folder / drawn.run).eval()
        # Novelty is against what this run has read.
        regenerate.check(drawn, model, data(drawn.results[-1].budget), task.data == "moses")
    if probed := reprobe.chosen(entry):
        model = LANGUAGE_MODELS.family(entry.model).load_pretrained(folder / probed.run).eval()
        reprobe.check(probed, entry.model, model, store.vocabulary)


def measure_force(entry: Entry, runs: list[Run], folder: Path, copies: Copies) -> None:
    """Test errors of force fields, by the code that trained them."""
    import torch

    from chemscale_bench.data.frames import prepare_frames
    from chemscale_bench.data.references import ReferenceEnergies, fit_reference
    from chemscale_bench.models import force_fields
    from chemscale_bench.training.forces import measure
    from chemscale_bench.training.mixed_frames import baseline_of, on_device

    task = task_of(entry)
    assert isinstance(task, ForceTask)
    needs_file(entry, task, copies)
    for run in runs:
        chosen = run.settings
        try:
            split, train, cutoff = int(chosen["split"]), int(chosen["train_frames"]), float(chosen["cutoff"])
        except (KeyError, ValueError):
            raise NotReproduced(f"settings must hold split, train_frames and cutoff, see run {run.run}") from None
        frames = prepare_frames(
            copies.data or task.data, molecule=task.molecules, split=1 if copies.test_data else split,
            train_size=train, validation_frames=task.validation_frames, test_frames=task.test_frames,
            test_data=copies.test_data, cutoff=cutoff,
            **{name: chosen.get(name, "") for name in OF_A_FILE if copies.data},
        )  # fmt: skip
        same_data(entry, frames.digest, frames.test.digest)
        elements = tuple(int(number) for number in np.unique(frames.train.numbers))
        check_force_field(entry, run, folder / run.run, elements, cutoff)
        potential, record = force_fields.load(folder / run.run)
        if (chosen.get("forces") == "predicted") != potential.DIRECT:
            raise NotReproduced(f"forces must be predicted if those of the model are, run {run.run} says otherwise")
        test = on_device(
            frames.test, cutoff, ReferenceEnergies.from_record(record), torch.device("cpu"), potential.scale.dtype
        )
        nothing = baseline_of(frames.train, frames.test, fit_reference(frames.train)[0])
        check_agrees(run, measure(potential, test).metrics("test") | nothing.baseline_metrics, FORCE_TOLERANCE)
    if moved := resimulate.chosen(entry):
        resimulate.check(moved, folder / moved.run, frames.test)  # which all runs have in common


def check_force_field(entry: Entry, run: Run, folder: Path, elements: tuple[int, ...], cutoff: float) -> None:
    """The config is the one that the run's settings lead to, so that nothing of the file decides how much is built."""
    from chemscale_bench.models import force_fields

    FORCE_FIELDS.check(entry.model)
    config = read_config(folder / "config.json")
    if unknown := sorted(set(config) - FORCE_FIELD_KEYS):
        raise NotReproduced(
            f"config.json may hold only what a force field needs, got {shown(unknown[0])} in run {run.run}"
        )
    size = (folder / "model.safetensors").stat().st_size
    if not 4 * run.non_embedding_params <= size <= 16 * run.non_embedding_params + MOST_TABLES_BYTES:
        raise NotReproduced(f"model.safetensors must hold {run.non_embedding_params:,} weights, got {size:,} bytes")
    wanted, depth = run.settings.get("params", ""), run.settings.get("depth", "auto")
    if depth not in ("auto", *map(str, range(1, MOST_LAYERS + 1))):
        raise NotReproduced(f"depth must be auto or 1 to {MOST_LAYERS}, got {shown(depth)} in run {run.run}")
    if (name := run.settings.get("recipe", "quick")) not in RECIPES:
        raise NotReproduced(f"recipe must be {' or '.join(RECIPES)}, got {shown(name)} in run {run.run}")
    recipe = recipe_called(name, entry.model)._replace(cutoff=cutoff)
    changes = recipe.changes(wanted != "auto", "auto" if depth == "auto" else int(depth))
    if wanted == "auto":
        expected = force_fields.default_config(entry.model, **changes)
    elif wanted.isdigit() and 0.9 < int(wanted) / run.non_embedding_params < 1.1:
        expected = force_fields.config_for(entry.model, int(wanted), elements, **changes)
    else:
        raise NotReproduced(f"params must be about {run.non_embedding_params:,}, got {shown(wanted)} in run {run.run}")
    made = {"layers": expected.layers} | {name: value for name, value in changes.items() if name != "width"}
    built = round(force_fields.size_polynomial(entry.model, elements, **made)(expected.width))
    if abs(built / run.non_embedding_params - 1) < TOLERANCE:  # no larger than the weights, so that it can be built
        built = force_fields.size_of(entry.model, expected.width, elements, **made)
    ours = entry.model in (*FORCE_FIELDS.modules, *FORCE_FIELDS.of_degrees)  # of packages any may be no quadratic
    if ours and built != run.non_embedding_params:
        raise NotReproduced(f"{entry.model} has {built:,} parameters, run {run.run} says {run.non_embedding_params:,}")
    about = {"model": entry.model, "elements": list(elements), "config": json.loads(json.dumps(asdict(expected)))}
    for key, value in about.items():
        if config.get(key) != value:
            raise NotReproduced(f"{key} of config.json must be {value}, got {shown(config.get(key))} in run {run.run}")
    if not isinstance(config.get("reference_ev"), float) or not math.isfinite(config["reference_ev"]):
        raise NotReproduced(f"reference_ev must be a number, got {shown(config.get('reference_ev'))} in run {run.run}")
    atomic = config.get("atomic_reference_ev", dict.fromkeys(map(str, elements), 0.0))
    if not (
        isinstance(atomic, dict) and set(atomic) == set(map(str, elements))
        and all(isinstance(energy, float) and math.isfinite(energy) for energy in atomic.values())
    ):  # fmt: skip
        raise NotReproduced(
            f"atomic_reference_ev must have a number for each of {list(elements)}, got {shown(atomic)} in run {run.run}"
        )


MEASURE: dict[Family, Callable[[Entry, list[Run], Path, Copies], None]] = {
    "language_model": measure_language,
    "force_field": measure_force,
}
