"""Simulations for people: a table, a figure of one model, and a figure of many models over their force errors."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure, Scatter
from plotly.subplots import make_subplots

from chemscale_bench.evaluation.distances import BIN, ReferenceFrames, distance_histogram
from chemscale_bench.evaluation.simulated import LANGEVIN, LEAST_FRAMES, Simulated
from chemscale_bench.evaluation.torsion import ANGLES

# Okabe & Ito's palette: distinct for the colour-blind and in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#999999"


def number(value: float, digits: int) -> str:
    """For a column; a dash for what there is not."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def plus_minus(value: float | None, error: float | None) -> str:
    """A value with its standard error."""
    if value is None or error is None or not math.isfinite(value):
        return "-"
    return f"{value:+.1f} ± {error:.1f}"


def text(found: Simulated, table: pd.DataFrame, reference: ReferenceFrames) -> str:
    """The table of one model, and in words what rests and breaks."""
    kinds = list(reference.bond_halves)
    heads = ("T (K)", "ensemble", "stable (ps)", "intact", "measured T", "drift (meV/atom/ns)", "h(r) MAE", *kinds)
    widths = [max(11, len(head)) for head in heads]
    lines = [" ".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))]
    for row in table.to_dict("records"):
        cells = [
            f"{row['temperature_k']:g}", row["ensemble"], number(row["stability_ps"], 2),
            f"{row['intact']}/{row['replicas']}", number(row["measured_temperature_k"], 0),
            plus_minus(row.get("drift_mev_per_atom_ns"), row.get("drift_error_mev_per_atom_ns")),
            number(row.get("hr_mae", math.nan), 3),
            *(number(row.get(f"bond_error_milliangstrom_{kind}", math.nan), 1) for kind in kinds),
        ]  # fmt: skip
        lines.append(" ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    halves = [number(reference.histogram_halves, 3), *(number(error, 1) for error in reference.bond_halves.values())]
    row_of_halves = ("test frames", "half/half", *[""] * 4, *halves)
    lines.append(" ".join(f"{cell:>{width}}" for cell, width in zip(row_of_halves, widths, strict=True)))
    lines.append(
        "h(r) and, for each kind of bond, lengths (milli-Angstrom) against the test frames; two halves of these are "
        "about twice as far apart as a perfect model would be from all of them"
    )
    rest, pulled = found.rest, found.stretched
    ended = f"relaxed in {rest.steps} steps" if rest.converged else f"not relaxed after {rest.steps} steps"
    if len(waves := rest.wavenumbers_per_cm):
        ended += f"; vibrations from {waves[0]:.0f} to {waves[-1]:.0f} /cm, {rest.imaginary} imaginary"
    lines.append(ended)
    if pulled.names:
        weakest = pulled.weakest
        lines.append(
            f"bonds to hydrogen break over {pulled.barrier_B[weakest]:.2f} eV ({pulled.names[weakest]}) or more"
        )
    if found.turned.names:
        barriers = zip(found.turned.names, found.turned.metrics.values(), strict=True)
        lines.append(
            f"turning a bond while all else stays costs {', '.join(f'{up:.3f} eV ({name})' for name, up in barriers)}"
        )
    lines.append(f"{found.ns_per_day:.1f} ns/day, all replicas together, {found.seconds:.0f} s")
    return "\n".join(lines)


def figure(found: Simulated, reference: ReferenceFrames, title: str) -> Figure:
    """How long replicas hold, what their energy does, where atoms are, and what pulling and turning bonds costs."""
    made = make_subplots(
        3, 2, horizontal_spacing=0.09, vertical_spacing=0.1, specs=[[{}, {}], [{}, {}], [{"colspan": 2}, None]],
        subplot_titles=(
            "replicas whose bonds are intact", "total energy without a thermostat, median of the intact",
            "distances of atoms", "pulling a hydrogen off",
            "turning a bond" if found.turned.names else "no bond can be turned",
        ),
    )  # fmt: skip
    motion, temperatures = found.motion, list(dict.fromkeys(start.temperature_k for start in found.starts))
    centre = (np.arange(len(reference.histogram)) + 0.5) * BIN
    for colour, kelvin in zip(COLOURS * len(temperatures), temperatures, strict=False):
        for thermostat, dash in ((True, "solid"), (False, "dot")):
            replicas = found.chosen(kelvin, thermostat)
            name = f"{kelvin:g} K{'' if thermostat else ', NVE'}"
            line: dict[str, object] = {"color": colour, "dash": dash}
            ends = np.sort(motion.stable_ps_R[replicas][~motion.intact_R[replicas]])
            x = [0.0, *ends, motion.time_ps_N[-1]]
            y = [*(1 - np.arange(len(ends) + 1) / len(replicas)), 1 - len(ends) / len(replicas)]
            made.add_trace(Scatter(x=x, y=y, name=name, line=line | {"shape": "hv"}, mode="lines"), 1, 1)
            whole = replicas[motion.intact_R[replicas]]
            if not thermostat and len(whole):
                energy_RN = motion.total_energy_ev_RN[whole]
                gained = 1000 * np.median(energy_RN - energy_RN[:, :1], 0) / len(reference.numbers)
                made.add_trace(Scatter(x=motion.time_ps_N, y=gained, line=line, name=name, showlegend=False), 1, 2)
            frames_FA3 = found.frames(replicas)
            if thermostat and len(frames_FA3) >= LEAST_FRAMES:
                h = distance_histogram(frames_FA3)
                made.add_trace(Scatter(x=centre, y=h, line=line, name=name, showlegend=False), 2, 1)
    wide = {"color": GREY, "width": 5}
    made.add_trace(Scatter(x=centre, y=reference.histogram, line=wide, name="test frames", opacity=0.6), 2, 1)
    pulled = found.stretched
    for colour, name, lengths, energies in zip(
        COLOURS * len(pulled.names), pulled.names, pulled.lengths_BL, pulled.energy_BL, strict=False
    ):
        made.add_trace(
            Scatter(x=lengths, y=energies, line={"color": colour}, name=name, legend="legend2", mode="lines"), 2, 2
        )
    for colour, name, energies in zip(
        COLOURS * len(found.turned.names), found.turned.names, found.turned.energy_TN, strict=False
    ):
        made.add_trace(
            Scatter(x=ANGLES, y=energies, line={"color": colour}, name=name, legend="legend3", mode="lines"), 3, 1
        )
    longest = centre[np.flatnonzero(reference.histogram)[-1]] + 1
    for row, column, across, up in (
        (1, 1, "time (ps)", "share"), (1, 2, "time (ps)", "gain (meV/atom)"), (2, 1, "distance (Å)", "h(r) (1/Å)"),
        (2, 2, "length of the bond (Å)", "energy (eV)"), (3, 1, "angle from rest (degrees)", "energy (eV)"),
    ):  # fmt: skip
        made.update_xaxes(title_text=across, row=row, col=column)
        made.update_yaxes(title_text=up, row=row, col=column)
    made.update_yaxes(range=[-0.03, 1.05], row=1, col=1)
    made.update_xaxes(range=[0.5, longest], row=2, col=1)
    made.update_layout(
        title=title, template="plotly_white", height=1200,
        legend={"x": 1.01, "y": 1}, legend2={"x": 1.01, "y": 0.63, "yanchor": "top"},
        legend3={"x": 1.01, "y": 0.25, "yanchor": "top"},
    )  # fmt: skip
    return made


def comparison_figure(table: pd.DataFrame, picoseconds: float) -> Figure:
    """Stability over force error: one panel with and one without a thermostat, a colour for each temperature."""
    ensembles = list(dict.fromkeys(table["ensemble"]))
    known = table["force_mae_mev_per_angstrom"]
    errors = np.log10([known.min() / 1.3, known.max() * 1.3]).tolist()
    titles = [f"{name}, mean of the replicas" for name in ensembles]
    made = make_subplots(1, len(ensembles), subplot_titles=titles, shared_yaxes=True)
    temperatures = sorted(set(table["temperature_k"]))
    for column, ensemble in enumerate(ensembles, 1):
        for colour, kelvin in zip(COLOURS * len(temperatures), temperatures, strict=False):
            of = table[(table["ensemble"] == ensemble) & (table["temperature_k"] == kelvin)]
            made.add_trace(
                Scatter(
                    x=of["force_mae_mev_per_angstrom"], y=of["stability_ps"], hovertext=of["model"],
                    name=f"{kelvin:g} K",
                    mode="markers+text", textposition="bottom center", showlegend=column == 1, cliponaxis=False,
                    text=of["model"] if kelvin == temperatures[-1] else None, textfont={"size": 10},
                    marker={"color": colour, "size": 11},
                ), 1, column,
            )  # fmt: skip
    made.update_xaxes(title_text="force MAE on the test split (meV/Å)", type="log", range=errors)
    made.update_yaxes(title_text="time until a bond breaks (ps)", col=1)
    made.update_yaxes(range=[-0.06 * picoseconds, 1.06 * picoseconds])
    made.update_layout(title=f"Stability over force error, {picoseconds:g} ps", template="plotly_white")
    return made


def comparison_text(table: pd.DataFrame) -> str:
    """All models, the lowest force error first, and whether it is also the most stable."""
    of = table[table["ensemble"] == LANGEVIN]
    kelvins = sorted({float(kelvin) for kelvin in of["temperature_k"]})
    models: dict[tuple[float, str], dict[float, float]] = {}
    for row in of.to_dict("records"):
        held = models.setdefault((float(row["force_mae_mev_per_angstrom"]), str(row["model"])), {})
        held[float(row["temperature_k"])] = float(row["stability_ps"])
    lines = [f"{'model':>28} {'force MAE':>10} " + " ".join(f"{kelvin:>8g} K" for kelvin in kelvins)]
    for (error, name), held in sorted(models.items()):
        lines.append(f"{name:>28} {number(error, 1):>10} " + " ".join(f"{held[kelvin]:>10.2f}" for kelvin in kelvins))
    lines.append("(ps until a bond breaks, with a thermostat, mean of the replicas; meV/Angstrom)")
    accurate, hottest = min(models), kelvins[-1]
    steady = max(models, key=lambda model: models[model][hottest])
    if models[accurate][hottest] < models[steady][hottest]:
        lines.append(
            f"the lowest force error is not the most stable model: at {hottest:g} K {accurate[1]} holds "
            f"{models[accurate][hottest]:.2f} ps, {steady[1]} with {number(steady[0], 1)} meV/Angstrom "
            f"{models[steady][hottest]:.2f} ps"
        )
    return "\n".join(lines)
