"""The library's functions that train, tracked as the commands are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from chemscale_bench.errors import UserError

if TYPE_CHECKING:
    from chemscale_bench.runs.study_result import StudyResult
    from chemscale_bench.runs.sweep_report import Tuned


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
        prints: whether it prints what it trains and what it found, as the command does; a progress bar it has anyway.
        **parameters: of that command, such as hours or params, tokens, seeds, model; `chemscale study --help` explains
            them.

    Returns:
        The runs in `table`, the joint law in `law`, larger runs in `forecast`, what can't be told in `refusals`; the
        report in `text()`, every number in `numbers()`, plotly figures in `figures()` and `figure(name)`.

    Raises:
        UserError: if a parameter breaks a rule, or the study can't be tracked.
        KeyboardInterrupt: if it was asked to stop; its state is saved.

    Example:
        >>> import chemscale_bench as cs, pandas as pd
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
    for name in ("model", "vocabulary"):
        if "," in (given := getattr(settings, name)):
            raise UserError(
                f"{name} must be one here, got {given!r}; call it for each, or use the command study to compare"
            )
    if settings.dry_run:
        raise UserError("dry_run must be left out here, got True; use the command study to see what it would train")
    work = Study(settings, prints)
    if work.run():
        raise KeyboardInterrupt
    return work.found


def tune(task: str = "pubchem10m-lm", *, prints: bool = False, **parameters: Any) -> Tuned:
    """Search hyperparameters and stop the losers, tracked as a run with a child for each trial, as `tune` does.

    The same call goes on with a search that was interrupted, and reads one that is complete.

    Args:
        task: of language models or of force fields.
        prints: whether it prints its trials and what it found, as the command does; a progress bar it has anyway.
        **parameters: of that command, such as model, trials, params, tokens, pruner; `chemscale tune --help` explains
            them.

    Returns:
        A row for each trial in `table`, Optuna's study in `study`, the report in `text()`, every number in `numbers()`,
        plotly figures in `figures()` and `figure(name)`.

    Raises:
        UserError: if a parameter breaks a rule, or the search can't be tracked.
        KeyboardInterrupt: if it was asked to stop; its trials are kept.

    Example:
        >>> import chemscale_bench as cs, pandas as pd
        >>> alcohols = [f"{'C' * left}C(O){'C' * right}" for left in range(1, 16) for right in range(1, 16)]
        >>> pd.DataFrame({"smiles": alcohols}).to_csv("alcohols.csv", index=False)  # or leave `data` out
        >>> size = {"params": 1e4, "tokens": 3000, "batch_tokens": 256}
        >>> found = cs.tune("embedded-lm", data="alcohols.csv", model="llama", trials=2, device="cpu", **size)
        >>> found.table["state"].to_list(), "learning_rate" in found.study.best_params
        (['COMPLETE', 'COMPLETE'], True)
    """
    from chemscale_bench.runs.sweep import Sweep
    from chemscale_bench.settings.tune import TuneSettings

    settings = TuneSettings.read({"task": task, **parameters}, "tune")
    work = Sweep(settings, prints)
    if work.run():
        raise KeyboardInterrupt
    return work.found
