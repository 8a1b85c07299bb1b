"""Reading SMILES out of a text or CSV file, compressed or not, without ever holding the file in memory."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from chemscale_bench.errors import UserError

LINE_LIMIT = 65_536  # bytes; the rest of a longer line is passed over
MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}
# bz2, gzip and pyarrow report damage as an OSError without a number; zipfile an unknown method as a RuntimeError.
DAMAGE = (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, OSError, RuntimeError, csv.Error)
DELIMITED = (".csv", ".tsv")
SMILES_COLUMNS = ("smiles", "canonical_smiles", "isomeric_smiles", "canonicalsmiles", "isomericsmiles", "smi")


class Lines(NamedTuple):
    """Consecutive SMILES of a file."""

    smiles: list[str]
    """As written in the file; an empty text for an empty line."""
    fraction: float
    """How much of the file has been read, 0 to 1."""


@dataclass(frozen=True)
class SmilesFile:
    """A file with one molecule a line.

    CSV and TSV files (by suffix) have a header with a column of SMILES. In any other text the SMILES is the first
    word of the line, and a first line that says "smiles" is a header. Compression (gz, bz2, xz, zip, zst) is
    recognised by content.
    """

    path: Path
    column: int | None = None
    """Column of the SMILES in a delimited file that has no header."""
    delimiter: str = ","
    """Delimiter of such a file."""

    def chunks(self, size: int) -> Iterator[Lines]:
        """The file's SMILES, `size` lines at a time.

        Raises:
            UserError: the file is missing, empty, binary or damaged, or has no column of SMILES.
        """
        with self._opened() as (raw, text, name):
            total = max(1, self.path.stat().st_size)
            batch: list[str] = []
            for smiles in self._smiles(text, name):
                batch.append(smiles)
                if len(batch) == size:
                    yield Lines(batch, min(1.0, raw.tell() / total))
                    batch = []
            if batch:
                yield Lines(batch, 1.0)

    def reading(self) -> str:
        """How the bytes are read, in words: the same bytes read as CSV and as text are not the same molecules.

        Raises:
            UserError: as `chunks`, for what the first line shows.
        """
        next(self.chunks(1), None)
        if self.column is not None:
            return f"column {self.column} between {self.delimiter!r}"
        with self._opened() as (_, _, name):
            return "named column" if Path(name).suffix.lower() in DELIMITED else "first words"

    @contextmanager
    def _opened(self) -> Iterator[tuple[io.BufferedReader, io.BufferedReader, str]]:
        """The raw file, its decompressed bytes, and its name without the suffix of the compression."""
        if not self.path.exists():
            raise UserError(f"data must be an existing file, got {self.path}; check the path")
        if not self.path.is_file():
            raise UserError(f"data must be a file, got the folder {self.path}; name one .smi, .csv or .txt file in it")
        kind = "text"
        try:
            with self.path.open("rb") as raw:
                head = raw.read(6)
                raw.seek(0)
                kind = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), "text")
                stream, name = self._decompress(raw, kind)
                yield raw, stream, name
        except PermissionError:
            raise UserError(f"data must be readable, but {self.path} is not; change its permissions") from None
        except DAMAGE as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise UserError(
                f"data must be an intact file, but the {kind} file {self.path} is truncated or damaged ({error}); "
                "download or compress it again"
            ) from None

    def _decompress(self, raw: io.BufferedReader, kind: str) -> tuple[io.BufferedReader, str]:
        name = self.path.name if kind == "text" else self.path.stem
        match kind:
            case "gzip":
                return io.BufferedReader(gzip.GzipFile(fileobj=raw)), name
            case "bzip2":
                return io.BufferedReader(bz2.BZ2File(raw)), name
            case "xz":
                return io.BufferedReader(lzma.LZMAFile(raw)), name
            case "zstd":
                import pyarrow

                return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd")), name
            case "zip":
                archive = zipfile.ZipFile(raw)
                members = [m for m in archive.namelist() if not m.endswith("/") and not m.startswith("__MACOSX/")]
                if len(members) != 1:
                    raise UserError(
                        f"a zip archive given as data must hold one file, {self.path} holds {len(members)}; "
                        "unpack it and name the file"
                    )
                return io.BufferedReader(archive.open(members[0])), members[0]  # type: ignore[arg-type]
        return raw, name

    def _smiles(self, text: io.BufferedReader, name: str) -> Iterator[str]:
        start = text.peek(LINE_LIMIT)[:LINE_LIMIT]
        if not start.strip():
            raise UserError(f"data must hold molecules, but {self.path} is empty; give a file with one SMILES a line")
        if b"\0" in start:
            raise UserError(f"data must be text, but {self.path} is binary; give a file with one SMILES a line")
        if start.startswith(b"\xef\xbb\xbf"):
            text.read(3)
        lines = _lines(text)
        suffix = Path(name).suffix.lower()
        if self.column is not None:
            return _delimited(lines, self.column, self.delimiter)
        if suffix in DELIMITED:
            header = next(lines)
            column, delimiter = self._smiles_column(header)
            return _delimited(lines, column, delimiter)
        return _first_words(lines)

    def _smiles_column(self, header: str) -> tuple[int, str]:
        delimiter = max(",\t;|", key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        lowered = [name.lower().replace(" ", "_") for name in names]
        for wanted in SMILES_COLUMNS:
            if wanted in lowered:
                return lowered.index(wanted), delimiter
        raise UserError(
            f"a CSV file needs a column smiles, {self.path} has {', '.join(names)[:500]}; rename one to smiles"
        )


def _lines(text: io.BufferedReader) -> Iterator[str]:
    """Lines without their ends; characters outside ASCII become one that no SMILES contains."""
    while line := text.readline(LINE_LIMIT):
        rest = line
        while not rest.endswith(b"\n") and (rest := text.readline(LINE_LIMIT)):
            pass
        yield line.rstrip(b"\r\n").decode("ascii", "replace")


def _first_words(lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        word = (line.split(None, 1) or [""])[0]
        if number or word.lower() not in SMILES_COLUMNS:
            yield word


def _delimited(lines: Iterator[str], column: int, delimiter: str) -> Iterator[str]:
    # Line by line: for a reader of the whole file a stray quote would swallow the lines up to the next one.
    for line in lines:
        row = line.split(delimiter) if '"' not in line else _quoted(line, delimiter)
        yield row[column].strip() if len(row) > column else ""


def _quoted(line: str, delimiter: str) -> list[str]:
    """The fields of a line with quotes; one that is not closed ends with the line. None if it can't be told."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []
