"""The verb `embed`: every molecule of the file in its order, or one line that says what is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import Featurizer
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.settings.embed import EmbedSettings
from chemscale_bench.verbs.embed import embed

TABLE = 'id,smiles,name\n1,CCO,"ethanol, pure"\n2,C(,broken\n3,,nothing\n4,CCN,amine\n5,[Xe],xenon\n'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A checkpoint as it is before training."""
    family = LANGUAGE_MODELS.family("llama")
    vocabulary = Vocabulary.build({"[C]": 3, "[O]": 2, "[N]": 1}, selfies_version="2")
    network = family.build(family.config_for(30_000, vocabulary.size), 0)
    folder = tmp_path / "model"
    family.save_pretrained(network, folder, vocabulary.start_id, vocabulary.end_id, vocabulary.pad_id)
    vocabulary.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_a_row_for_every_line(packed: bool, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / ("m.csv.gz" if packed else "m.csv"), tmp_path / "new" / "features.parquet"
    data.write_bytes(gzip.compress(TABLE.encode()) if packed else TABLE.encode())
    embed(EmbedSettings(run=str(model), data=str(data), out=str(out), device="cpu"))
    written = pd.read_parquet(out)
    assert written["smiles"].tolist() == ["CCO", "C(", "", "CCN", "[Xe]"]
    assert written["reason"].tolist() == ["", "unparsable", "empty", "", "unknown_symbol"]
    vectors = written.filter(regex=r"^f\d+$").to_numpy()
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[[0, 3]], Featurizer(model)(["CCO", "CCN"]), atol=1e-6)
    assert np.isnan(vectors[[1, 2, 4]]).all()
    said = capsys.readouterr().out
    assert "5 molecules" in said
    assert "1 empty, 1 unknown_symbol, 1 unparsable" in said
    assert [path.name for path in out.parent.iterdir()] == ["features.parquet"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ""}, "data must be a file of SMILES .* got nothing; give data=molecules.csv"),
        ({"data": "nowhere.csv"}, "data must be an existing file, got nowhere.csv"),
        ({"out": "features.csv"}, "out must be the path of a .parquet file, got 'features.csv'"),
        ({"out": "/dev/null/features.parquet"}, "out must be a file that can be written"),
        ({"run": ""}, "run must be the id of a run or the folder of a checkpoint, got nothing"),
        ({"layer": 7}, "layer must be from 0"),
        ({"data": "SELFIES"}, "data must be SMILES here, .* holds SELFIES"),
    ],
)
def test_bad_input_leaves_nothing(changes: dict[str, Any], message: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "m.smi").write_text("CCO\nCCN\n")
    (tmp_path / "SELFIES").write_text("[C][C][O]\n[C][C][N]\n")
    given: dict[str, Any] = {"run": str(model), "data": str(tmp_path / "m.smi"), "device": "cpu"}
    given |= {"out": str(tmp_path / "out.parquet")} | changes
    given["data"] = str(tmp_path / "SELFIES") if given["data"] == "SELFIES" else given["data"]
    with pytest.raises(UserError, match=message):
        embed(EmbedSettings(**given))
    assert not list(tmp_path.glob("*out*"))
