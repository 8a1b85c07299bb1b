"""Files that are not what they seem: links, pipes, bombs, broken JSON and curves."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chemscale_bench.leaderboard import files
from chemscale_bench.leaderboard.levels import Level, judge
from hostile.attacks import GENERATED, Attack, check_held, check_one_line, curves, edit, link, move, sign, update


def enlarge(path: Path, size: int) -> None:
    with path.open("r+b") as stream:
        stream.truncate(size)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace(path: Path, content: bytes) -> None:
    path.with_suffix(".parquet").write_bytes(content)
    sign(path)


def duplicate_key(path: Path) -> None:
    path.write_text(path.read_text().replace('"model":', '"model": "other", "model":', 1))


def many_rows(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[np.zeros(files.MOST_CURVE_ROWS + 1, int)]


REFUSED: dict[str, Attack] = {
    "megabytes of JSON": (lambda p: enlarge(p, files.MOST_JSON_BYTES + 1), "bytes"),
    "deep nesting": (lambda p: p.write_text("[" * 100_000), "JSON"),
    "not JSON": (lambda p: p.write_bytes(b"\x80\x04\x95"), "JSON"),
    "empty": (lambda p: p.write_text(""), ""),
    "a list": (lambda p: p.write_text("[]"), ""),
    "no version": (lambda p: edit(p, lambda e: e.pop("version")), "an entry must have 'version', got none"),
    "key twice": (duplicate_key, "once"),
    "run twice": (lambda p: edit(p, lambda e: e["runs"].append(e["runs"][0])), "once"),
    "size and seed twice": (
        lambda p: edit(p, lambda e: e["runs"].append({**e["runs"][0], "run": "another"})), "once"),
    "another path": (lambda p: move(p, "embedded-lm/chemgpt/somebody-else-2026-11-22"), "path"),
    "another date": (lambda p: update(p, date="2020-01-01"), "path"),
    "JSON is a link": (lambda p: link(p), "file"),
    "curves are a link": (lambda p: link(p.with_suffix(".parquet")), "file"),
    "curves are a pipe": (lambda p: pipe(p.with_suffix(".parquet")), "plain"),
    "task folder is a link": (lambda p: link(p.parents[1]), "links"),
    "no curves": (lambda p: p.with_suffix(".parquet").unlink(), "file"),
    "curves of others": (lambda p: p.with_suffix(".parquet").write_bytes(b"PAR1"), "sha256"),
    "curves are a zip": (lambda p: replace(p, b"PK\3\4" + b"0" * 99), "parquet"),
    "curves are compressed": (lambda p: curves(p, lambda t: None, compression="zstd"), "compressed"),
    "too many rows": (lambda p: curves(p, many_rows, compression="none"), "rows"),
    "a column more": (lambda p: curves(p, lambda t: t.assign(note="more"), compression="none"), "columns"),
    "steps are text": (
        lambda p: curves(p, lambda t: t.assign(step=t["step"].astype(str)), compression="none"), "columns"),
    "steps backwards": (lambda p: curves(p, lambda t: t.iloc[::-1]), "ascend"),
    "negative steps": (lambda p: curves(p, lambda t: t.assign(step=t["step"] - 10**6)), "ascend"),
    "a point twice": (lambda p: curves(p, lambda t: pd.concat([t.iloc[:1], t])), "ascend"),
    "curves of an unknown run": (lambda p: curves(p, lambda t: t.replace({"run": {t["run"][0]: "zzz"}})), "run"),
    "an unknown curve": (
        lambda p: curves(p, lambda t: t.replace({"metric": {"train/loss_nats_per_token": "x"}})), "metric"),
    "NaN in a curve": (lambda p: curves(p, lambda t: t.assign(value=np.nan)), "gaps"),
    "infinity in a curve": (lambda p: curves(p, lambda t: t.assign(value=np.inf)), "finite"),
    "no value in a curve": (
        lambda p: curves(p, lambda t: t.assign(value=t["value"].where(t["step"] > 30_000)), compression="none"),
        "gaps",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, honest: Path, tmp_path: Path) -> None:
    check_held(REFUSED[name], Level.REFUSED, honest, tmp_path)


@GENERATED
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_broken_curves_crash_nothing(place: float, byte: int, honest: Path, scratch: Path) -> None:
    source = next(honest.glob("*/*/*.parquet"))
    content = bytearray(source.read_bytes())
    content[int(place * len(content))] = byte
    scratch.with_suffix(".parquet").write_bytes(content)
    scratch.write_text(next(honest.glob("*/*/*.json")).read_text())
    sign(scratch)
    verdict = judge(scratch)
    if verdict.level == Level.CONSISTENT:
        assert verdict.loaded is not None
        kept = verdict.loaded.curves.astype({"run": str, "metric": str})
        before = pd.read_parquet(source)
        # The training losses on the way decide nothing, as long as they are near the truth.
        assert (kept[["run", "step"]] == before[["run", "step"]]).all(axis=None)
    else:
        check_one_line(verdict)
