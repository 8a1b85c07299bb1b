"""Named sets of properties: by download, and told by their content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chemscale_bench.data import properties
from chemscale_bench.data.listing import labelled
from chemscale_bench.errors import UserError

SHARED = {
    "esol": ("ESOL_delaney-processed.csv", 1128),
    "freesolv": ("FreeSolv_SAMPL.csv", 642),
    "lipophilicity": ("Lipophilicity.csv", 4200),
    "bbbp": ("BBBP.csv", 2050),
    "bace": ("bace.csv", 1513),
}


@pytest.mark.parametrize("name", properties.SETS)
def test_the_real_sets(
    name: str, shared: Callable[[str], Path], cache: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, molecules = SHARED[name]
    url, folder = server
    (folder / properties.SETS[name].file_name).write_bytes(shared(f"moleculenet/{file}").read_bytes())
    monkeypatch.setenv("CHEMSCALE_MIRROR", url)
    assert len(properties.read(name).smiles) == molecules


def test_other_columns_and_names_make_no_other_set(tmp_path: Path) -> None:
    one, other = tmp_path / "a.csv", tmp_path / "b.csv"
    one.write_text("mol,CID,Class\nCCO,x,1\nCCN,y,0\n")
    other.write_text("smiles,Class\nCCO,1\nCCN,0\n")
    assert properties.digest(labelled(one, "Class")) == properties.digest(labelled(other, "Class"))
    other.write_text("smiles,Class\nCCO,1\nCCN,1\n")
    assert properties.digest(labelled(one, "Class")) != properties.digest(labelled(other, "Class"))


def test_what_is_not_the_set_is_refused(cache: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    url, folder = server
    (folder / "SAMPL.csv").write_text("smiles,expt\nCCO,1\n")
    monkeypatch.setenv("CHEMSCALE_MIRROR", url)
    with pytest.raises(UserError, match=r"freesolv must hold the molecules and values with the sha256 19b6.*, got "):
        properties.read("freesolv")
    with pytest.raises(UserError, match=r"tasks must be of esol, .*, got 'delaney'"):
        properties.read("delaney")
