"""The schema that is published is the one that is enforced."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chemscale_bench.leaderboard.entry import slug

ROOT = Path(__file__).parents[2]


def test_json_schema_is_current() -> None:
    written = subprocess.run(
        [sys.executable, "tools/entry_schema.py"], cwd=ROOT, env={"PYTHONPATH": "."}, capture_output=True, check=True
    )
    assert written.stdout == (ROOT / "leaderboard" / "entry.schema.json").read_bytes(), (
        "run: python tools/entry_schema.py > leaderboard/entry.schema.json"
    )


def test_the_schema_refuses_undeclared_keys_everywhere() -> None:
    schema = json.loads((ROOT / "leaderboard" / "entry.schema.json").read_text())
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ada Lovelace", "ada-lovelace"),
        ("  ../../etc ", "etc"),
        ("Müller & Søn", "muller-sn"),
        ("<b>", "b"),
        ("…", ""),
    ],
)
def test_slug(name: str, expected: str) -> None:
    assert slug(name) == expected
