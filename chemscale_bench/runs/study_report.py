"""What the parent run of a scaling study tells: a forecast before its largest trainings, and its laws at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chemscale_bench.errors import UserError
from chemscale_bench.runs.cells import Cells, Ended, Training
from chemscale_bench.runs.kinds import about
from chemscale_bench.runs.study_plan import Planned, StudyPlan
from chemscale_bench.runs.study_result import StudyResult, WrittenForecast
from chemscale_bench.runs.too_small import of_smaller_budgets
from chemscale_bench.scaling import JointLaw, RunTable, validate
from chemscale_bench.scaling.analysis import analyse
from chemscale_bench.scaling.figures import LOSS_TITLE
from chemscale_bench.scaling.foretelling import beside_measured, predict_larger
from chemscale_bench.scaling.identify import SMALLEST_SPAN
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.shell import typed
from chemscale_bench.tasks import LanguageTask, load
from chemscale_bench.tracking.families import describe_family
from chemscale_bench.tracking.figures import to_html
from chemscale_bench.tracking.forecast import read_forecast, write_forecast
from chemscale_bench.tracking.lifetime import end_run
from chemscale_bench.tracking.looking import look_at

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LARGE = 0.5
"""What is foretold are trainings of more compute than any before, once the next has this share of the largest one's."""


def describe(client: MlflowClient, parent: str, cells: Cells, settings: StudySettings, model: str) -> None:
    """Log what is studied, and where, once."""
    from mlflow.entities import Param, RunTag

    known = client.get_run(parent).data.params
    if "study_name" in known:
        return
    params = settings.model_dump(exclude={"storage", *known}) | {"study_name": cells.name}
    texts = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in params.items()}
    own = about(load(settings.task), settings.data).rpartition(", ")[0]
    title = f"study {name_of(model, settings.vocabulary)}, {f'{own}, ' if own else ''}{cells.name}"
    client.log_batch(
        parent, params=[Param(name, str(text)) for name, text in texts.items()],
        tags=[RunTag("mlflow.runName", title), RunTag("storage", cells.where)],
    )  # fmt: skip


def name_of(model: str, vocabulary: str) -> str:
    """The model, and how molecules are written if that is not usual."""
    return model if vocabulary == "dataset" else f"{model}-{vocabulary}"


def expectation(plan: StudyPlan, planned: Sequence[Planned], results: Sequence[Ended]) -> str:
    """What a design is expected to tell, and a word where no joint law can come of it."""
    said = plan.expectation(planned, results)
    trainings = [one.training for one in planned] + [one.training for one in results]
    fewest, sizes = JointLaw.fewest_sizes, {training.params for training in trainings}
    data = {at for training in trainings for at in plan.points(training.data)}
    if all(len(values) >= fewest and max(values) >= SMALLEST_SPAN * min(values) for values in (sizes, data)):
        return said
    return (
        f"note: a joint law and a forecast need {fewest} sizes and {fewest} numbers of {plan.word}, the largest "
        f"{SMALLEST_SPAN:g} times the smallest of each; these are {_listed(sizes)} and {_listed(data)}; "
        f"exponents along each alone may come of it; {_enough(plan, len(data) < fewest)}"
    )


def _listed(values: Iterable[float]) -> str:
    found = [f"{value:.3g}" for value in sorted(values)]
    return f"{len(found)} ({', '.join(found)})"


def _enough(plan: StudyPlan, few_data: bool) -> str:
    """What gives a study enough sizes and numbers of tokens or frames."""
    given = [f"more {name}" for name in ("hours", "gpu_hours", "flops") if getattr(plan.settings, name)]
    if few_data and isinstance(plan.task, LanguageTask):
        third, smallest = plan.task.budgets_tokens[JointLaw.fewest_sizes - 1], plan.task.budgets_tokens[0]
        given += [f"tokens={third:.0e}, since budgets begin at {smallest:.0e}"]
        given += of_smaller_budgets(plan.task)
    return "give " + " or ".join(given or ["more of them, farther apart"])


def table_of(results: Sequence[Ended], plan: StudyPlan) -> RunTable:
    """The trainings that are over, as `fit` takes them."""
    rows = [
        {"params": result.params, plan.word: data, "loss": loss, "seed": result.training.seed, "run_id": result.run_id}
        for result in results
        for data, loss in result.losses.items()
    ]
    return validate(pd.DataFrame(rows), typed=False)


def unforetold(cells: Cells, plan: StudyPlan, to_do: Sequence[Planned]) -> set[Training]:
    """The largest trainings, beyond all that was reached, whose losses have to be written down before they begin."""
    if "forecast" in cells.study.user_attrs:
        return set()
    reached = max((result.params * max(result.losses) for result in cells.results() if result.losses), default=0)
    sizes = {one.training: plan.pace_of(one.training.params).params * one.training.data for one in to_do}
    return {training for training, size in sizes.items() if size > reached and size >= LARGE * max(sizes.values())}


def foretell(client: MlflowClient, parent: str, cells: Cells, plan: StudyPlan, to_do: Sequence[Planned]) -> None:
    """Before the largest trainings begin, write down what they should reach: once, and for good.

    The record is an artifact of the parent, its sha256 a tag with the time: whoever doubts a forecast can see that it
    was made before the runs that it is about. It is that of `fit`, or, where runs are too few for one, the belief of
    the design.
    """
    results = [result for result in cells.results() if result.losses]
    if len({result.params for result in results}) < 2 or to_do[0].training not in unforetold(cells, plan, to_do):
        return
    reached = max(result.params * max(result.losses) for result in results)
    points = {
        (plan.pace_of(one.training.params).params, data) for one in to_do for data in plan.points(one.training.data)
    }
    about = sorted((params, data) for params, data in points if params * data > reached)
    params, data = np.array(about, dtype=float).T
    told = predict_larger(table_of(results, plan), params, data, plan.settings.level, plan.prior())
    record = {
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "law": told.law, "level": plan.settings.level,
        "runs": [result.run_id for result in results], "params": params.tolist(), plan.word: data.tolist(),
        "loss": told.loss.tolist(), "low": told.low.tolist(), "high": told.high.tolist(),
    }  # fmt: skip
    text = cells.first("forecast", json.dumps(record, indent=1))
    write_forecast(client, parent, text)
    cells.study.set_user_attr("forecast", json.loads(text)["written"])


def judged(record: dict[str, Any], results: Sequence[Ended], word: str) -> pd.DataFrame:
    """What was foretold beside what was measured: columns params, data, foretold, low, high, measured, inside."""
    foretold = pd.DataFrame({"params": record["params"], "data": record[word], "foretold": record["loss"]})
    measured = [
        {"params": result.params, "data": data, "measured": loss}
        for result in results
        if result.run_id not in record["runs"]
        for data, loss in result.losses.items()
    ]
    return beside_measured(
        foretold.assign(low=record["low"], high=record["high"]),
        pd.DataFrame(measured, columns=["params", "data", "measured"], dtype=float),
    )


def finish(client: MlflowClient, parent: str, cells: Cells, plan: StudyPlan) -> StudyResult:
    """Fit what was measured, and log numbers, report and figures."""
    results = cells.results()
    if not any(result.losses for result in results):
        raise UserError(f"a study needs trainings that reach a loss, all {len(results)} diverged; lower learning_rate")
    for result in results:  # one that was killed after its last word
        if result.losses and client.get_run(result.run_id).info.status == "FAILED":
            end_run(client, result.run_id, "FINISHED", "")
    metrics = {
        "study/trainings": float(len(results)), "study/seconds": sum(result.seconds for result in results),
        "study/flops": sum(result.flops for result in results),
    }  # fmt: skip
    table = table_of([result for result in results if result.losses], plan)
    unit = LOSS_TITLE if plan.task.family == "language_model" else plan.kind.METRIC
    record = read_forecast(client, parent)
    foretold = None
    if record:
        foretold = WrittenForecast(record["written"], len(record["runs"]), judged(record, results, plan.word))
    found = StudyResult(parent, len(results), analyse(table, plan.settings.level), foretold, unit)
    for name, figure in found.figures().items():
        client.log_text(parent, to_html(figure), f"figures/{name}.html")
    means = table.frame.groupby(["params", "tokens"])["loss"].mean().reset_index()  # over seeds
    largest = means.groupby("params").tail(1)
    for size, loss in zip(largest["params"], largest["loss"], strict=True):
        metrics[f"final/{size:.0f}_params"] = loss
    for key, value in (metrics | found.numbers()).items():
        client.log_metric(parent, key, value)
    best = means.sort_values("loss").head(1)
    values = {round(best["tokens"].item()): best["loss"].item()}
    verdict = found.analysis.verdict.found
    describe_family(client, parent, plan.kind.METRIC, verdict, values, ["non_embedding_params", "seed"])
    client.log_text(parent, found.text(), "report.txt")
    client.log_dict(parent, table.frame.to_dict("split", index=False), "runs.json")
    return found


def next_steps(found: StudyResult, settings: StudySettings, planned: int) -> str:
    """What a user may do with a study, as commands.

    Args:
        found: what the study found.
        settings: of the study.
        planned: how many trainings it was to have when it began.
    """
    text = f"{found.trainings} trainings below run {found.run_id} of experiment {settings.experiment}"
    if found.trainings < planned:
        text += f", {planned - found.trainings} fewer than first planned, since the budget is used"
    text += f"; next:\n  {look_at(found.run_id, beside_others=True)}\n"
    if found.law is None and settings.hours:
        return f"{text}  the same command with hours={4 * settings.hours:g}    # goes on: these are too few for a law"
    return (
        f"{text}  {typed('chemscale')} fit --experiment {found.run_id} --out law    # the law as files\n"
        f"  {typed('chemscale')} submit --run {found.run_id} --submitter NAME    # an entry of the leaderboard"
    )
