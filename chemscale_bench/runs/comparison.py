"""Scaling studies of several models, or ways to write molecules, in one command, and what they say of one another."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from itertools import chain, combinations, product

import pandas as pd
from filelock import FileLock

from chemscale_bench.data.cache import home
from chemscale_bench.errors import UserError
from chemscale_bench.runs import study_report
from chemscale_bench.runs.study import Study
from chemscale_bench.scaling.decisions import Decision, Exponents, decisions, exponents
from chemscale_bench.scaling.figures import LOSS_TITLE
from chemscale_bench.scaling.figures_models import figure_models
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.tracking.adoption import adopt_run
from chemscale_bench.tracking.ending import ended_properly
from chemscale_bench.tracking.figures import to_html
from chemscale_bench.tracking.forecast import read_forecast
from chemscale_bench.tracking.store import open_store

PER_MOLECULE = "validation loss (nats per molecule)"
KEPT = "comparison"
"""Attribute of the first study: the run of the comparison, which the same command writes again."""


def studies_of(settings: StudySettings, began: float) -> list[Study]:
    """A study for every model and vocabulary that was typed, each with an equal share of the budget.

    All are checked before any begins.

    Args:
        settings: of the verb `study`.
        began: the time from which the hours of the first count.

    Raises:
        UserError: if one stands there twice, or can't be studied so.
    """
    pairs = list(product(names_in("model", settings.model), names_in("vocabulary", settings.vocabulary)))
    if len(pairs) == 1:
        return [Study(settings, began=began)]
    if "," in settings.vocabulary and "chemgpt" in settings.vocabulary:
        raise UserError(
            f"several vocabularies must spell the same molecules, as dataset,smiles do, got {settings.vocabulary}; "
            "study chemgpt by itself"
        )
    share = {name: getattr(settings, name) / len(pairs) for name in ("hours", "gpu_hours", "flops")}
    studies = []
    for model, written in pairs:
        name = settings.study and f"{settings.study}-{study_report.name_of(model, written)}"
        changes = {**share, "model": model, "vocabulary": written, "study": name}
        studies.append(Study(settings.model_copy(update=changes), began=began))
    return studies


def names_in(parameter: str, text: str) -> list[str]:
    """What was typed, with commas.

    Raises:
        UserError: if one is empty, stands there twice, or is `auto` among others.
    """
    names = [name.strip() for name in text.split(",")]
    if len(names) > 1 and (len(set(names)) < len(names) or not all(names) or "auto" in names):
        raise UserError(f"{parameter} must name each {parameter} once, got {text!r}; give each by its name")
    return names


def run_studies(studies: Sequence[Study]) -> int:
    """Run one study after the other, and compare them if there are several; gives the exit code."""
    for number, study in enumerate(studies):
        if number:  # the first one's hours began with the command
            study.began = time.time()
        code = study.run()
        if code:
            return code
    if len(studies) > 1 and not studies[0].is_worker:
        compare(studies)
    return 0


def show_plans(studies: Sequence[Study]) -> None:
    """Print what each study would train."""
    for number, study in enumerate(studies):
        if number:
            study.began = time.time()
            print()
        study.show_plan()


def compare(studies: Sequence[Study]) -> None:
    """Say which model is better, by how much, and whether the small runs knew; in a run of its own."""
    first, client = studies[0], open_store()
    measured = table(studies)
    found = decisions(measured, first.settings.level)
    # The budgets of a language model are of one training: they are not independent points of a line.
    axes = ("params", "data") if first.task.family == "force_field" else ("params",)
    slopes = [each for each in exponents(measured, first.settings.level) if each.axis in axes]
    parts = joint_exponents(studies), alone(slopes, first), *(lines(each, studies) for each in found)
    text = "\n".join(chain(*parts, apart(studies, found)))
    with FileLock(home() / "studies" / f"{first.cells.name}.lock"):  # two machines that end together make one
        run_id = adopt_run(first.settings.experiment, resume=first.cells.study.user_attrs.get(KEPT, ""), shared=True)
        first.cells.study.set_user_attr(KEPT, run_id)
    with ended_properly(run_id):
        client.set_tag(run_id, "mlflow.runName", f"comparison of {', '.join(model_of(study) for study in studies)}")
        client.set_tag(run_id, "studies", ",".join(study.parent for study in studies))
        client.log_text(run_id, text, "report.txt")
        client.log_dict(run_id, measured.to_dict("split", index=False), "runs.json")
        unit = LOSS_TITLE if first.task.family == "language_model" else first.kind.METRIC
        unit = PER_MOLECULE if differ(studies) else unit
        figure = figure_models(measured, found, unit, first.plan.word)
        client.log_text(run_id, to_html(figure), "figures/models.html")
        for each in found:
            name = f"{each.better}_better_than_{each.other}"
            client.log_metric(run_id, f"difference/{name}", each.difference)
            if not math.isnan(each.accuracy):
                client.log_metric(run_id, f"decision_accuracy/{name}", each.accuracy)
        for pair in slopes:
            name = f"{pair.axis}_{pair.models[0]}_less_{pair.models[1]}"
            client.log_metric(run_id, f"exponent_difference/{name}", pair.difference.slope)
            client.log_metric(run_id, f"exponent_difference_p/{name}", pair.difference.p)
    print(f"\n{text}\ncomparison in run {run_id}")


def table(studies: Sequence[Study]) -> pd.DataFrame:
    """What was measured: model, params (as wanted), data, seed, loss."""
    rows = [
        (model_of(study), result.training.params, data, result.training.seed, loss * tokens)
        for study, tokens in zip(studies, tokens_per_molecule(studies), strict=True)
        for result in study.cells.results()
        for data, loss in result.losses.items()
    ]
    return pd.DataFrame(rows, columns=["model", "params", "data", "seed", "loss"])


def differ(studies: Sequence[Study]) -> bool:
    """Whether a token is not the same in all of them."""
    return len({study.settings.vocabulary for study in studies}) > 1


def tokens_per_molecule(studies: Sequence[Study]) -> list[float]:
    """What makes losses of each comparable: 1 if their tokens are the same, else those of a validation molecule."""
    if not differ(studies):
        return [1.0] * len(studies)
    return [per_molecule(study) for study in studies]


def per_molecule(study: Study) -> float:
    """Tokens of a validation molecule of a study, its end included; nan before the first training is over."""
    for result in study.cells.results():
        metrics = open_store().get_run(result.run_id).data.metrics
        if "val/nats_per_molecule" in metrics:
            return float(metrics["val/nats_per_molecule"] / metrics["val/loss_nats_per_token"])
    return math.nan


def model_of(study: Study) -> str:
    """What a study is called beside others."""
    return study_report.name_of(study.settings.model, study.settings.vocabulary)


def joint_exponents(studies: Sequence[Study]) -> Iterator[str]:
    """The exponents of the joint laws beside one another."""
    word = studies[0].plan.word
    yield f"{'model':>12} {'exponent of params':>24} {f'exponent of {word}':>24}   (joint law)"
    for study in studies:
        metrics = open_store().get_run(study.parent).data.metrics
        shown = []
        for name in ("params_exponent", "tokens_exponent"):
            value, low, high = (metrics.get(f"joint/{name}{end}", math.nan) for end in ("", "_low", "_high"))
            shown.append("not told" if math.isnan(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]")
        yield f"{model_of(study):>12} {shown[0]:>24} {shown[1]:>24}"


def alone(slopes: Sequence[Exponents], study: Study) -> Iterator[str]:
    """The exponents along one axis, and whether those of two models differ."""
    for each in slopes:
        words = ("params", study.plan.word) if each.axis == "params" else (study.plan.word, "params")
        yield f"\nexponents of {words[0]} at {each.at:.3g} {words[1]}, straight lines through {each.points} of them:"
        for name, line in zip(each.models, each.lines, strict=True):
            low, high = line.slope_interval
            yield f"{name:>12} {f'{line.slope:.3f} [{low:.3f}, {high:.3f}]':>24}"
        (low, high), gap = each.difference.slope_interval, each.difference
        published = each.axis == "params" and study.task.family == "force_field"
        yield (
            f"  they differ by {gap.slope:.3f} [{low:.3f}, {high:.3f}] ({study.settings.level:.0%}, p = {gap.p:.2g})"
            + "; Frey et al. 2023 report 0.26 of an equivariant model, over depth x width" * published
        )


def lines(decision: Decision, studies: Sequence[Study]) -> Iterator[str]:
    """What is known of two models."""
    by_name = {model_of(study): study for study in studies}
    word, level = studies[0].plan.word, studies[0].settings.level
    low, high = decision.interval
    interval = f" [{low:.4g}, {high:.4g}] ({level:.0%})" if not math.isnan(low) else ", from one seed"
    interval = f" nats per molecule{interval}" if differ(studies) else interval
    yield (
        f"\n{decision.better} is better than {decision.other} at {decision.params:.3g} params and {decision.data:.3g} "
        f"{word}, by {decision.difference:.4g}{interval}"
    )
    sizes = dict(zip(by_name, tokens_per_molecule(studies), strict=True))
    said = [foretold(by_name[name], decision, sizes[name]) for name in (decision.other, decision.better)]
    if not any(map(math.isnan, said)):
        yield f"  foretold before these were trained: by {said[0] - said[1]:.4g}"
    if not len(decision.smaller):
        yield "  there is no smaller cell that both have: whether small runs rank them so is not known"
        return
    yield f"  decision accuracy: {decision.accuracy:.0%} of {decision.smaller['pairs'].sum()} pairs of smaller runs"
    for decade, group in decision.smaller.groupby(decision.smaller["share"].map(decade_of)):
        agree = (group["agree"] * group["pairs"]).sum() / group["pairs"].sum()
        span = f"1/{10 ** (1 - decade):,.0f} to {f'1/{10**-decade:,.0f}' if decade else '1'}"
        yield f"    {span:>22} of the compute: {agree:>5.0%} of {group['pairs'].sum()}"


def apart(studies: Sequence[Study], found: Sequence[Decision]) -> Iterator[str]:
    """The pairs of models that nothing can be said of."""
    known = {frozenset((each.better, each.other)) for each in found}
    for one, other in combinations(map(model_of, studies), 2):
        if frozenset((one, other)) not in known:
            yield f"\n{one} and {other} share no size and budget with a loss: give params= and tokens= to compare them"


def decade_of(share: float) -> int:
    """The decade of a share of the largest compute, by the power of ten at its upper end."""
    return math.ceil(round(math.log10(share), 6))


def foretold(study: Study, decision: Decision, tokens: float) -> float:
    """What a study's forecast says of the cell of a decision, times `tokens`; nan if it does not."""
    record = read_forecast(open_store(), study.parent)
    if record is None:
        return math.nan
    built = {result.params for result in study.cells.results() if result.training.params == decision.params}
    at = zip(record["params"], record[study.plan.word], record["loss"], strict=True)
    found = next((loss for params, data, loss in at if params in built and data == decision.data), math.nan)
    return found * tokens
