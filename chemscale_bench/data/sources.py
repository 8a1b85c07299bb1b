"""The named data sets, and the user's own files: from `data=` to SMILES and the identity of their content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chemscale_bench.data import embedded
from chemscale_bench.data.download import fetch, file_sha256
from chemscale_bench.data.smiles_file import Lines, SmilesFile
from chemscale_bench.errors import UserError


@dataclass(frozen=True)
class Source:
    """Molecules to prepare."""

    name: str
    """The data set's name, or the name of the user's file."""
    origin: str
    """Url or path."""
    sha256: str
    """Of the content of the files, one after another."""
    reading: str
    """How it is read."""
    parts: tuple[SmilesFile, ...]
    """The files, in order."""

    def chunks(self, size: int) -> Iterator[Lines]:
        """The SMILES of all parts in order, at most `size` at a time."""
        for i, part in enumerate(self.parts):
            for lines in part.chunks(size):
                yield Lines(lines.smiles, (i + lines.fraction) / len(self.parts))


@dataclass(frozen=True)
class Download:
    """A data set that is downloaded."""

    file_name: str
    urls: tuple[str, ...]
    sha256: str | None
    """Published checksum; None where there is none: then the digest of what arrived is recorded in every store."""
    column: int | None = None
    delimiter: str = ","


DOWNLOADS = {
    # DeepChem publishes no checksum, and no mirror with the same bytes is known: CHEMSCALE_MIRROR can name one.
    "pubchem10m": Download(
        "pubchem_10m.txt.zip",
        ("https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/pubchem_10m.txt.zip",),
        sha256=None,
    ),
    # All of PubChem, rebuilt every day.
    "pubchem": Download(
        "CID-SMILES.gz",
        ("https://ftp.ncbi.nlm.nih.gov/pubchem/Compound/Extras/CID-SMILES.gz",),
        sha256=None,
        column=1,
        delimiter="\t",
    ),
    # The checksum is that of the Git LFS pointer data/train.csv in molecularsets/moses.
    "moses": Download(
        "moses_train.csv",
        ("https://media.githubusercontent.com/media/molecularsets/moses/master/data/train.csv",),
        sha256="49fe1aae29604ec0f5023ea34edc8789415f954138f2903dabd005a4b888a961",
    ),
}
NAMES = (*DOWNLOADS, "embedded")
WITHOUT = "use data=embedded or data=/path/to/molecules.smi"


def open_source(data: str) -> Source:
    """Find a data set by name, or a file by path.

    Raises:
        UserError: there is no such data set or file, or it could not be downloaded.
    """
    if data == "embedded":
        parts = embedded.parts()
        return _source("embedded", "the rdkit package", parts)
    if data in DOWNLOADS:
        entry = DOWNLOADS[data]
        file = fetch(entry.file_name, entry.urls, entry.sha256, WITHOUT)
        return _source(data, entry.urls[0], [SmilesFile(file, entry.column, entry.delimiter)])
    path = Path(data).expanduser()
    if not path.exists():
        raise UserError(
            f"data must be one of {', '.join(NAMES)} or an existing file, got {data}; check the name or path"
        )
    return _source(path.name, str(path.absolute()), [SmilesFile(path.absolute())])


def _source(name: str, origin: str, parts: list[SmilesFile]) -> Source:
    reading = ", ".join(part.reading() for part in parts)
    return Source(name, origin, file_sha256(*(part.path for part in parts)), reading, tuple(parts))
