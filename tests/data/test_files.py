"""Files as people have them: every format gives the same molecules, every unfit file one line that says why."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest

from chemscale_bench.data import text_lines
from chemscale_bench.data.sources import open_source
from chemscale_bench.data.text_lines import LINE_LIMIT, open_lines
from chemscale_bench.errors import UserError

SMILES = ["CCO", "c1ccccc1", "", "CC(=O)O"]
TEXT = "CCO\nc1ccccc1\n\nCC(=O)O\n"


def zipped(path: Path, content: bytes, member: str = "inner.smi") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)


def silent(_: float) -> None:
    """Progress that nobody watches."""


def read(path: Path) -> list[str]:
    """The molecules of a file in the order of its lines, taken out of the random order."""
    source = open_source(str(path))
    found = [text for lines in source.in_random_order(3, 0, silent) for text in lines.molecules]
    order = np.arange(len(found), dtype=np.uint32)
    np.random.RandomState(0).shuffle(order)
    return [found[place] for place in np.argsort(order)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.smi", TEXT),
        ("a.txt", TEXT.rstrip("\n")),
        ("a.smi", TEXT.replace("\n", "\r\n")),
        ("a.smi", TEXT.replace("\n", "\r")),
        ("a.smi", "\ufeff" + TEXT),
        ("a.smi", "smiles\n" + TEXT),
        ("a.smi", "SMILES name\nCCO ethanol\nc1ccccc1\tbenzene 1\n\nCC(=O)O x y\n"),
        ("a.smi", "name SMILES\nethanol CCO\n1 c1ccccc1\n\nx CC(=O)O\n"),
        ("a.smi", "CCO |$a;b;c$|\nc1ccccc1 |c:0,2,4| benzene\n\nCC(=O)O\n"),
        ("a.smi", "CCO,mol0\nc1ccccc1,mol1\n\nCC(=O)O,mol2\n"),
        ("a.txt", "CCO;mol 0\nc1ccccc1;mol 1\n\nCC(=O)O;mol 2\n"),
        ("a.txt", "1|CCO\n2|c1ccccc1\n3|\n4|CC(=O)O\n"),
        ("a.csv", "1,CCO\n2,c1ccccc1\n3,\n4,CC(=O)O\n"),
        ("a.csv", TEXT),
        ("a.csv", "id,SMILES\n1,CCO\n2,c1ccccc1\n3,\n4,CC(=O)O\n"),
        ("a.csv", 'name;Canonical SMILES\n"a;b";CCO\n2;c1ccccc1\n3\n4;CC(=O)O\n'),
        ("a.csv", "smiles,name; synonyms; other\nCCO,a;b;c\nc1ccccc1,a;b;c\n,\nCC(=O)O,a;b;c\n"),
        ("a.csv", '"a;b;c;d",smiles\nx,CCO\nx,c1ccccc1\nx\nx,CC(=O)O\n'),
        ("a.csv", '"a|b|c|d","smiles"\n"x","CCO"\n"x","c1ccccc1"\n"x"\n"x","CC(=O)O"\n'),
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


def test_a_compressed_file_is_unpacked_and_indexed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.smi.gz").write_bytes(gzip.compress(TEXT.encode()))
    shares: list[float] = []
    first = open_lines(tmp_path / "a.smi.gz", shares.append).read(np.arange(4))
    assert first == SMILES
    assert shares[-1] == 1
    monkeypatch.setattr(text_lines, "index_lines", None)
    assert open_lines(tmp_path / "a.smi.gz", silent).read(np.array([3, 0])) == [SMILES[3], SMILES[0]]


def test_a_line_across_blocks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{'C' * (i % 29)}O" for i in range(500)]
    (tmp_path / "a.smi").write_text("\n".join(lines))
    monkeypatch.setattr(text_lines, "BLOCK", 64)
    assert open_lines(tmp_path / "a.smi", silent).read(np.arange(500)) == lines


def test_the_random_order_is_the_same_from_any_place(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("\n".join("C" * i for i in range(1, 200)))
    source = open_source(str(tmp_path / "a.smi"))
    whole = [text for lines in source.in_random_order(7, 0, silent) for text in lines.molecules]
    assert sorted(map(len, whole)) == list(range(1, 200))
    assert [text for lines in source.in_random_order(11, 60, silent) for text in lines.molecules] == whole[60:]
    assert [len(text) for text in whole[:5]] == [19, 170, 107, 93, 177]  # golden: it is that of every machine and NumPy


def test_no_line_of_a_spoilt_csv_is_lost(tmp_path: Path) -> None:
    """A stray quote spoils its own line at most, not those up to the next quote."""
    spoilt = ['"', '"CCN,7', 'x"', '"a"b","', "", '1,CCN,"first line of a note', 'a\rb,"']
    lines = [spoilt[i // 10 % len(spoilt)] if i % 10 < 3 else f'{i},"CCO",x' for i in range(1000)]
    (tmp_path / "a.csv").write_text("\n".join(["id,smiles,note", *lines]) + "\n", newline="")
    found = read(tmp_path / "a.csv")
    assert len(found) == 1000
    assert all(found[i] == "CCO" for i in range(1000) if i % 10 >= 3)


@pytest.mark.parametrize(
    ("content", "header"),
    [
        ("[C][C][O]\n[C][=C]\n[C][Branch1][C][C][C]\n", False),
        ("[C][C][Branch1_1][C][C][O]\n[C][Expl=Ring1][C]\n[C][N]\n", False),
        ("selfies,name\n[C][C][O],a\n[C][=C],b\n[C][Branch1][C][C][C],c\n", True),
    ],
)
def test_selfies_are_recognised(content: str, header: bool, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(content)
    source = open_source(str(tmp_path / "a.txt"))
    assert source.selfies
    assert source.parts[0].layout.header == header


def test_smiles_of_bracket_atoms_are_not_selfies(tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("[Na+].[Cl-]\n[K+].[Br-]\n[H][H]\n[NH4+].[Cl-]\n")
    assert not open_source(str(tmp_path / "a.smi")).selfies


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


MANY = "".join(f"{'C' * (i % 97)}O{'N' * (i % 13)}\n" for i in range(5000)).encode()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:49fe1aae\nsize 67916778\n"
SDF = b"ethanol\n  RDKit\n\n  3  2  0  0  0  0  0  0  0  0999 V2000\n    0.0 0.0 0.0 C 0\nM  END\n$$$$\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.smi", b"", "empty"),
        ("a.smi", b"  \n\n", "empty"),
        ("a.smi", bytes(range(256)) * 10, "binary"),
        ("a.smi", "CCO\n".encode("utf-16"), "is UTF-16, such as Excel's Unicode Text; save it as CSV UTF-8"),
        ("a.csv", b"PAR1\x15\0\x15", "is a Parquet file; write its column as CSV"),
        ("a.xls", b"\xd0\xcf\x11\xe0" + bytes(20), "is an Excel workbook; save its sheet as CSV UTF-8"),
        ("a.jsonl", b'{"smiles": "CCO"}\n', "is JSON; write its SMILES one a line"),
        (
            "a.csv",
            b"id,structure,mass\n1,CCO,46\n",
            "needs a column smiles, .* has id, structure, mass; SMILES are in structure: give column=structure",
        ),
        (
            "a.csv",
            "id;Reinsubstanz Ö;Salz;aktiv\n1;CCO;CCO.Cl;N\n".encode(),
            "has id, Reinsubstanz Ö, Salz, aktiv; SMILES are in Reinsubstanz Ö and Salz: give "
            "column='Reinsubstanz Ö' or column=Salz",
        ),
        ("a.csv", b"name,mass\naspirin,180\n", "has name, mass; none of them holds SMILES; name one that does"),
        ("a.csv", POINTER, "is a Git LFS pointer, not the data; git lfs pull"),
        ("a.csv.gz", POINTER, "is a Git LFS pointer, not the data; git lfs pull"),
        ("a.csv.gz", gzip.compress(POINTER, mtime=0), "is a Git LFS pointer"),
        ("a.sdf", SDF, "is an SDF file; convert it"),
        ("a.txt", SDF, "is an SDF file"),
        ("a.sdf.gz", gzip.compress(SDF, mtime=0), "is an SDF file"),
        ("a.mol2", b"@<TRIPOS>MOLECULE\nethanol\n", "is a MOL2 file"),
        ("a.pdb", b"HEADER x\nHETATM    1  C1  LIG\n", "is a PDB file"),
        ("a.txt", b"InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3\n", "is a list of InChI"),
        ("a.smi", b"<!DOCTYPE html>\n<title>404</title>\n", "is a web page; download the file itself"),
        ("a.smi.gz", cut(gzip.compress(MANY, mtime=0)), "gzip file .* truncated or damaged"),
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


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
def test_a_line_longer_than_any_molecule_is_refused_with_its_number(
    compress: Callable[[bytes], bytes], tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "a.smi").write_bytes(compress(b"CCO\n" * 20_000 + b"C" * (LINE_LIMIT + 1) + b"\nCC\n"))
    with pytest.raises(UserError, match=r"at most 65,536 bytes long, line 20,001 of .* is longer"):
        read(tmp_path / "a.smi")
    assert not [file for file in cache.glob("lines/*/*") if file.is_file()]


def test_a_bomb_is_refused_after_its_first_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.smi.gz").write_bytes(gzip.compress(b"C" * (16 * text_lines.BLOCK)))
    shares: list[float] = []
    with pytest.raises(UserError, match="line 1 of"):
        open_lines(tmp_path / "a.smi.gz", shares.append)
    assert not shares  # the second block was not asked for


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.smi")
    for path in ("/dev/zero", "/dev/null", "/proc/self/mem", str(tmp_path / "pipe.smi")):
        with pytest.raises(UserError, match="is not a regular file"):
            open_source(path)


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
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "")
        archive.writestr("xl/workbook.xml", "")
    with pytest.raises(UserError, match="is a workbook of Excel or the like; save it as CSV UTF-8"):
        read(tmp_path / "a.xlsx")
