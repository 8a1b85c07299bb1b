"""Files as people have them: every format gives the same SMILES, every unfit file one line that says why."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

from chemscale_bench.data.smiles_file import LINE_LIMIT, SmilesFile
from chemscale_bench.errors import UserError

SMILES = ["CCO", "c1ccccc1", "", "CC(=O)O"]
TEXT = "CCO\nc1ccccc1\n\nCC(=O)O\n"


def zipped(path: Path, content: bytes, member: str = "inner.smi") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)


def read(path: Path, size: int = 3) -> list[str]:
    return [smiles for lines in SmilesFile(path).chunks(size) for smiles in lines.smiles]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.smi", TEXT),
        ("a.txt", TEXT.rstrip("\n")),
        ("a.smi", TEXT.replace("\n", "\r\n")),
        ("a.smi", "\ufeff" + TEXT),
        ("a.smi", "smiles\n" + TEXT),
        ("a.smi", "SMILES name\nCCO ethanol\nc1ccccc1\tbenzene 1\n\nCC(=O)O x y\n"),
        ("a.csv", "id,SMILES\n1,CCO\n2,c1ccccc1\n3,\n4,CC(=O)O\n"),
        ("a.csv", 'name;Canonical SMILES\n"a;b";CCO\n2;c1ccccc1\n3\n4;CC(=O)O\n'),
        ("a.tsv", "smiles\tname\nCCO\t1\nc1ccccc1\t2\n\t\nCC(=O)O\t\n"),
    ],
)
def test_formats(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert read(tmp_path / name) == SMILES


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("a.smi.gz", gzip.compress),
        ("a.smi.bz2", bz2.compress),
        ("a.smi.xz", lzma.compress),
        ("a.smi.zst", lambda data: pyarrow.compress(data, "zstd", asbytes=True)),
        ("wrong-suffix.smi", gzip.compress),
    ],
)
def test_compression_is_recognised_by_content(name: str, compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(compress(TEXT.encode()))
    assert read(tmp_path / name) == SMILES


def test_zip(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", TEXT.encode())
    assert read(tmp_path / "a.zip") == SMILES
    zipped(tmp_path / "b.zip", b"x,smiles\n1,CCO\n", "table.csv")
    assert read(tmp_path / "b.zip") == ["CCO"]


def test_chunks_report_how_much_was_read(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("CCO\n" * 100_000)
    fractions = [lines.fraction for lines in SmilesFile(tmp_path / "a.smi").chunks(10_000)]
    assert len(fractions) == 10
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 0.5 < fractions[-1] <= 1


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("CCO\n" + "C" * (5 * LINE_LIMIT) + "\nCC\n")
    assert [len(smiles) for smiles in read(tmp_path / "a.smi")] == [3, LINE_LIMIT, 2]


def test_no_line_of_a_spoilt_csv_is_lost(tmp_path: Path) -> None:
    """A stray quote spoils its own line at most, not those up to the next quote."""
    spoilt = ['"', '"CCN,7', 'x"', '"a"b","', "", '1,CCN,"first line of a note', 'a\rb,"']
    lines = [spoilt[i // 10 % len(spoilt)] if i % 10 < 3 else f'{i},"CCO",x' for i in range(1000)]
    (tmp_path / "a.csv").write_text("\n".join(["id,smiles,note", *lines]) + "\n", newline="")
    found = read(tmp_path / "a.csv")
    assert len(found) == 1000
    assert all(found[i] == "CCO" for i in range(1000) if i % 10 >= 3)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


MANY = "".join(f"{'C' * (i % 97)}O{'N' * (i % 13)}\n" for i in range(5000)).encode()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.smi", b"", "empty"),
        ("a.smi", b"  \n\n", "empty"),
        ("a.smi", bytes(range(256)) * 10, "binary"),
        ("a.smi", "CCO\n".encode("utf-16"), "binary"),
        ("a.csv", b"id,structure,mass\n1,CCO,46\n", "needs a column smiles, .* has id, structure, mass"),
        ("a.smi.gz", cut(gzip.compress(MANY)), "gzip file .* truncated or damaged"),
        ("a.smi.bz2", cut(bz2.compress(MANY)), "bzip2 file .* truncated or damaged"),
        ("a.smi.bz2", b"BZh91AY&SY" + bytes(100), "bzip2 file .* truncated or damaged"),
        ("a.smi.xz", cut(lzma.compress(MANY)), "xz file .* truncated or damaged"),
        ("a.smi.zst", cut(pyarrow.compress(MANY, "zstd", asbytes=True)), "zstd file .* truncated or damaged"),
        ("a.zip", b"PK\x03\x04" + bytes(200), "zip file .* truncated or damaged"),
    ],
)
def test_unfit_files_are_refused_in_one_line(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_missing_files_folders_and_crowded_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="existing file"):
        read(tmp_path / "none.smi")
    with pytest.raises(UserError, match="folder"):
        read(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.smi", "CC")
        archive.writestr("b.smi", "CC")
    with pytest.raises(UserError, match="holds 2"):
        read(tmp_path / "a.zip")
