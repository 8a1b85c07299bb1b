"""How to change an entry, and what has to be said of it then."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, settings

from chemscale_bench.leaderboard import files
from chemscale_bench.leaderboard.levels import Level, Verdict, judge

Attack = tuple[Callable[[Path], object], str]
"""A change of the entry at a path, and a word of the reason for which it is held back."""
SCRIPT = "<script>alert(1)</script>"
GENERATED = settings(
    max_examples=80, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


def copied(honest: Path, to: Path) -> Path:
    """A copy of the entries below `to`, as the path of its entry."""
    shutil.copytree(honest, to / "entries")
    return next((to / "entries").glob("*/*/*.json"))


def check_held(attack: Attack, level: Level, honest: Path, tmp_path: Path) -> None:
    """A copy of the honest entry under attack reaches this level only, and verifying it changes no file."""
    change, says = attack
    change(copied(honest, tmp_path))
    before = sorted(tmp_path.rglob("*"))
    verdict = judge(next((tmp_path / "entries").glob("*/*/*.json")), Level.REPRODUCED)
    assert verdict.level == level, verdict.why_not_next
    assert says in verdict.why_not_next
    check_one_line(verdict)
    assert sorted(tmp_path.rglob("*")) == before


def check_one_line(verdict: Verdict) -> None:
    """The reason is one line that can be read."""
    assert verdict.why_not_next
    assert "\n" not in verdict.why_not_next
    assert len(verdict.why_not_next) < 1000


# -- changes -----------------------------------------------------------------------------------------------------


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the JSON."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def update(path: Path, **values: Any) -> None:
    """Set keys of the entry."""
    edit(path, lambda entry: entry.update(values))


def run(path: Path, **values: Any) -> None:
    """Set keys of the first run."""
    edit(path, lambda entry: entry["runs"][0].update(values))


def curves(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None], **how: Any) -> None:
    """Change the curves, and the digest that the entry has of them."""
    table = pd.read_parquet(path.with_suffix(".parquet"))
    changed = change(table)
    table = table if changed is None else changed
    if how:
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path.with_suffix(".parquet"), **how)
    else:
        files.write_curves(table, path.with_suffix(".parquet"))
    sign(path)


def sign(path: Path) -> None:
    """Give the entry the digest of the curves beside it."""
    update(path, curves_sha256=hashlib.sha256(path.with_suffix(".parquet").read_bytes()).hexdigest())


def move(path: Path, name: str) -> None:
    """Give the files another path."""
    target = path.parents[2] / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    path.with_suffix(".parquet").rename(target.with_suffix(".parquet"))


def link(path: Path) -> None:
    """Put the file elsewhere and a link in its place."""
    outside = next(parent for parent in path.parents if parent.name == "entries").parent / "elsewhere"
    path.rename(outside)
    path.symlink_to(outside)


def put(entry: dict[str, Any], where: tuple[Any, ...], value: Any) -> Any:
    """Set a value deep inside, and return what was there."""
    for key in where[:-1]:
        entry = entry[key]
    before, entry[where[-1]] = entry[where[-1]], value
    return before
