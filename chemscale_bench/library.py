"""What a notebook calls: `import chemscale_bench as cs`, then `cs.fit(...)` and so on; loaded when first asked for.

Nothing here prints results or exits; what a user can put right is raised as a `UserError`. Data that are prepared for
the first time show their progress on standard error.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from chemscale_bench import tasks
from chemscale_bench.errors import UserError
from chemscale_bench.settings.fit import FitSettings
from chemscale_bench.settings.training import TrainingSettings

if TYPE_CHECKING:
    from chemscale_bench.evaluation.loaded import TrainedForceField, TrainedLanguageModel
    from chemscale_bench.runs.study_result import StudyResult
    from chemscale_bench.scaling.analysis import Analysis

LOSS: str = FitSettings.model_fields["metric"].default


def list_tasks() -> pd.DataFrame:
    """The tasks of the benchmark, one row each, by name.

    Example:
        >>> import chemscale_bench as cs
        >>> cs.list_tasks().loc["embedded-lm", ["family", "primary_metric"]].to_list()
        ['language_model', 'val/loss_nats_per_token']
    """
    rows = {name: tasks.load(name).model_dump() | {"digest": tasks.load(name).digest} for name in tasks.names()}
    table = pd.DataFrame.from_dict(rows, orient="index").drop(columns="name").rename_axis("task")
    budgets = table.pop("budgets_tokens").fillna(table.pop("budgets_frames"))
    table.insert(1, "budgets", budgets)
    return table


def read_runs(experiment: str, metric: str = LOSS) -> pd.DataFrame:
    """The finished runs of an MLflow experiment or of a study, one row for each run and budget.

    Args:
        experiment: its name, or the run id of a study.
        metric: what becomes the column `loss`; of force fields `test/force_mae_mev_per_angstrom`.

    Returns:
        Columns params, tokens (or frames), loss, seed, task, model, task_digest, run_id; `attrs["left_out"]` counts
        the runs that are not in it, by reason. `fit` takes it as it is.

    Raises:
        UserError: if there is no such experiment in this tracking store.
    """
    from chemscale_bench.leaderboard.sources import read_experiment

    table, left_out = read_experiment(experiment, metric)
    table.attrs["left_out"] = left_out
    return table


def fit(
    runs: pd.DataFrame | str | Path, *, task: str = "", model: str = "", task_digest: str = "", metric: str = LOSS,
    level: float = 0.9, replicates: int = 1000,
) -> Analysis:  # fmt: skip
    """Fit all scaling laws to runs: what the command `fit` prints and draws, as an object.

    Args:
        runs: a table with columns params, tokens (or frames), loss; the path of one, .csv or .parquet; or an MLflow
            experiment or study, as in `read_runs`.
        task: only the runs of this task.
        model: only the runs of this kind of model.
        task_digest: only the runs of this version of the task.
        metric: of an experiment, what to fit.
        level: of the intervals.
        replicates: bootstrap refits behind them.

    Returns:
        The laws in `joint` and `forecast`, every number in `numbers()`, the report in `text()`, plotly figures by name
        in `figures()`, what can't be told in `refusals`.

    Raises:
        UserError: if there are no such runs, or they are not fit for a fit.

    Example:
        >>> import chemscale_bench as cs, pandas as pd
        >>> sizes = [(params, tokens) for params in (1e4, 1e5, 1e6, 1e7) for tokens in (1e6, 1e7, 1e8)]
        >>> runs = pd.DataFrame(sizes, columns=["params", "tokens"])
        >>> runs["loss"] = 0.5 + 5 * runs["params"] ** -0.2 + 20 * runs["tokens"] ** -0.3
        >>> law = cs.fit(runs, replicates=100).joint
        >>> round(law.params_exponent_, 2), round(law.tokens_exponent_, 2)
        (0.2, 0.3)
    """
    from chemscale_bench.leaderboard.sources import read, table_of
    from chemscale_bench.scaling.analysis import analyse

    chosen = {"task": task, "model": model, "task_digest": task_digest, "metric": metric, "level": level}
    chosen |= {"replicates": replicates, "log": False}
    if isinstance(runs, pd.DataFrame):
        from_store = "left_out" in runs.attrs
        left_out = runs.attrs["left_out"] if from_store else {}
        table = table_of(runs, left_out, settings_of(chosen), "the table", typed=not from_store)
    else:
        is_file = isinstance(runs, Path) or runs.endswith((".csv", ".parquet"))
        table = read(settings_of(chosen | {"table" if is_file else "experiment": str(runs)}))
    return analyse(table, level, replicates)


def settings_of(chosen: dict[str, Any]) -> FitSettings:
    """The settings of the verb `fit`, validated."""
    settings = FitSettings.read(chosen, "fit")
    assert isinstance(settings, FitSettings)
    return settings


class Run(NamedTuple):
    """A run that has been trained."""

    run_id: str
    """Of MLflow; `load` takes it."""
    metric: str
    """What `reached` holds."""
    reached: dict[int, float]
    """The metric at every budget: by training tokens, or of a force field at the end of its steps."""


def train(model: str = "chemgpt", **parameters: Any) -> Run:
    """Train one model, tracked as one MLflow run, as the commands `language` and `forcefield` do.

    Ctrl-C asks for a clean end, as there; what it says then names the run to go on with, by `resume`.

    Args:
        model: chemgpt, llama or lstm; or a force field: painn, schnet, mace, spookynet, allegro or nequip.
        **parameters: of that command, such as task, params, tokens, seed; `chemscale language --help` explains them.

    Raises:
        UserError: if a parameter breaks a rule, or the run can't be tracked.
        KeyboardInterrupt: if it was asked to stop; its state is saved.

    Example:
        >>> import chemscale_bench as cs, mlflow, pandas as pd
        >>> alcohols = [f"{'C' * left}C(O){'C' * right}" for left in range(1, 16) for right in range(1, 16)]
        >>> pd.DataFrame({"smiles": alcohols}).to_csv("alcohols.csv", index=False)  # or leave `data` out
        >>> run = cs.train("llama", task="embedded-lm", data="alcohols.csv", params=1e4, tokens=3000, device="cpu")
        >>> list(run.reached), run.reached[3000] < 4
        ([3000], True)
        >>> some = ["CCO", "c1ccccc1", "no molecule"]  # benzene has symbols that the alcohols have not
        >>> of_some = cs.load(run.run_id).loss(some)
        >>> of_some > 0
        array([ True, False, False])
        >>> model = mlflow.pyfunc.load_model(f"runs:/{run.run_id}/model")
        >>> bool(model.predict(pd.DataFrame({"smiles": some}))["nats_per_molecule"][0] == of_some[0])
        True
    """
    from chemscale_bench.models.registry import FORCE_FIELDS
    from chemscale_bench.runs.force import ForceRun
    from chemscale_bench.runs.language import LanguageRun
    from chemscale_bench.runs.start import start

    kind, verb = (ForceRun, "forcefield") if model in FORCE_FIELDS else (LanguageRun, "language")
    settings = kind.SETTINGS.read({"model": model, **parameters}, verb)
    assert isinstance(settings, TrainingSettings)
    if settings.seeds > 1:
        raise UserError(f"seeds must be 1 here, got {settings.seeds}; call it for each seed, or use the command {verb}")
    run, exit_code = start(settings, kind, prints=False)
    if exit_code:
        raise KeyboardInterrupt
    return Run(run.run_id, kind.METRIC, run.reached)


def study(task: str = "pubchem10m-lm", *, prints: bool = False, **parameters: Any) -> StudyResult:
    """Train what a scaling law needs and fit it, tracked as a run with a child for each training, as `study` does.

    The same call goes on with a study that was interrupted, and reads one that is complete.

    Args:
        task: of language models or of force fields.
        prints: whether it shows its progress, and what it found, as the command does.
        **parameters: of that command, such as hours or params, tokens, seeds, model; `chemscale study --help` explains
            them.

    Returns:
        The runs in `table`, the joint law in `law`, larger runs in `forecast`, what can't be told in `refusals`; the
        report in `text()`, every number in `numbers()`, plotly figures in `figures()` and `figure(name)`.

    Raises:
        UserError: if a parameter breaks a rule, or the study can't be tracked.
        KeyboardInterrupt: if it was asked to stop; its state is saved.

    Example:
        >>> import chemscale_bench as cs
        >>> alcohols = [f"{'C' * left}C(O){'C' * right}" for left in range(1, 16) for right in range(1, 16)]
        >>> pd.DataFrame({"smiles": alcohols}).to_csv("alcohols.csv", index=False)  # or leave `data` out
        >>> given = {"data": "alcohols.csv", "model": "llama", "device": "cpu"}
        >>> found = cs.study("embedded-lm", params=[1e4, 3e4], tokens=3000, **given)
        >>> found.table["tokens"].to_list(), found.trainings
        ([3000.0, 3000.0], 2)
        >>> found.refusals["joint law"][:50]  # two sizes are too few
        'JointLaw needs at least 3 different params, got 2 '
    """
    from chemscale_bench.runs.study import Study
    from chemscale_bench.settings.study import StudySettings

    settings = StudySettings.read({"task": task, **parameters}, "study")
    assert isinstance(settings, StudySettings)
    if "," in settings.model:
        raise UserError(
            f"model must be one here, got {settings.model!r}; call it for each, or use the command study to compare"
        )
    if settings.dry_run:
        raise UserError("dry_run must be left out here, got True; use the command study to see what it would train")
    work = Study(settings, prints)
    if work.run():
        raise KeyboardInterrupt
    return work.found


def load(model: str | Path, device: str = "cpu") -> TrainedLanguageModel | TrainedForceField:
    """The trained model of a run.

    Args:
        model: the run's id, an MLflow address of its model as `runs:/RUN/model`, or a folder.
        device: where it computes, `cpu` or `cuda`.

    Returns:
        Of a language model with its `loss(smiles)`, nats of each molecule, `sample(n)` and `embed(smiles)`; of a force
        field with an ASE `calculator()`.

    Raises:
        UserError: if there is no such model.

    Example:
        >>> import ase.build, chemscale_bench as cs
        >>> entries = Path("leaderboard/entries/embedded-ff@ethanol")  # of a checkout, with their checkpoints
        >>> folder = next(entries.rglob("model.safetensors")).parent
        >>> ethanol = ase.build.molecule("CH3CH2OH")
        >>> ethanol.calc = cs.load(folder).calculator()
        >>> ethanol.get_forces().shape
        (9, 3)
    """
    from chemscale_bench.evaluation.loaded import load as load_folder
    from chemscale_bench.tracking.store import download_model

    folder = Path(model)
    return load_folder(folder if folder.is_dir() else download_model(str(model)), device)
