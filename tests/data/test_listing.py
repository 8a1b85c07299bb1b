"""Molecules of a file in their order, and a column of numbers beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from chemscale_bench.data.codec import Codec
from chemscale_bench.data.listing import labelled, molecules
from chemscale_bench.data.spelling import spell
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError


def test_every_line_is_there_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "m.smi"
    path.write_bytes(b"CCO ethanol\r\n\r\nCCN\r\nc1ccccc1")
    ((found, read),) = molecules(path)
    assert found == ["CCO", "", "CCN", "c1ccccc1"]
    assert read == path.stat().st_size


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_end_where_those_of_training_do(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    rows = ["", "smiles,name,y", "CCO,a\u2028b,1", "CCN,c\x0cd,2"]  # neither of these ends a line
    path.write_bytes(ending.join(rows).encode())
    assert labelled(path, "y").values.tolist() == [1.0, 2.0]
    assert [text for found, _ in molecules(path) for text in found] == ["CCO", "CCN"]


def test_many_lines_come_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "m.smi"
    path.write_text("CCO\nCCN\n" * 10_000)
    parts = [found for found, _ in molecules(path)]
    assert [len(part) for part in parts] == [16_384, 3_616]
    assert parts[0][:3] == ["CCO", "CCN", "CCO"]


def test_values_stand_beside_their_molecules(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('name;smiles;"y";z\na;CCO;1.5;x\n"b;c";CCN;;x\nd;CCF;inf;x\n\ne;CCCl;-2e-1\n')
    found = labelled(path, "y")
    assert found.smiles == ["CCO", "CCCl"]
    assert found.values.tolist() == [1.5, -0.2]
    assert found.without_value == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("CCO\nCCN\n", "data must be a table with a column smiles and a header.*; add a header"),
        ("smiles y\nCCO 1\nCCN 2\n", "by commas or tabs, .*; write commas between its columns"),
        ("smiles,x\nCCO,1\n", "target must be a column of .*, got 'y'; it has x"),
        ("smiles,y\nCCO,high\n", "y has 'high' in line 2 of"),
    ],
)
def test_no_table_of_values(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.csv" if "," in content else tmp_path / "m.smi"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        labelled(path, "y")


def test_ids_are_those_of_training_and_refusals_have_reasons() -> None:
    vocabulary = Vocabulary.build({"[C]": 3, "[O]": 2, "[=C]": 1}, selfies_version="2")
    found = spell(["OCC", "C(", "", "C[Xe]", "C=C", "C" * 600], vocabulary, Codec())
    assert found.reasons == ["", "unparsable", "empty", "unknown_symbol", "", "too_long"]
    assert found.lengths.tolist() == [3, 0, 0, 0, 2, 0]
    assert found.ids.tolist() == vocabulary.encode("[C][C][O][C][=C]").tolist()
