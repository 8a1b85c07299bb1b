"""What a run remembers of the code that it ran."""

import subprocess
from pathlib import Path

import pytest

from chemscale_bench.tracking import provenance


def test_a_changed_file_may_be_in_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c", *words], check=True)

    monkeypatch.setattr(provenance, "CHECKOUT", tmp_path)
    (tmp_path / "notes.txt").write_text("green\n")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "notes")):
        git(*words)
    assert provenance.code_tags()["code.dirty"] == "false"
    digests = set()
    for colour in ("grün", "grau"):
        (tmp_path / "notes.txt").write_bytes(colour.encode("latin-1"))
        digests.add(provenance.code_tags()["code.diff_sha256"])
    assert len(digests) == 2
