"""The verb `fit`: scaling laws of logged runs or of a table."""

from __future__ import annotations

import json
import shlex
from typing import Any

from chemscale_bench.data.opening import output_folder, output_path
from chemscale_bench.leaderboard.sources import experiment_of, read, record_of, source_of
from chemscale_bench.scaling.analysis import Analysis, analyse
from chemscale_bench.scaling.figures import LOSS_TITLE
from chemscale_bench.settings.fit import FitSettings
from chemscale_bench.settings.runs import RunsSettings
from chemscale_bench.shell import typed
from chemscale_bench.tracking.adoption import launched_run
from chemscale_bench.tracking.families import NOTE
from chemscale_bench.tracking.figures import to_html
from chemscale_bench.tracking.housekeeping import housekeeping_run
from chemscale_bench.tracking.looking import look_at
from chemscale_bench.tracking.recorder import Recorder
from chemscale_bench.verbs import next_command


def fit(settings: FitSettings) -> None:
    """Fit all laws to runs, print the report, and log numbers, intervals and figures to one MLflow run."""
    if settings.out:
        output_folder(settings.out)
    # The run of `mlflow run` is there already and shares the fate of the fit; another is made for a fit that worked.
    found = None if settings.log and launched_run() else _fit(settings)
    given = {name: getattr(settings, name) for name in RunsSettings.model_fields if name not in ("level", "replicates")}
    source = " ".join(
        f"--{name} {shlex.quote(value)}"
        for name, value in given.items() if value != RunsSettings.model_fields[name].default
    )  # fmt: skip
    if settings.log:
        with housekeeping_run("fit", *_place(settings)) as run_id:
            found = found or _fit(settings)
            _log_fit(run_id, settings, *found)
            source = f"--fit runs:/{run_id}/fit.json"
    assert found is not None
    _show_next(found[0], settings, source)


def _show_next(analysis: Analysis, settings: FitSettings, source: str) -> None:
    frame, able = analysis.table.frame, analysis.frontier is not None
    experiment = experiment_of(settings.experiment) if settings.experiment else ""
    plan = f"{typed('chemscale')} plan"
    ten_times = 60 * float((frame["params"] * frame["tokens"]).max())
    following = next_command.training(frame, analysis.verdict.next_run, experiment)
    next_command.show(
        {
            "how to spend ten times the compute": f"{plan} {source} --flops {ten_times:.2g}" if able else "",
            "the run that narrows its loss most": following,
            "two hours of runs that are chosen to tell the law": "" if following else next_command.study(frame),
        }
    )


def _fit(settings: FitSettings) -> tuple[Analysis, dict[str, Any]]:
    """The fit, printed and written to files, and its figures by name."""
    analysis = analyse(read(settings), settings.level, settings.replicates)
    print(analysis.text())
    unit = LOSS_TITLE if settings.metric.endswith("loss_nats_per_token") else settings.metric
    figures = analysis.figures(unit)
    if settings.out:
        folder = output_path(settings.out)
        (folder / "fit.json").write_text(json.dumps(record_of(analysis, settings), indent=1))
        for name, figure in figures.items():
            (folder / f"{name}.html").write_text(to_html(figure))
        print(f"\nWrote fit.json and {len(figures)} figures to {folder}")
    return analysis, figures


def _place(settings: FitSettings) -> list[str]:
    """The experiment that was fitted, where a fit belongs; none for a table."""
    return [experiment_of(settings.experiment)] if settings.experiment else []


def _log_fit(run_id: str, settings: FitSettings, analysis: Analysis, figures: dict[str, Any]) -> None:
    import mlflow  # it takes long to load, and nothing of it is needed unless the result is logged

    recorder = Recorder(run_id)
    # `mlflow run` has logged its parameters already, in the user's spelling.
    recorder.params({"level": settings.level, "replicates": settings.replicates, "source": source_of(settings)})
    mlflow.log_metrics(analysis.numbers(), run_id=run_id)
    note = f"{analysis.verdict.found}\n\nFigures and report: tab *Artifacts*."
    recorder.tags({"mlflow.runName": f"fit: {analysis.headline()}", NOTE: note})
    recorder.client.log_dict(run_id, record_of(analysis, settings), "fit.json")
    recorder.client.log_text(run_id, analysis.text(), "report.txt")
    for name, figure in figures.items():
        recorder.figure(figure, f"figures/{name}.html")
    print(f"\nLogged to MLflow run {run_id}; look at its figures with: {look_at(run_id)}")
