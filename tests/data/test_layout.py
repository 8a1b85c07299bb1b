"""What a user is told of how a file was read."""

from pathlib import Path

import pytest

from chemscale_bench.data.layout import explain
from chemscale_bench.errors import UserError


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "id,Smiles\n1,CCO\n2,CCN\n3,CCC\n4,CF\n",
            "SMILES in column 2 between commas, below Smiles: CCO, CCN, CCC, ...",
        ),
        (
            "CCO\tInChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3\nCCN\tInChI=1S/C2H7N/c1-2-3/h2-3H2,1H3\n",
            "SMILES in column 1 between white space: CCO, CCN, ...",
        ),
        ("CCO ethanol\nCCN\n", "SMILES in column 1 between white space: CCO, CCN, ..."),
        (
            "a\t[C][O]\nb\t[C][Branch1]\n",
            "SELFIES in column 2 between white space: [C][O], [C][Branch1], ...",
        ),
        (
            "ID|Structure|Activity\na|CCO|1\nb|CCN|2\nc|CCC|3\n",
            "SMILES in column 2 between bars, below Structure: CCO, CCN, CCC, ...",
        ),
        ("# mine\nCCO a\nCCN b\nCCC c\n", "SMILES in column 1 between white space: CCO, CCN, CCC, ..."),
        ("C1CC\nCCO\nCCN\nCCC\n", "SMILES in column 1 between white space: CCO, CCN, CCC, ..."),
    ],
)
def test_the_column_and_the_first_molecules_are_told(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.smi").write_text(text)
    assert explain(tmp_path / "mine.smi") == told


TABLE = "id,smiles,Product,product (salt)\n" + "".join(
    f"{n},{'C' * n}O,{'C' * n}N,{'C' * n}N.Cl\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("content", "column", "told"),
    [
        (TABLE, "Product", "SMILES in column 3 between commas, below Product: CN, CCN, CCCN"),
        (TABLE, "PRODUCT", "SMILES in column 3 between commas, below Product: CN, CCN, CCCN"),
        (TABLE, "product (salt)", "SMILES in column 4 between commas, below product (salt): CN.Cl, CCN.Cl, CCCN.Cl"),
        (TABLE.replace("id", "product"), "Product", "SMILES in column 3 between commas, below Product: CN, CCN, CCCN"),
        (TABLE.replace(",", ";"), "Product", "SMILES in column 3 between semicolons, below Product: CN, CCN, CCCN"),
        ("a b,c\n1 CO,CN\n2 CC,CN\n", "b,c", "SMILES in column 2 between white space, below b,c: CO,CN, CC,CN"),
        ("x\tMolekül\n1\tCO\n2\tCN\n", "Molekül", "SMILES in column 2 between tabs, below Molekül: CO, CN"),
        ("x,y\n[C][O],CCN\n[C][=O],CF\n", "x", "SELFIES in column 1 between commas, below x: [C][O], [C][=O]"),
    ],
)
def test_the_user_may_name_the_column(content: str, column: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(content)
    assert explain(tmp_path / "mine.csv", column) == f"{told}, ..."


@pytest.mark.parametrize(
    ("content", "there"),
    [(TABLE, r"id, smiles, Product, product \(salt\);"), ("CCO\nCCN\n", "CCO; .* or add a header")],
)
def test_a_name_that_is_not_there_is_refused(content: str, there: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(content)
    with pytest.raises(
        UserError, match=rf"^column must be a name in the first line of .*, got 'mol', there stand {there}"
    ):
        explain(tmp_path / "mine.csv", "mol")
