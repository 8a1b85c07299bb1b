"""The verb `replay`: grade pruners on recorded curves, from a file or an MLflow experiment."""

from __future__ import annotations

from chemscale_bench.data.opening import output_file, output_path, user_path
from chemscale_bench.errors import UserError
from chemscale_bench.runs.result import Result, Told
from chemscale_bench.settings.replay import ReplaySettings
from chemscale_bench.tracking.adoption import launched_run
from chemscale_bench.tracking.housekeeping import housekeeping_run
from chemscale_bench.tuning import recorded
from chemscale_bench.tuning.figures import predicted_against_final, pruners_compared
from chemscale_bench.tuning.named import check_pruners
from chemscale_bench.tuning.replay import frame, grade, prediction_table, predictions, table


def replay(settings: ReplaySettings) -> None:
    """Print the table, write it where asked, and log table and figures to a housekeeping run."""
    made = None if settings.log and launched_run() else make(settings)
    if settings.log:
        with housekeeping_run("replay") as run_id:
            log(run_id, settings, made or make(settings))


def make(settings: ReplaySettings, prints: bool = True) -> Result:
    """The grades, told and drawn."""
    names = [name.strip() for name in settings.pruners.split(",") if name.strip()]
    check_pruners(names)
    if bool(settings.curves) == bool(settings.experiment):
        raise UserError(
            f"give one source of curves, got curves={settings.curves!r} and experiment={settings.experiment!r}; use "
            "curves=FILE for recorded ones, or experiment=NAME for the children of studies"
        )
    out = output_file(settings.out) if settings.out else None
    curves = (
        recorded.read(str(user_path(settings.curves)))
        if settings.curves
        else recorded.from_experiment(settings.experiment, settings.metric)
    )
    graded = grade(
        curves, names, trials=settings.trials, studies=settings.studies, seed=settings.seed, stress=settings.stress
    )
    foretold = predictions(curves)
    told, count = Told(prints), len(curves.values)
    told(
        f"{count} curves" + f" ({curves.left_out} that did not run to the end are left out)" * bool(curves.left_out)
        + f"; {settings.studies} studies of {min(settings.trials, count)} trials, stress: {settings.stress}"
    )  # fmt: skip
    if settings.trials >= count:
        told("note: all studies have the same trials, in another order: intervals do not tell how others would fare")
    told(f"{table(graded)}\n\n{prediction_table(curves.name, foretold)}")
    if out:
        frame(graded).to_csv(out, index=False)
    figures = {"pruners": pruners_compared(graded), "prediction": predicted_against_final(foretold[0.2], "value")}
    numbers = {f"saved_percent/{one.pruner}": one.saved_percent for one in graded}
    numbers |= {f"kept_percent/{one.pruner}": one.kept_percent for one in graded}
    return Result(frame(graded), told, numbers, figures, "")


def log(run_id: str, settings: ReplaySettings, found: Result) -> None:
    """Log what was graded, how, and the result."""
    from chemscale_bench.tracking.recorder import Recorder

    recorder = Recorder(run_id)
    recorder.params(settings.model_dump(exclude={"log"}))
    recorder.metrics(found.numbers(), 0)
    recorder.deliver()
    recorder.client.log_text(run_id, found.table.to_csv(index=False), "replay.csv")
    for name, figure in found.figures().items():
        recorder.figure(figure, f"figures/{name}.html")
    print(
        f"logged to MLflow run {run_id}"
        + (f"; table in {output_path(settings.out).absolute()}" if settings.out else "")
    )
