"""What a run says of the molecules before it trains on them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chemscale_bench.runs.molecules import notes


class Split:
    """As many molecules."""

    tokens = range(10_000)

    def __init__(self, molecules: int) -> None:
        self.molecules = molecules

    def __len__(self) -> int:
        return self.molecules


@pytest.mark.parametrize(
    ("counts", "rest"),
    [
        ({"read": 3000, "test": 131}, "131 to test"),
        ({"read": 3010, "test": 131, "duplicate": 4, "empty": 1, "unparsable": 5},
         "131 to test, 4 duplicate, 1 empty, 5 that RDKit cannot read"),
    ],
)  # fmt: skip
def test_every_line_of_the_users_file_is_accounted_for(
    counts: dict[str, int], rest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.smi").write_text("CCO\nCC\nCCC\n")
    store: Any = SimpleNamespace(
        name="mine.smi", counts=Counter(counts), train=Split(2712), validation=Split(157), vocabulary=None
    )
    said = list(notes(store, 1_000, "mine.smi"))[1]
    assert said == f"{counts['read']:,} lines read: 2,712 molecules to train on, 157 to validate, {rest}"
    assert 2712 + 157 + sum(counts.values()) - counts["read"] == counts["read"]
