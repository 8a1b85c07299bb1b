"""How molecules are written, and what models draw of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

import matplotlib as mpl
import numpy as np
import pandas as pd

from chemscale_bench.scaling.line import straight_line
from results.drawing import COLOURS, MARKERS, panels, save
from results.laws import count, slopes, verdicts
from results.studies import LEVEL, SMILES, Scaled, cells_of, groups_of, in_smiles, largest, named, wanted


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
