"""What a user is told of how a file was read."""

from pathlib import Path

import pytest

from chemscale_bench.data.layout import explain


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "id,Smiles\n1,CCO\n2,CCN\n3,CCC\n4,CF\n",
            "SMILES in column 2 between commas, below Smiles: CCO, CCN, CCC, ...",
        ),
        ("CCO ethanol\nCCN\n", "SMILES in column 1 between white space: CCO, CCN, ..."),
        (
            "a\t[C][O]\nb\t[C][Branch1]\n",
            "SELFIES in column 2 between white space: [C][O], [C][Branch1], ...",
        ),
    ],
)
def test_the_column_and_the_first_molecules_are_told(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.smi").write_text(text)
    assert explain(tmp_path / "mine.smi") == told
