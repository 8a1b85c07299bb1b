"""The checkpoint of a run or in a folder, and the data that it was trained on."""

from __future__ import annotations

from typing import NamedTuple

from chemscale_bench import tasks
from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import TokenStore
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.checkpoints import RUN_ID, Checkpoint, load
from chemscale_bench.tasks import LanguageTask
from chemscale_bench.tracking.store import open_store

SETTINGS = ("task", "data", "vocabulary", "budgets_tokens")


class Data(NamedTuple):
    """What a model was trained on."""

    task: LanguageTask
    source: str
    """Data set or path."""
    column: str
    """Of the path, where the user has named it."""
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
            self.source, vocabulary=self.task.vocabulary, train_tokens=self.tokens, column=self.column,
            validation_molecules=self.task.validation_molecules,
        )  # fmt: skip
        if self.train_digest and self.train_digest != store.train.digest:
            raise UserError(
                f"run must find the data that it was trained on, {self.source} has changed since; give the file as it "
                "was, or the folder of the checkpoint, without a task"
            )
        return store


def find(run: str, task: str = "", artifact: str = "model") -> tuple[Checkpoint, Data | None]:
    """The checkpoint of a run of this tracking store, or of a folder, and its data, if they are known.

    Args:
        run: id, path, or name on the Hugging Face hub.
        task: that a folder's model was trained on.
        artifact: of a run, as `checkpoints.load` takes it.

    Raises:
        UserError: if there is none, or it is no language model with its vocabulary.
    """
    if task and RUN_ID.fullmatch(run):
        raise UserError(f"task must be left out for a run, which knows its own, got {task!r}; leave it out")
    open_store()  # as all verbs do: with little patience for a server that is away, and no half-made database
    checkpoint = load(run, artifact=artifact)
    if task:
        typed = tasks.load_language(task)
        return checkpoint, Data(typed, typed.data, "", typed.budgets_tokens[-1], "")
    chosen = checkpoint.params
    if not all(name in chosen for name in SETTINGS):
        return checkpoint, None
    trained = tasks.load_language(chosen["task"]).with_data(chosen["data"], chosen["vocabulary"])
    source = trained.data if chosen["data"] == "auto" else chosen["data"]
    tokens = int(chosen["budgets_tokens"].split()[-1])
    digest = checkpoint.tags.get("data.train_digest", "")
    return checkpoint, Data(trained, source, chosen.get("column", ""), tokens, digest)


def kept_budgets(run: str) -> list[int]:
    """The budgets in tokens whose models a run has kept beside its last one, ascending.

    Raises:
        UserError: if it is no run.
    """
    if not RUN_ID.fullmatch(run):
        raise UserError(f"budget=all needs the id of a run, got run={run}; leave budget out for a folder")
    open_store()
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        found = mlflow.MlflowClient().list_artifacts(run, "models")
    except MlflowException:
        return []  # of a run that is not there `find` has more to say
    return sorted(int(name) for file in found if (name := file.path.rpartition("/")[2]).isdigit())


def losses_at(run: str, budget: int) -> dict[str, float]:
    """The validation losses that a run had at one of its budgets."""
    import mlflow

    client = mlflow.MlflowClient()
    names = ("val/loss_nats_per_token", "val/nats_per_molecule", "val/bits_per_heavy_atom")
    histories = {name: client.get_metric_history(run, name) for name in names}
    return {name: each.value for name, history in histories.items() for each in history if each.step == budget}
