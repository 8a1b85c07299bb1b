"""What `prepare` refuses, in one line, and what is left when a disk is full or a file is broken."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import Manifest
from chemscale_bench.errors import UserError

ALL = 10**9


def test_a_third_of_garbage_is_counted(smi: Path, molecules: list[str]) -> None:
    lines = [text if i % 3 else f"%garbage {i}" for i, text in enumerate(molecules[:1500])]
    smi.write_text("\n".join(lines))
    counts = prepare(str(smi), train_tokens=1, validation_molecules=1, workers=1).counts
    assert 500 <= counts["unparsable"] <= 505
    assert counts["train"] > 800


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "hello\nworld\n" * 50,
            "none of 100 lines .* is usable .*100 unparsable; of its first line, 'hello',",
        ),
        ("FI(F)F\n" * 3, "3 not_encodable"),
        (
            "CCO\n" * 20,
            "validation split .*19 duplicate.* read as SMILES in column 1 between white space: CCO, CCO, CCO",
        ),
    ],
)
def test_files_without_enough_molecules_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text(text)
    with pytest.raises(UserError, match=words):
        prepare(str(tmp_path / "a.smi"), train_tokens=1, validation_molecules=1, workers=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"train_tokens": 0}, "train_tokens must be at least 1, got 0"),
        ({"validation_molecules": -1}, "validation_molecules must be at least 1, got -1"),
        ({"vocabulary": "gpt2"}, "dataset, smiles, chemgpt, got gpt2"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        prepare("embedded", **{"train_tokens": 1, "validation_molecules": 1, **arguments})  # type: ignore[arg-type]


def test_a_cache_that_cannot_be_written_is_one_line(smi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEMSCALE_HOME", str(smi))
    with pytest.raises(UserError, match="set CHEMSCALE_HOME"):
        prepare(str(smi), train_tokens=1, validation_molecules=1, workers=1)


def test_a_cache_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UserError, match=r"manifest\.json is not; .* set CHEMSCALE_HOME"):
        Manifest.read(tmp_path)


def test_a_full_disk_is_one_line_and_leaves_a_valid_store(smi: Path, small_shards: None) -> None:
    kept = prepare(str(smi), train_tokens=20_000, validation_molecules=20, workers=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * len(kept.train.tokens), before[1]))
    try:
        with pytest.raises(UserError, match="more disk space"):
            prepare(str(smi), train_tokens=ALL, validation_molecules=ALL, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    manifest = json.loads((kept.folder / "manifest.json").read_text())
    valid = 2 * sum(shard["tokens"]["train"] for shard in manifest["shards"])
    assert os.path.getsize(kept.folder / "train.tokens") == valid
    prepare(str(smi), train_tokens=ALL, validation_molecules=ALL, workers=1)


def test_another_selfies_version_is_refused(smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(str(smi), train_tokens=1, validation_molecules=1, workers=1)
    monkeypatch.setattr("chemscale_bench.data.prepare.version", lambda _: "9.9.9")
    with pytest.raises(UserError, match=r"installed is 9\.9\.9"):
        prepare(str(smi), train_tokens=1, validation_molecules=1, workers=1)


def test_a_broken_manifest_and_a_lost_file_are_one_line(smi: Path) -> None:
    store = prepare(str(smi), train_tokens=1, validation_molecules=1, workers=1)
    os.truncate(store.folder / "train.tokens", 100)
    with pytest.raises(UserError, match="shorter than its manifest"):
        prepare(str(smi), train_tokens=1, validation_molecules=1, workers=1)
    (store.folder / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="delete the folder"):
        prepare(str(smi), train_tokens=1, validation_molecules=1, workers=1)
