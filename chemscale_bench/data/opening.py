"""Opening a file of the user's as a stream of bytes, whatever compresses it, or saying in one line why it is unfit."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from chemscale_bench.errors import UserError
from chemscale_bench.launcher import find_launcher

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}
OFFICE = {"[Content_Types].xml", "content.xml"}  # members of an archive that is a document of Microsoft or Libre Office
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip", ".zst")
# bz2, gzip and pyarrow report damage as an OSError without a number; zipfile an unknown method as a RuntimeError.
DAMAGE = (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, OSError, RuntimeError)


class Opened(NamedTuple):
    """A file that is open for reading."""

    raw: io.BufferedReader
    """Its bytes on disk; their position tells how much has been read."""
    content: io.BufferedReader
    """Its decompressed bytes."""
    name: str
    """Its name without the suffix of the compression."""
    compressed: bool


def user_path(text: str) -> Path:
    """A path as the user typed it; under `mlflow run /path` from another folder it may be relative to that folder.

    `mlflow run` works in the project's folder.
    """
    path = Path(text).expanduser()
    there = started_from() / path
    return there if there.exists() and not path.exists() else path.absolute()


def output_path(text: str) -> Path:
    """Where a result goes: `mlflow run URL` works in a temporary folder, from which the user would not get it."""
    path = Path(text).expanduser()
    return path if started_from() == Path.cwd() else started_from() / path


def output_file(text: str) -> Path:
    """The same for a file, whose folder is made; to be asked before the work, which would be lost.

    Raises:
        UserError: if it can't be written.
    """
    path = output_path(text)
    try:
        if path.is_dir() or (path.exists() and not os.access(path, os.W_OK)):
            raise OSError(0, "a folder" if path.is_dir() else "no permission")
        if not path.exists():
            make_writable(path.parent)
    except OSError as error:
        raise UserError(
            f"out must be a file that can be written, got {text!r} ({error.strerror}); name another"
        ) from None
    return path


def output_folder(text: str) -> Path:
    """The same for a folder, which is made.

    Raises:
        UserError: if it can't be written to.
    """
    path = output_path(text)
    try:
        make_writable(path)
    except OSError as error:
        raise UserError(f"out must be a writable folder, got {text!r} ({error.strerror}); name another") from None
    return path


def make_writable(folder: Path) -> None:
    """Make a folder if need be, and try it.

    Raises:
        OSError: if it takes no file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def started_from() -> Path:
    """The folder in which the user typed the command."""
    launcher = find_launcher()
    if isinstance(launcher, psutil.Process):
        with suppress(psutil.Error):
            return Path(launcher.cwd())
    return Path.cwd()


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open a file; compression is recognised by content.

    Raises:
        UserError: it is missing, no regular file, not readable, or damaged, perhaps only where it is read.
    """
    check_regular(path)
    kind = "text"
    try:
        with path.open("rb") as raw:
            head = raw.read(6)
            raw.seek(0)
            kind = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), "text")
            content, name = decompress(raw, kind, path)
            yield Opened(raw, content, name, kind != "text")
    except PermissionError:
        raise UserError(f"data must be readable, but {path} is not; change its permissions") from None
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise UserError(
            f"data must be an intact file, but the {kind} file {path} is truncated or damaged ({error}); "
            "download or compress it again"
        ) from None


def check_regular(path: Path) -> None:
    """Refuse what is missing, a folder, or a device, pipe or socket, which might never end.

    Raises:
        UserError: saying which.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(f"data must be an existing file, got {path} ({error.strerror}); check the path") from None
    if stat.S_ISDIR(mode):
        raise UserError(f"data must be a file, got the folder {path}; name one .smi, .csv or .txt file in it")
    if not stat.S_ISREG(mode) or path.resolve().parts[:2] in (("/", "proc"), ("/", "sys")):
        raise UserError(f"data must be a regular file, {path} is not a regular file; copy what it gives into a file")


def decompress(raw: io.BufferedReader, kind: str, path: Path) -> tuple[io.BufferedReader, str]:
    """The decompressed stream of a file, and its name without the suffix of the compression."""
    name = path.stem if path.suffix.lower() in COMPRESSED_SUFFIXES else path.name
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
            if OFFICE & {*members}:
                raise UserError(
                    f"data must be text, but {path} is a workbook of Excel or the like; save it as CSV UTF-8"
                )
            if len(members) != 1:
                raise UserError(
                    f"a zip archive given as data must hold one file, {path} holds {len(members)}; "
                    "unpack it and name the file"
                )
            return io.BufferedReader(archive.open(members[0])), members[0]  # type: ignore[arg-type]
    return raw, name
