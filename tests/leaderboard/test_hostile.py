"""Entries of people who want to be believed, or worse: every one is refused or held at its true level, in one line."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chemscale_bench.leaderboard import files
from chemscale_bench.leaderboard.planted import plant
from chemscale_bench.leaderboard.verify import Level, Verdict, judge

Change = Callable[[Path], object]
SCRIPT = "<script>alert(1)</script>"
NOWHERE = {"weights_sha256": "a" * 64, "config_sha256": "a" * 64}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of entries with one honest one, to be copied."""
    root = tmp_path_factory.mktemp("honest")
    plant(root, sizes=(30_000, 100_000), budgets=(30_000, 100_000), seeds=1, gpu=True)
    return root


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def copied(honest: Path, to: Path) -> Path:
    shutil.copytree(honest, to / "entries")
    return next((to / "entries").glob("*/*/*.json"))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


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
    digest = hashlib.sha256(path.with_suffix(".parquet").read_bytes()).hexdigest()
    edit(path, lambda entry: entry.update(curves_sha256=digest))


def run(path: Path, **values: Any) -> None:
    edit(path, lambda entry: entry["runs"][0].update(values))


def scale(path: Path, name: str, factor: float) -> None:
    edit(path, lambda entry: entry["runs"][0].update({name: entry["runs"][0][name] * factor}))


def move(path: Path, name: str) -> None:
    target = path.parents[2] / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    path.with_suffix(".parquet").rename(target.with_suffix(".parquet"))


def link(path: Path) -> None:
    """Put the file elsewhere and a link in its place."""
    outside = next(parent for parent in path.parents if parent.name == "entries").parent / "elsewhere"
    path.rename(outside)
    path.symlink_to(outside)


def replace(path: Path, content: bytes) -> None:
    path.with_suffix(".parquet").write_bytes(content)
    sign(path)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def extra(path: Path, name: str) -> None:
    path.with_suffix("").mkdir()
    (path.with_suffix("") / name).write_text("x")


def checkpoint(path: Path, **files_: bytes) -> None:
    """Give the first run a checkpoint of these files."""
    name = json.loads(path.read_text())["runs"][0]["run"]
    folder = path.with_suffix("") / name
    folder.mkdir(parents=True)
    config, weights = files_.get("config", b"{}"), files_.get("weights", b"x")
    (folder / "config.json").write_bytes(config)
    (folder / "model.safetensors").write_bytes(weights)
    digests = {
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "config_sha256": hashlib.sha256(config).hexdigest(),
    }
    run(path, checkpoint=digests)


def duplicate_key(path: Path) -> None:
    path.write_text(path.read_text().replace('"model":', '"model": "other", "model":', 1))


def raw(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def speed_up(table: pd.DataFrame) -> None:
    table.loc[table["metric"].str.startswith("speed/"), "value"] *= 2.6


def stand_still(table: pd.DataFrame) -> None:
    table.loc[table["metric"].str.startswith("speed/"), "value"] = 0.0


def faster_than_light(path: Path) -> None:
    """104 % of the peak, with every other number in agreement."""
    curves(path, speed_up)

    def tell(entry: dict[str, Any]) -> None:
        for one in entry["runs"]:
            one["train_seconds"] /= 2.6
            one["units_per_s"] *= 2.6
            one["mfu"] = None

    edit(path, tell)


def better_everywhere(path: Path) -> None:
    """Validation losses that are halved in the results and in the curves alike."""

    def halve(table: pd.DataFrame) -> None:
        table.loc[table["metric"].str.startswith("val/"), "value"] /= 2

    curves(path, halve)

    def tell(entry: dict[str, Any]) -> None:
        for one in entry["runs"]:
            for result in one["results"]:
                for name in result["metrics"]:
                    result["metrics"][name] /= 2 if name.startswith("val/") else 1

    edit(path, tell)


def without_metadata(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(note="more")


REFUSED: dict[str, tuple[Change, str]] = {
    "unknown key": (lambda p: edit(p, lambda e: e.update(admin=True)), "admin"),
    "unknown key in a run": (lambda p: run(p, admin=True), "admin"),
    "number as text": (lambda p: run(p, train_seconds="1.0"), "train_seconds"),
    "truth as a number": (lambda p: run(p, seed=True), "seed"),
    "NaN": (lambda p: edit(p, lambda e: e["runs"][0].update(train_seconds=float("nan"))), "train_seconds"),
    "infinite": (lambda p: run(p, train_seconds=float("inf")), "train_seconds"),
    "overflow": (lambda p: raw(p, '"seed": 0', '"seed": 0, "mfu": 1e999'), ""),
    "a thousand digits": (lambda p: raw(p, '"seed": 0', '"seed": ' + "9" * 5000), ""),
    "negative": (lambda p: run(p, train_seconds=-1.0), "train_seconds"),
    "104 % MFU": (lambda p: run(p, mfu=1.04), "mfu"),
    "megabyte name": (lambda p: edit(p, lambda e: e.update(submitter="a" * 1_000_000)), "submitter"),
    "megabytes of JSON": (lambda p: path_of_size(p, files.MOST_JSON_BYTES + 1), "bytes"),
    "deep nesting": (lambda p: p.write_text("[" * 100_000), "JSON"),
    "not JSON": (lambda p: p.write_bytes(b"\x80\x04\x95"), "JSON"),
    "empty": (lambda p: p.write_text(""), ""),
    "a list": (lambda p: p.write_text("[]"), ""),
    "key twice": (duplicate_key, "once"),
    "run twice": (lambda p: edit(p, lambda e: e["runs"].append(e["runs"][0])), "once"),
    "size and seed twice": (
        lambda p: edit(p, lambda e: e["runs"].append({**e["runs"][0], "run": "another"})), "once"),
    "budgets backwards": (lambda p: edit(p, lambda e: e["runs"][0]["results"].reverse()), "ascend"),
    "unknown metric": (
        lambda p: edit(p, lambda e: e["runs"][0]["results"][0]["metrics"].update({"val/accuracy": 1.0})), "accuracy"),
    "traversal in the task": (lambda p: edit(p, lambda e: e.update(task="../../etc")), "task"),
    "traversal in the model": (lambda p: edit(p, lambda e: e.update(model="../x")), "model"),
    "traversal in a run": (lambda p: run(p, run="../../x"), "run"),
    "another path": (lambda p: move(p, "embedded-lm/chemgpt/somebody-else-2026-11-22"), "path"),
    "another date": (lambda p: edit(p, lambda e: e.update(date="2020-01-01")), "path"),
    "no date": (lambda p: edit(p, lambda e: e.update(date="yesterday")), "date"),
    "script in the submitter": (lambda p: edit(p, lambda e: e.update(submitter=SCRIPT)), "submitter"),
    "script in the description": (lambda p: edit(p, lambda e: e.update(description=SCRIPT)), "description"),
    "script in the data": (lambda p: edit(p, lambda e: e.update(data=SCRIPT)), "data"),
    "script in the device": (lambda p: run(p, device=SCRIPT), "device"),
    "script in a setting": (lambda p: run(p, settings={"decay": SCRIPT}), "settings"),
    "script in a setting's name": (lambda p: run(p, settings={SCRIPT: "1"}), "settings"),
    "script as a link": (lambda p: edit(p, lambda e: e.update(link="javascript:alert(1)")), "link"),
    "link with a quote": (lambda p: edit(p, lambda e: e.update(link='https://a.b/"onclick="x')), "link"),
    "reversed text": (lambda p: edit(p, lambda e: e.update(submitter="a\u202eb")), "submitter"),
    "two lines": (lambda p: edit(p, lambda e: e.update(submitter="a\nb")), "submitter"),
    "no letters": (lambda p: edit(p, lambda e: e.update(submitter="...")), "submitter"),
    "JSON is a link": (lambda p: link(p), "file"),
    "curves are a link": (lambda p: link(p.with_suffix(".parquet")), "file"),
    "curves are a pipe": (lambda p: pipe(p.with_suffix(".parquet")), "plain"),
    "no curves": (lambda p: p.with_suffix(".parquet").unlink(), "file"),
    "curves of others": (lambda p: p.with_suffix(".parquet").write_bytes(b"PAR1"), "sha256"),
    "curves are a zip": (lambda p: replace(p, b"PK\3\4" + b"0" * 99), "parquet"),
    "curves are compressed": (lambda p: curves(p, lambda t: None, compression="zstd"), "compressed"),
    "too many rows": (lambda p: curves(p, many_rows, compression="none"), "rows"),
    "a column more": (lambda p: curves(p, without_metadata, compression="none"), "columns"),
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
    "a file that nobody named": (lambda p: extra(p, "run.py"), "only"),
    "a pickle": (lambda p: extra(p, "pytorch_model.bin"), "only"),
    "folder is a link": (lambda p: p.with_suffix("").symlink_to("/etc"), "links"),
    "checkpoint is missing": (lambda p: run(p, checkpoint=NOWHERE), "beside"),
    "checkpoint elsewhere": (lambda p: run(p, checkpoint={**NOWHERE, "url": "file:///etc/passwd"}), "url"),
    "weights are a link": (lambda p: (checkpoint(p), link(next(p.with_suffix("").rglob("*.safetensors")))), "plain"),
    "task folder is a link": (lambda p: link(p.parents[1]), "links"),
}  # fmt: skip


def path_of_size(path: Path, size: int) -> None:
    with path.open("r+b") as stream:
        stream.truncate(size)


def many_rows(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[np.zeros(files.MOST_CURVE_ROWS + 1, int)]


INCONSISTENT: dict[str, tuple[Change, str]] = {
    "a better loss": (lambda p: edit(p, lambda e: e["runs"][0]["results"][1]["metrics"].update(
        {"val/loss_nats_per_token": 0.5})), "val/loss_nats_per_token must be what its curve says"),
    "a better loss in the curves too": (better_everywhere, "below the training loss"),
    "fewer tokens": (lambda p: run(p, units_trained=1000), "units_trained"),
    "less time": (lambda p: scale(p, "train_seconds", 0.5), "train_seconds"),
    "faster": (lambda p: scale(p, "units_per_s", 1.1), "units_per_s"),
    "fewer FLOPs": (lambda p: scale(p, "flops_total", 0.5), "FLOPs"),
    "no FLOPs": (lambda p: run(p, flops_total=None), "flops_total"),
    "a better MFU": (lambda p: run(p, mfu=0.6), "mfu"),
    "MFU of a processor": (lambda p: run(p, mfu=0.4, device="Abacus", gpus=0), ""),
    "104 % of the peak": (faster_than_light, "can do"),
    "hardly any energy": (lambda p: run(p, energy_kj=1e-9), "kJ"),
    "energy from nowhere": (lambda p: run(p, energy_source="unavailable"), "counter"),
    "smaller than it is": (lambda p: run(p, non_embedding_params=1000), "parameters"),
    "wider than it is": (lambda p: edit(p, lambda e: e["runs"][0]["network"].update(width=512)), "parameters"),
    "no network": (lambda p: run(p, network=None), "network"),
    "budget of another run": (lambda p: edit(p, lambda e: e["runs"][0]["results"][0].update(budget=29_999)), ""),
    "no decay": (lambda p: run(p, settings={}), "decay"),
    "decay is text": (lambda p: run(p, settings={"decay": "much"}), "decay"),
    "unknown task": (lambda p: (edit(p, lambda e: e.update(task="easy-lm")),
                                move(p, "easy-lm/chemgpt/ada-lovelace-2026-11-22")), "task"),
    "another digest": (lambda p: edit(p, lambda e: e.update(task_digest="0" * 16)), "task_digest"),
    "other data": (lambda p: edit(p, lambda e: e.update(data_digest="0" * 64)), "task_digest"),
    "lengths of molecules differ": (lambda p: longer_molecules(p), "same in all runs"),
    "no training curve": (
        lambda p: curves(p, lambda t: t[t["metric"] != "train/loss_nats_per_token"]), "training loss"),
    "no decay curve": (lambda p: curves(p, lambda t: t[~t["metric"].str.contains("decay")]), "decay"),
    "speed zero": (lambda p: curves(p, stand_still), "speed"),
}  # fmt: skip


def longer_molecules(path: Path) -> None:
    def tell(entry: dict[str, Any]) -> None:
        for result in entry["runs"][0]["results"]:
            result["metrics"]["val/nats_per_molecule"] *= 1.1

    edit(path, tell)
    name = json.loads(path.read_text())["runs"][0]["run"]

    def stretch(table: pd.DataFrame) -> None:
        table.loc[(table["run"] == name) & (table["metric"] == "val/nats_per_molecule"), "value"] *= 1.1

    curves(path, stretch)


def one_line(verdict: Verdict) -> None:
    assert verdict.why_not_next
    assert "\n" not in verdict.why_not_next
    assert len(verdict.why_not_next) < 1000


def test_the_honest_entry_is_consistent(honest: Path) -> None:
    verdict = judge(next(honest.glob("*/*/*.json")))
    assert (verdict.level, verdict.why_not_next) == (Level.CONSISTENT, "")


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, honest: Path, tmp_path: Path) -> None:
    path = copied(honest, tmp_path)
    change, says = REFUSED[name]
    change(path)
    path = next((tmp_path / "entries").glob("*/*/*.json"))
    before = sorted(tmp_path.rglob("*"))
    verdict = judge(path, Level.REPRODUCED)
    assert verdict.level == Level.REFUSED
    one_line(verdict)
    assert says in verdict.why_not_next
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", INCONSISTENT)
def test_valid_at_best(name: str, honest: Path, tmp_path: Path) -> None:
    path = copied(honest, tmp_path)
    change, says = INCONSISTENT[name]
    change(path)
    verdict = judge(next((tmp_path / "entries").glob("*/*/*.json")), Level.REPRODUCED)
    assert verdict.level == Level.VALID, verdict.why_not_next
    one_line(verdict)
    assert says in verdict.why_not_next


# -- generated ---------------------------------------------------------------------------------------------------

GENERATED = settings(
    max_examples=80, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
HOSTILE = st.one_of(
    st.sampled_from(["1", "1e3", SCRIPT, "../x", "/etc/passwd", "\0", "x" * 5000, "\ud800", "", "🧪" * 300]),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), -1, -0.5, 10**400, 1e300, 2**63]),
    st.booleans(), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
NUMBERS = [
    ("results", 0, "budget"), ("results", 1, "metrics", "val/loss_nats_per_token"), ("non_embedding_params",),
    ("results", 0, "metrics", "val/nats_per_molecule"), ("units_trained",), ("train_seconds",), ("units_per_s",),
    ("flops_total",), ("mfu",), ("network", "layers"), ("network", "width"),
]  # fmt: skip


def leaves(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, item in items for leaf in leaves(item, (*where, key))]
    return found or [where]


def put(entry: dict[str, Any], where: tuple[Any, ...], value: Any) -> Any:
    for key in where[:-1]:
        entry = entry[key]  # type: ignore[assignment]
    before, entry[where[-1]] = entry[where[-1]], value
    return before


@pytest.fixture(scope="module")
def scratch(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(honest, tmp_path_factory.mktemp("scratch"))


@GENERATED
@given(data=st.data())
def test_hostile_values_anywhere(data: st.DataObject, honest: Path, scratch: Path) -> None:
    entry = json.loads(next(honest.glob("*/*/*.json")).read_text())
    original = copy.deepcopy(entry)
    where = data.draw(st.sampled_from(leaves(entry)))
    put(entry, where, data.draw(HOSTILE))
    scratch.write_text(json.dumps(entry))
    verdict = judge(scratch, Level.REPRODUCED)
    # A harmless text may stand in a field of text, and an optional note may be empty.
    if verdict.loaded is not None:
        assert isinstance(put(original, where, None), (str, int, float))
        assert verdict.level < Level.REPRODUCED
    one_line(verdict)


@GENERATED
@given(where=st.sampled_from(NUMBERS), factor=st.floats(0.01, 100).filter(lambda f: abs(f - 1) > 0.15))
def test_no_number_can_be_moved_alone(where: tuple[Any, ...], factor: float, honest: Path, scratch: Path) -> None:
    entry = json.loads(next(honest.glob("*/*/*.json")).read_text())
    value = put(entry["runs"][0], where, 0)
    moved = value * factor if isinstance(value, float) else max(1, round(value * factor))
    if moved == value:
        return
    put(entry["runs"][0], where, moved)
    scratch.write_text(json.dumps(entry))
    verdict = judge(scratch)
    assert verdict.level < Level.CONSISTENT
    one_line(verdict)


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
        one_line(verdict)
