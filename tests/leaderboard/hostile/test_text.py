"""Texts that want to be more than text: markup, paths, addresses, keys that nobody declared."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chemscale_bench.leaderboard.levels import Level, judge
from hostile.attacks import GENERATED, SCRIPT, Attack, check_held, check_one_line, put, run, update

REFUSED: dict[str, Attack] = {
    "unknown key": (lambda p: update(p, admin=True), "admin"),
    "unknown key in a run": (lambda p: run(p, admin=True), "admin"),
    "megabyte name": (lambda p: update(p, submitter="a" * 1_000_000), "submitter"),
    "traversal in the task": (lambda p: update(p, task="../../etc"), "task"),
    "traversal in the model": (lambda p: update(p, model="../x"), "model"),
    "traversal in a run": (lambda p: run(p, run="../../x"), "run"),
    "no date": (lambda p: update(p, date="yesterday"), "date"),
    "script in the submitter": (lambda p: update(p, submitter=SCRIPT), "submitter"),
    "script in the description": (lambda p: update(p, description=SCRIPT), "description"),
    "script in the data": (lambda p: update(p, data=SCRIPT), "data"),
    "script in the device": (lambda p: run(p, device=SCRIPT), "device"),
    "script in a setting": (lambda p: run(p, settings={"decay": SCRIPT}), "settings"),
    "script in a setting's name": (lambda p: run(p, settings={SCRIPT: "1"}), "settings"),
    "script as a link": (lambda p: update(p, link="javascript:alert(1)"), "link"),
    "link with a quote": (lambda p: update(p, link='https://a.b/"onclick="x'), "link"),
    "reversed text": (lambda p: update(p, submitter="a\u202eb"), "submitter"),
    "two lines": (lambda p: update(p, submitter="a\nb"), "submitter"),
    "no letters": (lambda p: update(p, submitter="..."), "submitter"),
}
HOSTILE = st.one_of(
    st.sampled_from(["1", "1e3", SCRIPT, "../x", "/etc/passwd", "\0", "x" * 5000, "\ud800", "", "🧪" * 300]),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), -1, -0.5, 10**400, 1e300, 2**63]),
    st.booleans(), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, honest: Path, tmp_path: Path) -> None:
    check_held(REFUSED[name], Level.REFUSED, honest, tmp_path)


def leaves(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, item in items for leaf in leaves(item, (*where, key))]
    return found or [where]


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
    check_one_line(verdict)
