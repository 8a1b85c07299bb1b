"""Write README.md of this folder and its figures from the leaderboard's entries and the recorded curves.

`python -m results`, in a clone. Nothing is trained and nothing is downloaded: every number comes from files of the
repository, which `chemscale verify` checks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, cycle
from pathlib import Path
from string import Template
from typing import NamedTuple, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from chemscale_bench.leaderboard.board import table_of
from chemscale_bench.leaderboard.collect import Study, read_entries
from chemscale_bench.leaderboard.entry import RESULTS
from chemscale_bench.leaderboard.levels import Level
from chemscale_bench.leaderboard.motion import Motion
from chemscale_bench.leaderboard.published import read_published
from chemscale_bench.models.force_fields import config_for
from chemscale_bench.scaling import validate
from chemscale_bench.scaling.analysis import Analysis, analyse
from chemscale_bench.scaling.decisions import decisions, exponents
from chemscale_bench.scaling.line import straight_line
from chemscale_bench.tuning.estimators import sum_of_losses
from chemscale_bench.tuning.figures import FRACTION, Foretold
from chemscale_bench.tuning.recorded import Curves, read
from chemscale_bench.tuning.replay import grade, predictions

HERE = Path(__file__).parent
ENTRIES = HERE.parent / "leaderboard" / "entries"
PUBLISHED = ENTRIES.parent / "published"
CURVES = HERE.parent / "benchmarks" / "curves"
LEAST_SIZES = 3
SMILES, LEVEL = "@smiles", 0.9
ELEMENTS = (1, 6, 7, 8)  # of the molecules; sizes do not depend on them
FORCE_MAE = RESULTS["force_field"][0]
SHOWN = 0.9  # of the trials of a sweep, whatever the others end at
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")  # Okabe & Ito
MARKERS = "osD^vPX"
Item = TypeVar("Item")
PRUNERS = {"paper": "rule of the paper", "performance": "`performance`, ours"}


class Scaled(NamedTuple):
    """A study and what it tells."""

    study: Study
    points: pd.DataFrame
    """One row per run and budget: params, budget, seed, loss, flops and others."""
    analysis: Analysis


def scaled(study: Study) -> Scaled:
    """Fit a study."""
    points = table_of(study, RESULTS[study.family][0])
    data = "tokens" if study.family == "language_model" else "frames"
    return Scaled(
        study, points, analyse(validate(points[["params", "budget", "seed", "loss"]].rename(columns={"budget": data})))
    )


def by_task(studies: Sequence[Study]) -> dict[str, list[Scaled]]:
    """The studies of enough sizes for a law, by task, those of most training first."""
    found = defaultdict(list)
    for study in studies:
        if len({run.non_embedding_params for run in study.runs}) >= LEAST_SIZES:
            found[study.task].append(scaled(study))
    return dict(sorted(found.items(), key=lambda item: -sum(one.points["flops"].sum() for one in item[1])))


# -- figures -----------------------------------------------------------------------------------------------------


def save(figure: Figure, name: str) -> str:
    """Write a figure, the same bytes for the same numbers, and return its markdown."""
    with mpl.rc_context({"svg.hashsalt": "chemscale-bench"}):
        figure.savefig(HERE / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    return f"![{name.replace('_', ' ')}]({name}.svg)"


def panels(number: int, x: str, y: str, sharey: bool = True) -> tuple[Figure, list[mpl.axes.Axes]]:
    """A row of log-log panels, usually with one y axis."""
    figure = Figure(figsize=(1 + 3.6 * number, 3.9), layout="constrained")
    axes = figure.subplots(1, number, sharey=sharey, squeeze=False)[0]
    for axis in axes:
        axis.set(xscale="log", yscale="log", xlabel=x)
        axis.grid(alpha=0.3)
        axis.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 1.2, 1.5, 2, 3, 4, 5, 7)))
        axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_locator(mpl.ticker.NullLocator())
        axis.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axes[0].set_ylabel(y)
    return figure, list(axes)


def loss_against_params(found: Sequence[Scaled], x: str, y: str) -> Figure:
    """Means over seeds with their range, and the joint law: a panel per model, a line per budget.

    Of the studies of one model it shows that of the largest run. Studies that tell no law are left to the table, unless
    none does.
    """
    telling = [one for one in found if one.analysis.joint is not None] or found
    chosen = {one.study.model: one for one in sorted(telling, key=lambda one: one.points["flops"].max())}
    found = [one for one in telling if chosen[one.study.model] is one]
    figure, axes = panels(len(found), x, y)
    for axis, (study, points, analysis) in zip(axes, found, strict=True):
        for i, (budget, part) in enumerate(sorted(points.groupby("budget"), reverse=True)):
            means = part.groupby("params")["loss"].agg(["mean", "min", "max"])
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            off = np.abs(means[["min", "max"]].to_numpy().T - means["mean"].to_numpy())
            label = f"{budget:,} {analysis.table.data_column}"
            axis.errorbar(means.index, means["mean"], off, fmt=marker, color=colour, ms=5, label=label)
            if analysis.joint is not None:
                ends = np.geomspace(means.index.min(), means.index.max(), 50)
                axis.plot(ends, analysis.joint.predict(ends, np.full(50, budget)), color=colour, lw=1)
        axis.set_title(study.model)
        axis.legend(fontsize=7, frameon=False)
    return figure


def foretold_figure(found: dict[str, dict[str, Foretold]]) -> Figure:
    """Predicted against final, a panel per sweep."""
    rows = -(-len(found) // 3)
    figure = Figure(figsize=(10.6, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False).ravel()
    for axis in axes[len(found) :]:
        axis.remove()
    for axis, (name, rules) in zip(axes, found.items(), strict=False):
        for (rule, one), colour, marker in zip(rules.items(), COLOURS[1::-1], "x.", strict=True):
            axis.plot(one.final, one.predicted, marker, color=colour, label=f"{rule}: R² {one.r2:.2f}")
        ends = [min(one.final.min() for one in rules.values()), max(one.final.max() for one in rules.values())]
        axis.plot(ends, ends, color="#999999", lw=1)
        most = 1.2 * float(np.quantile(rules["ours"].final, SHOWN))
        if ends[1] > 2 * most:  # a few that diverged would leave no room for the others
            beyond = int((rules["ours"].final > most).sum())
            axis.set(xlim=(0.8 * ends[0], most), ylim=(0.8 * ends[0], most), title=f"{name}, {beyond} off the figure")
        axis.set_title(axis.get_title() or name, fontsize=9)
        axis.set(xlabel="final loss", ylabel=f"foretold at {FRACTION:.0%}")
        axis.legend(fontsize=7, frameon=False)
        axis.grid(alpha=0.3)
    return figure


# -- numbers -----------------------------------------------------------------------------------------------------


def between(numbers: dict[str, float], name: str) -> str:
    """A fitted number with its interval."""
    if name not in numbers:
        return "not told"
    return f"{numbers[name]:.2f} [{numbers[f'{name}_low']:.2f}, {numbers[f'{name}_high']:.2f}]"


def law_table(found: Sequence[Scaled]) -> Iterator[str]:
    """Markdown: the exponents of studies, and what they cost."""
    data = found[0].analysis.table.data_column
    names = (
        "power_law/params_exponent",
        "power_law/tokens_exponent",
        "joint/irreducible",
        "joint/params_exponent",
        "joint/tokens_exponent",
    )
    yield f"| model | runs | best | along params | along {data} | E | alpha | beta | hours | kJ | entry |"
    yield "|" + 11 * "---|"
    for study, points, analysis in found:
        numbers = analysis.numbers()
        best = points.groupby(["params", "budget"])["loss"].mean().min()
        hours = sum(run.train_seconds * max(1, run.gpus) for run in study.runs) / 3600
        spent = [run.energy_kj for run in study.runs]
        energy = f"{sum(filter(None, spent)):.0f}" if all(spent) else "no counter"
        long = f", {steps_of(study)} steps" if study.family == "force_field" else ""
        cells = [study.model + long, f"{len(study.runs)}", f"{best:.4g}", *(between(numbers, name) for name in names)]
        cells += [f"{hours:.2f}", energy, f"[{study.date}](../leaderboard/entries/{study.name})"]
        yield f"| {' | '.join(cells)} |"


def foretell_by_the_paper(curves: Curves) -> Foretold:
    """Each trial's final value from a line through the others' finals against their summed losses up to 20 %."""
    early = np.array([sum_of_losses(row[: round(FRACTION * len(row))]) for row in curves.values])
    told = np.isfinite(early) & np.isfinite(curves.final)
    x, y = early[told], curves.final[told]
    fits = [np.polyfit(np.delete(x, i), np.delete(y, i), 1) for i in range(len(x))]
    return Foretold(np.array([np.polyval(fit, at) for fit, at in zip(fits, x, strict=True)]), y)


def prune_table(sweeps: dict[str, Curves]) -> Iterator[str]:
    """Markdown: what stopping early saves and keeps on the recorded sweeps."""
    yield (
        "| sweep | trials | "
        + " | ".join(f"{what}: saved %, best kept %, regret %" for what in PRUNERS.values())
        + " |"
    )
    yield "|" + (2 + len(PRUNERS)) * "---|"
    for name, curves in sweeps.items():
        rows = grade(curves, list(PRUNERS), trials=len(curves.final), studies=25)
        cells = [f"{row.saved_percent:.0f}, {row.kept_percent:.0f}, {row.regret_percent:.1f}" for row in rows]
        yield f"| {name} | {len(curves.final)} | {' | '.join(cells)} |"


# -- the page ----------------------------------------------------------------------------------------------------


def wanted(params: float) -> float:
    """The size that was asked for, one digit, of one that was built and may be 5 % off."""
    return float(f"{params:.0e}")


def cells_of(name: str, points: pd.DataFrame, loss: str = "loss") -> pd.DataFrame:
    """The points of a study as `decisions` takes them, at the sizes that were asked for."""
    sizes = points["params"].map(wanted)
    return pd.DataFrame({"model": name, "params": sizes, "data": points["budget"], "loss": points[loss]})


def verdicts(groups: Sequence[pd.DataFrame], unit: str, data: str) -> Iterator[str]:
    """Markdown: of every two of a group which is better and by how much."""
    yield f"\n| better | than | at parameters, {data} | by, {unit} | pairs of smaller runs that say so |"
    yield "|" + 5 * "---|"
    for each in (decision for group in groups for decision in decisions(group, LEVEL)):
        low, high = each.interval
        interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else ", one seed"
        cells = [each.better, each.other, f"{count(each.params)}, {count(each.data)}"]
        cells += [f"{each.difference:.2f}{interval}", f"{each.accuracy:.0%}"]
        yield f"| {' | '.join(cells)} |"
    yield ""


def slopes(groups: Sequence[pd.DataFrame], data: str, axes: Sequence[str]) -> Iterator[str]:
    """Markdown: the exponents of every two of a group beside one another, those of straight lines."""
    yield "\n| along | at | points | one exponent | another | difference | p |"
    yield "|" + 7 * "---|"
    for pair in (pair for group in groups for pair in exponents(group, LEVEL) if pair.axis in axes):
        told = [
            f"{name} {line.slope:.3f} [{line.slope_interval[0]:.3f}, {line.slope_interval[1]:.3f}]"
            for name, line in zip(pair.models, pair.lines, strict=True)
        ]
        along, at = ("params", data) if pair.axis == "params" else (data, "params")
        gap, (low, high), p = pair.difference
        cells = [along, f"{count(pair.at)} {at}", f"{pair.points}", *told, f"{gap:.3f} [{low:.3f}, {high:.3f}]"]
        yield f"| {' | '.join([*cells, f'{p:.1g}'])} |"
    yield ""


def count(number: float) -> str:
    """A number of parameters, tokens or frames."""
    return f"{number:.0f}" if number < 1000 else f"{number:.0e}".replace("e+0", "e")


def compared_forces(tasks: dict[str, list[Scaled]]) -> Iterator[str]:
    """Markdown: models of equally many steps on each molecule, and each model on several molecules."""
    of_model = defaultdict(list)
    for task, found in tasks.items():
        if found[0].study.family == "force_field":
            chosen = of_equal_steps(found)
            cells = pd.concat([cells_of(study.model, points) for study, points, _ in chosen])
            if len(chosen) > 1:
                yield f"\nOn {task}, {steps_of(chosen[0].study)} steps:"
                yield from verdicts([cells], "meV/Å", "frames")
                yield from slopes([cells], "frames", ["params", "data"])
            yield from along_capacity(chosen)
            for model, part in cells.groupby("model", sort=False):
                of_model[model, steps_of(chosen[0].study)].append(
                    part.assign(model=f"{model}, {task.partition('@')[2]}")
                )
    if any(len(parts) > 1 for parts in of_model.values()):
        yield "\nThe same models on several molecules:"
        yield from slopes([pd.concat(parts) for parts in of_model.values()], "frames", ["params", "data"])


def along_capacity(found: Sequence[Scaled]) -> Iterator[str]:
    """Markdown: the exponents along what the paper calls capacity, depth times width, at the most frames."""
    told = []
    for study, points, _ in found:
        capacity = {}
        for size, depth in {(run.non_embedding_params, run.settings["depth"]) for run in study.runs}:
            given = {} if depth == "auto" else {"layers": int(depth)}
            config = config_for(study.model.split()[0], size, ELEMENTS, **given)
            capacity[size] = config.layers * config.width
        most = points[points["budget"] == points["budget"].max()]
        line = straight_line(np.log(most["params"].map(capacity)), -np.log(most["loss"]), LEVEL)
        if line is not None:
            low, high = line.slope_interval
            told.append(f"{study.model} {line.slope:.3f} [{low:.3f}, {high:.3f}]")
    yield f"Along depth x width, the paper's capacity: {', '.join(told)}.\n"


def groups_of(items: Sequence[Item], kinds: Sequence[object]) -> Iterator[list[Item]]:
    """The items of each kind."""
    for kind in dict.fromkeys(kinds):
        yield [each for each, other in zip(items, kinds, strict=True) if other == kind]


def of_equal_steps(found: Sequence[Scaled]) -> list[Scaled]:
    """Of the studies of one molecule those with as many steps as most, one of each model, the one of most runs."""
    by_steps = groups_of(found, [steps_of(one.study) for one in found])
    chosen = [largest(group) for group in by_steps]
    return max(chosen, key=lambda group: (len(group), sum(len(one.study.runs) for one in group)))


def steps_of(study: Study) -> str:
    """Optimizer steps of each of a study's runs, or of the shortest and the longest."""
    steps = sorted({int(run.settings["gradient_steps"]) for run in study.runs})
    return " to ".join(f"{number:,}" for number in dict.fromkeys((steps[0], steps[-1])))


def laws_section(tasks: dict[str, list[Scaled]], family: str, x: str, y: str) -> Iterator[str]:
    """Markdown: a figure, a table and a verdict in words for each task of a family."""
    for task, found in tasks.items():
        if found[0].study.family == family:
            figure = save(loss_against_params(found, x, y), f"scaling_{task.replace('@', '_')}")
            yield f"### {task}\n\n{figure}\n"
            yield from law_table(found)
            for study, _, analysis in found:
                several = sum(one.study.model == study.model for one in found) > 1
                who = f" by {study.submitter}" if several else ""
                yield f"\n**{study.model}**{who}: {analysis.verdict.found} Made by: {study.note}"
            yield ""


def held(motion: Motion | None) -> str:
    """How many replicas with a thermostat held their molecule together at each temperature."""
    if motion is None:
        return "not simulated"
    found = [
        f"{each.intact} of {motion.replicas} hold at {each.temperature_k:,.0f} K"
        for each in motion.conditions
        if each.ensemble == "Langevin"
    ]
    return f"{', '.join(found)}, {motion.picoseconds:g} ps"


def published_table(studies: Sequence[Study], papers: Sequence[Study]) -> Iterator[str]:
    """Markdown: runs of `recipe=paper` beside what papers report of the same model, molecule and labels."""
    yield "| task | model | frames | parameters | ours, meV/Å | published | ratio | in motion | hours | entry |"
    yield "|" + 10 * "---|"
    reported = {
        (paper.task, paper.model.lower().replace(" l=", "-l"), budget): metrics[FORCE_MAE]
        for paper in papers
        for budget, metrics in paper.published.items()
        if FORCE_MAE in metrics
    }
    for study in sorted(studies, key=lambda study: (study.task, study.model)):
        for run in study.runs:
            if run.settings.get("recipe") != "paper":
                continue
            (result,) = run.results
            ours, theirs = result.metrics[FORCE_MAE], reported.get((study.task, study.model, result.budget))
            cells = [study.task, study.model, f"{result.budget}", f"{run.non_embedding_params:,}", f"{ours:.1f}"]
            cells += [f"{theirs:.1f}", f"{ours / theirs:.2f}"] if theirs else ["none", ""]
            cells += [
                held(result.motion),
                f"{run.train_seconds / 3600:.1f}",
                f"[{study.date}](../leaderboard/entries/{study.name})",
            ]
            yield f"| {' | '.join(cells)} |"


def in_smiles(study: Study) -> bool:
    """Whether its molecules were written as SMILES."""
    return study.task.endswith(SMILES)


def named(study: Study) -> str:
    """Model and string."""
    return f"{study.model}, {'SMILES' if in_smiles(study) else 'SELFIES'}"


def largest(found: Sequence[Scaled]) -> list[Scaled]:
    """Of the studies of one model and string the one of most runs: others may have the same seeds."""
    ascending = sorted(found, key=lambda one: len(one.study.runs))
    chosen = {named(one.study): one for one in ascending}
    return [one for one in found if chosen[named(one.study)] is one]


def strings_section(tasks: dict[str, list[Scaled]]) -> Iterator[str]:
    """Markdown: models of SELFIES and of SMILES of the same molecules, by what is comparable, bits per heavy atom."""
    for task in (name.removesuffix(SMILES) for name in tasks if name.endswith(SMILES)):
        found = largest([one for name in (task, task + SMILES) for one in tasks.get(name, [])])
        budget = min(one.points["budget"].max() for one in found)
        figure, (axis,) = panels(1, "parameters without embeddings", "bits per heavy atom")
        cells = []
        for (study, points, _), colour, marker in zip(found, cycle(COLOURS), cycle(MARKERS), strict=False):
            part = points[points["budget"] == budget]
            bits = part.groupby("params")["val/bits_per_heavy_atom"].agg(["mean", "min", "max"])
            off = np.abs(bits[["min", "max"]].to_numpy().T - bits["mean"].to_numpy())
            style = "-" if in_smiles(study) else "--"
            axis.errorbar(
                bits.index, bits["mean"], off, fmt=marker + style, color=colour, ms=5, lw=1, label=named(study)
            )
            cells.append(cells_of(named(study), points, "val/nats_per_molecule"))
        axis.legend(fontsize=7, frameon=False)
        yield f"### {task}\n\n{save(figure, f'strings_{task}')}\n"
        yield f"Bits per heavy atom by parameters, after {budget:,} training tokens of either string.\n"
        sizes = sorted(set(pd.concat(cells)["params"]))
        yield "| model, string | tokens per molecule | " + " | ".join(count(at) for at in sizes) + " |"
        yield "|" + (2 + len(sizes)) * "---|"
        for (study, points, _), rows in zip(found, cells, strict=True):
            tokens = (points["val/nats_per_molecule"] / points["loss"]).mean()
            last = points[points["budget"] == budget].assign(size=rows["params"])
            bits = last.groupby("size")["val/bits_per_heavy_atom"].mean()
            shown = (f"{bits[at]:.3f}" if at in bits.index else "" for at in sizes)
            yield f"| {named(study)} | {tokens:.1f} | {' | '.join(shown)} |"
        yield ""
        groups = [
            pd.concat(together)
            for alike in (in_smiles, lambda study: study.model)
            for together in groups_of(cells, [alike(study) for study, _, _ in found])
        ]
        yield from verdicts(groups, "nats per molecule", "tokens")
        yield from slopes(groups, "tokens", ["params"])


def drawn_of(found: Sequence[Scaled]) -> pd.DataFrame:
    """What entries tell of molecules that their models have drawn: a row for each run and budget."""
    return pd.DataFrame(
        [
            {"model": named(study), "size": wanted(run.non_embedding_params),
             "nats": result.metrics["val/nats_per_molecule"], "molecules": result.generation.molecules,
             **result.generation.metrics}
            for study, _, _ in found for run in study.runs for result in run.results if result.generation
        ]
    )  # fmt: skip


def quality_section(tasks: dict[str, list[Scaled]]) -> Iterator[str]:
    """Markdown: the Frechet ChemNet distance of drawn molecules over the loss, for each data set that has some."""
    for task in dict.fromkeys(name.removesuffix(SMILES) for name in tasks):
        table = drawn_of([one for name in (task, task + SMILES) for one in tasks.get(name, [])])
        if "fcd_test" not in table:
            continue
        figure, axes = panels(2, "loss, nats per molecule", "", sharey=False)
        shown = {"fcd_test": "FCD to the test set", "raw_valid": "raw validity"}
        for axis, label in zip(axes, shown.values(), strict=True):
            axis.set(xscale="linear", yscale="linear", ylabel=label)
            axis.yaxis.set_major_locator(mpl.ticker.AutoLocator())
        lines = []
        colours = dict(zip(sorted(set(table["size"])), cycle(COLOURS), strict=False))
        for (model, part), marker in zip(table.groupby("model", sort=False), cycle(MARKERS), strict=False):
            for size, of in part.groupby("size"):
                colour = colours[size]
                for axis, metric in zip(axes, shown, strict=True):
                    axis.plot(of["nats"], of[metric], marker, color=colour)
            axes[0].plot([], [], marker, color="#999999", label=model)
            line = straight_line(part["nats"], part["fcd_test"], LEVEL)
            if line is None:
                continue
            low, high = line.slope_interval
            best = part.loc[part["fcd_test"].idxmin()]
            left = part["fcd_test"] - (line.intercept + line.slope * part["nats"])
            ends = np.array([part["nats"].min(), part["nats"].max()])
            axes[0].plot(ends, line.intercept + line.slope * ends, color="#999999", lw=1)
            drawn = " or ".join(f"{number:,}" for number in sorted(part["molecules"].unique()))
            lines.append(
                f"- **{model}**: {len(part)} models, {drawn} molecules of each; FCD "
                f"{best['fcd_test']:.2f} and raw validity {best['raw_valid']:.2f} at best, at {best['nats']:.1f} nats "
                f"per molecule; {line.slope:.2f} [{low:.2f}, {high:.2f}] less of FCD for every nat, with a standard "
                f"deviation of {left.std(ddof=2):.2f} about the line."
            )
        for size, colour in colours.items():
            axes[1].plot([], [], "o", color=colour, label=f"{count(size)} parameters")
        for axis in axes:
            axis.legend(fontsize=7, frameon=False)
        yield "\n".join([f"### {task}\n\n{save(figure, f'quality_{task}')}\n", *lines, ""])


def pruner_section() -> Iterator[str]:
    """Markdown: the figure of predictions, and what they and two pruners reach on every recorded sweep."""
    sweeps = {path.stem: read(str(path)) for path in sorted(CURVES.glob("*.parquet"))}
    told = {
        name: {"paper": foretell_by_the_paper(curves), "ours": predictions(curves)[FRACTION]}
        for name, curves in sweeps.items()
    }
    yield save(foretold_figure(told), "prediction") + "\n"
    yield "| sweep | trials | R², the paper's line | R², ours | Spearman, the paper's line | Spearman, ours |"
    yield "|" + 6 * "---|"
    for name, rules in told.items():
        paper, ours = rules["paper"], rules["ours"]
        yield (
            f"| {name} | {len(ours.final)} | {paper.r2:.2f} | {ours.r2:.2f} | {paper.spearman:.2f} | "
            f"{ours.spearman:.2f} |"
        )
    yield ""
    yield from prune_table(sweeps)


def page() -> str:
    """README.md; its figures are written on the way."""
    studies = read_entries(ENTRIES, Level.VALID)[0]
    tasks = by_task(studies)
    sections = {
        "language": laws_section(tasks, "language_model", "parameters without embeddings", "nats per token"),
        "strings": strings_section(tasks),
        "quality": quality_section(tasks),
        "forces": chain(laws_section(tasks, "force_field", "parameters", "force MAE, meV/Å"), compared_forces(tasks)),
        "published": published_table(studies, read_published(PUBLISHED)[0]),
        "pruner": pruner_section(),
    }
    filled = {name: "\n".join(lines) for name, lines in sections.items()}
    return Template((HERE / "page.md").read_text()).substitute(filled)


if __name__ == "__main__":
    (HERE / "README.md").write_text(page())
