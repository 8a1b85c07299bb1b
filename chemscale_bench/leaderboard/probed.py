"""What `probe` has found the features of trained runs to be worth, as an entry carries it."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, get_args

from pydantic import ValidationError

from chemscale_bench.leaderboard.consistent import claim
from chemscale_bench.leaderboard.entry import Entry, Probe, Property
from chemscale_bench.leaderboard.generated import finished, logged_rows
from chemscale_bench.scaling.table import describe
from chemscale_bench.settings.probe import ProbeSettings
from chemscale_bench.shell import unquoted
from chemscale_bench.tracking.store import open_store

Probes = dict[tuple[str, int], dict[Property, Probe]]
"""By run and budget in tokens, then by property."""

PLAIN = {name: ProbeSettings.model_fields[name].default for name in ("pooling", "layer", "splits")}
"""What an entry's numbers were measured with: only so can they be compared."""
CLASSES: tuple[Property, ...] = ("bbbp", "bace")


def read_probes(run_ids: Collection[str]) -> Probes:
    """What features of some runs are worth, in whatever experiment it was logged; of several the newest.

    What an entry can't hold is left out, which a line on the standard error says.
    """
    from mlflow.exceptions import MlflowException

    found: Probes = {}
    left_out, known = Counter[str](), set(run_ids)
    for probing in finished(open_store(), "probe") if run_ids else ():
        params = unquoted(probing.data.params)
        if not params.get("tasks"):  # of somebody's own table
            continue
        try:
            rows = logged_rows(probing, "probes.csv")
        except (MlflowException, OSError, ValueError):
            left_out["runs of probe whose probes.csv is gone"] += 1
            continue
        own = [row for row in rows if row["kind"] == "trained" and row["run_id"] in known]
        if own and any(params.get(name) != str(value) for name, value in PLAIN.items()):
            left_out["models with another pooling, layer or number of splits"] += len(own)
            continue
        began = {(row.get("began_as"), row["property"]): row["linear"] for row in rows if row["kind"] == "untrained"}
        for row in own:
            try:
                made = probe_of(row, began)
            except ValidationError as error:
                left_out[f"rows whose {error.errors()[0]['loc'][0]} is missing or out of range"] += 1
            else:
                found.setdefault((row["run_id"], int(row["tokens"])), {})[row["property"]] = made
    if left_out:
        print(f"note: of probed features: {describe(left_out)}", file=sys.stderr)
    return found


def probe_of(row: Mapping[Any, Any], began: Mapping[Any, float]) -> Probe:
    """What the features of one model are worth for one property.

    Args:
        row: of probes.csv.
        began: of untrained networks the linear probe, by the run that they stand for and the property.

    Raises:
        ValidationError: if it is not all there.
    """
    names = ("molecules", "linear", "neighbours", "rogi_xd")
    about = {name: row[name] for name in names if row.get(name) == row.get(name)}
    return Probe.model_validate(about | {"linear_untrained": began.get((row.get("began_as"), row["property"]))})


def check(entry: Entry) -> None:
    """Check what can be told from the numbers alone.

    Raises:
        Inconsistent: naming the first contradiction.
    """
    molecules: dict[Property, int] = {}
    for run in entry.runs:
        began: dict[Property, float] = {}
        for name, made in [item for result in run.results for item in (result.probes or {}).items()]:
            first = molecules.setdefault(name, made.molecules)
            claim(
                made.molecules == first, run, f"{name} must be of {first:,} molecules, as in other runs", made.molecules
            )
            start = began.setdefault(name, made.linear_untrained)
            rule = f"linear_untrained of {name} must be {start:.6g} at every budget"
            same = math.isclose(made.linear_untrained, start, rel_tol=0.01)  # perhaps probed on different devices
            claim(same, run, rule, f"{made.linear_untrained:.6g}")
            areas = made.linear, made.linear_untrained, made.neighbours
            rule = f"{name} has two classes, whose area under the curve is 1 at most"
            claim(name not in CLASSES or max(areas) <= 1, run, rule, f"{max(areas):.6g}")


def summary(entry: Entry) -> str:
    """What an entry tells of features."""
    models = [result.probes for run in entry.runs for result in run.results]
    probed = [probes for probes in models if probes]
    if not probed:
        return "no features; `probe --tasks esol` on these runs before `submit` adds what they are worth"
    names = [name for name in get_args(Property) if any(name in probes for probes in probed)]
    return f"features of {len(probed)} of its {len(models)} models on {', '.join(names)}"
