"""The checkpoint of a run or in a folder: its language model, its vocabulary, and the data that it was trained on."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from chemscale_bench import tasks
from chemscale_bench.data.opening import user_path
from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import TokenStore
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.models.language_models import load_checkpoint
from chemscale_bench.models.packed import LanguageModel
from chemscale_bench.models.registry import FORCE_FIELDS
from chemscale_bench.tasks import LanguageTask
from chemscale_bench.tracking.store import open_store

SETTINGS = ("task", "data", "vocabulary", "budgets_tokens")


class Data(NamedTuple):
    """What a model was trained on."""

    task: LanguageTask
    source: str
    """Data set or path."""
    tokens: int
    """Of training."""
    train_digest: str
    """Of its training molecules; empty where nobody has written it down."""

    def prepare(self) -> TokenStore:
        """The very molecules.

        Raises:
            UserError: if they are not to be had, or are no longer those of the run.
        """
        store = prepare(
            self.source, vocabulary=self.task.vocabulary, train_tokens=self.tokens,
            validation_molecules=self.task.validation_molecules,
        )  # fmt: skip
        if self.train_digest and self.train_digest != store.train.digest:
            raise UserError(
                f"run must find the data that it was trained on, {self.source} has changed since; give the file as it "
                "was, or the folder of the checkpoint, without a task"
            )
        return store


class Checkpoint(NamedTuple):
    """A trained language model."""

    family: str
    """Name of its kind."""
    model: LanguageModel
    vocabulary: Vocabulary
    data: Data | None
    """None where nothing is known of it."""
    run_id: str
    """Of the run that trained it; empty for a folder."""
    losses: dict[str, float]
    """Metrics `val/...` of that run."""


def find(run: str, task: str = "") -> Checkpoint:
    """The checkpoint of a run of this tracking store, or of a folder.

    Args:
        run: id, or path.
        task: that a folder's model was trained on.

    Raises:
        UserError: if there is none, or it is no language model with its vocabulary.
    """
    if not run:
        raise UserError("run must be the id of a run or the folder of a checkpoint, got nothing; `mlflow ui` shows ids")
    folder = user_path(run)
    if not folder.is_dir():
        if task:
            raise UserError(f"task must be left out for a run, which knows its own, got {task!r}; leave it out")
        return of_run(run)
    data = None
    if task:
        chosen = tasks.load_language(task)
        data = Data(chosen, chosen.data, chosen.budgets_tokens[-1], "")
    return of_folder(folder)._replace(data=data)


def of_folder(folder: Path) -> Checkpoint:
    """The checkpoint in a folder; of its data nothing is known."""
    family, model = load_checkpoint(folder)
    return Checkpoint(family, model, Vocabulary.load_pretrained(folder), None, "", {})


def of_run(run_id: str) -> Checkpoint:
    """The checkpoint of a run."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        run = open_store().get_run(run_id)
    except MlflowException:
        raise UserError(
            f"run must be the id of a run of this store or the folder of a checkpoint, got {run_id!r}; check it and "
            "MLFLOW_TRACKING_URI"
        ) from None
    chosen = run.data.params
    if (kind := chosen.get("model", "")) in FORCE_FIELDS:
        raise UserError(f"run must be of a language model, {run_id} is of the force field {kind}; give another")
    with TemporaryDirectory() as temporary:
        try:
            folder = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="model", dst_path=temporary)
        except (MlflowException, OSError):
            raise UserError(
                f"run must have a checkpoint, {run_id} ({run.info.status}) has none; give a finished run of `language` "
                "or `chemgpt`, or one of a study's children"
            ) from None
        found = of_folder(Path(folder))
    losses = {name: value for name, value in run.data.metrics.items() if name.startswith("val/")}
    data = None
    if all(name in chosen for name in SETTINGS):
        task = tasks.load_language(chosen["task"]).with_data(chosen["data"], chosen["vocabulary"])
        source = task.data if chosen["data"] == "auto" else chosen["data"]
        tokens = int(chosen["budgets_tokens"].split()[-1])
        data = Data(task, source, tokens, run.data.tags.get("data.train_digest", ""))
    return found._replace(data=data, run_id=run_id, losses=losses)
