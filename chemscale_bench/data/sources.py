"""The named data sets, and the user's own files: from `data=` to molecules in a random order, and their identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chemscale_bench.data import embedded
from chemscale_bench.data.download import fetch, file_sha256
from chemscale_bench.data.layout import Layout, find_layout
from chemscale_bench.data.opening import check_regular, user_path
from chemscale_bench.data.text_lines import open_lines
from chemscale_bench.data.wheels import Wheel
from chemscale_bench.errors import UserError

ORDER = "RandomState(0).shuffle of all lines"  # NumPy promises that this stream never changes


class Lines(NamedTuple):
    """Molecules of a source."""

    molecules: list[str]
    """As written in the file; an empty text for a line without one."""
    fraction: float
    """How much of the source has been read up to their end, 0 to 1."""


class Part(NamedTuple):
    """One file of a source."""

    path: Path
    layout: Layout


@dataclass(frozen=True)
class Source:
    """Molecules to prepare."""

    name: str
    """The data set's name, or the name of the user's file."""
    origin: str
    """Url or path."""
    sha256: str
    """Of the content of the files, one after another."""
    parts: tuple[Part, ...]
    """The files, in order."""
    example: str
    """The first line that should hold a molecule."""

    @property
    def reading(self) -> str:
        """How the files are read: the same bytes read another way are not the same molecules."""
        return ", ".join(repr(part.layout) for part in self.parts)

    @property
    def selfies(self) -> bool:
        """Whether the molecules are written in SELFIES."""
        return self.parts[0].layout.selfies

    def in_random_order(self, size: int, start: int, progress: Callable[[float], None]) -> Iterator[Lines]:
        """The molecules of all files in one random order, the same for every call.

        The first n are a uniform sample of the whole source for every n, and need no more than their own lines.

        Args:
            size: lines at a time.
            start: place in the order of the first one.
            progress: told how much has been unpacked and indexed, 0 to 1, where that is still to be done.

        Raises:
            UserError: a file is unfit.
        """
        texts = [
            open_lines(part.path, lambda share, i=i: progress((i + share) / len(self.parts)))  # type: ignore[misc]
            for i, part in enumerate(self.parts)
        ]
        headers = np.array([int(part.layout.header) for part in self.parts])
        ends = np.cumsum([len(text) for text in texts] - headers)
        order = np.arange(ends[-1], dtype=np.uint32)
        np.random.RandomState(0).shuffle(order)
        for begin in range(start, len(order), size):
            places = order[begin : begin + size].astype(np.int64)
            by_place = np.argsort(places)
            part_of = np.searchsorted(ends, places, side="right")
            molecules = [""] * len(places)
            for i, (part, text) in enumerate(zip(self.parts, texts, strict=True)):
                own = by_place[part_of[by_place] == i]
                lines = text.read(places[own] - (ends[i - 1] if i else 0) + headers[i])
                for place, line in zip(own.tolist(), lines, strict=True):
                    molecules[place] = part.layout.molecule(line)
            yield Lines(molecules, (begin + len(places)) / len(order))


@dataclass(frozen=True)
class Download:
    """A data set that is downloaded."""

    file_name: str
    urls: tuple[str, ...]
    sha256: str | None
    """Published checksum; None where there is none: then the digest of what arrived is recorded in every store."""
    layout: Layout | None = None
    """Where the molecules stand in a file that does not say so itself."""


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
        layout=Layout("\t", 1),
    ),
}
TRAIN = "train.csv.gz"
WHEELS = {
    # The split of MOSES (Polykovskiy et al. 2020), as the authors' package has it.
    "moses": Wheel(
        "molsets",
        "0.3.1",
        {
            TRAIN: (
                "moses/dataset/data/train.csv.gz",
                "786f0313aa6b9ba5514df685f885742a70ea8d86f1a4fa48115f7f80a634265c",
            ),
            "test.csv.gz": (
                "moses/dataset/data/test.csv.gz",
                "f896fbf3764f88d94670b9959e5872c600c12152a18233823e820761b7a791b2",
            ),
            "test_scaffolds.csv.gz": (
                "moses/dataset/data/test_scaffolds.csv.gz",
                "adffb2192c1bfe31ab0e13154d4af19a37dc18bdbf3cd7b4491e04405128adde",
            ),
            "test_stats.npz": (
                "moses/dataset/data/test_stats.npz",
                "ded25073225a895d4ed17bf1d4223d27560e87ff4cb85786346ca1cc8efa03d3",
            ),
            "test_scaffolds_stats.npz": (
                "moses/dataset/data/test_scaffolds_stats.npz",
                "7b7aba6c1474634a019bebf16f389d554cb9dd1021dfc8c1d1e54430a9f0e7f8",
            ),
        },
    ),
}
SAME = {
    10_238_967: ("moses", "786f0313aa6b9ba5514df685f885742a70ea8d86f1a4fa48115f7f80a634265c"),  # train.csv.gz
    58_408_794: ("moses", "cc9d6e8e9534e25a7a36361529ae739ddda8036e9072b2fc5cea6930a0592144"),  # unpacked
    67_916_778: ("moses", "49fe1aae29604ec0f5023ea34edc8789415f954138f2903dabd005a4b888a961"),  # data/train.csv, GitHub
}
"""By their size in bytes: files of the very lines of a named data set, and their sha256."""
NAMES = (*DOWNLOADS, *WHEELS, "embedded")
WITHOUT = "use data=embedded or data=/path/to/molecules.smi"


def open_source(data: str, column: str = "") -> Source:
    """Find a data set by name, or a file by path.

    Args:
        data: name or path.
        column: name of the molecules' column in the header of a file of the user's; left out, it is found.

    Raises:
        UserError: as `check_source`, or the data set could not be downloaded.
    """
    check_source(data, column)
    if data == "embedded":
        return make_source("embedded", "the rdkit package", [(file, None) for file in embedded.files()])
    if data in DOWNLOADS:
        entry = DOWNLOADS[data]
        file = fetch(entry.file_name, entry.urls, entry.sha256, WITHOUT)
        return make_source(data, entry.urls[0], [(file, entry.layout)])
    if data in WHEELS:
        wheel = WHEELS[data]
        return make_source(data, f"{wheel.name}=={wheel.version}", [(wheel.file(TRAIN), None)])
    path = user_path(data)
    source = make_source(path.name, str(path), [(path, None)], column)
    if (name := official_name(data)) in WHEELS:
        return replace(source, name=name, sha256=WHEELS[name].members[TRAIN][1])
    return source


def check_source(data: str, column: str = "") -> None:
    """Refuse what cannot be read, as far as that is known without a download.

    Raises:
        UserError: there is no such data set or file, the file holds no molecules, or it has no such column; or a column
            is given for a named data set.
    """
    if column and official_name(data) in NAMES:
        raise UserError(
            f"column is of a file of your own, got {column!r} with the data set {official_name(data)}; leave it out"
        )
    if data in NAMES:
        return
    path = user_path(data)
    if not path.exists():
        raise UserError(
            f"data must be one of {', '.join(NAMES)} or an existing file, got {data}, and there is no {path}; "
            "check the name or path"
        )
    check_regular(path)
    find_layout(path, column)


def official_name(data: str) -> str:
    """The named data set that a file of the user's is, told by its content; `data` itself where it is none."""
    path = user_path(data)
    if data in NAMES or not path.is_file():
        return data
    name, sha256 = SAME.get(path.stat().st_size, (data, ""))
    return name if sha256 and file_sha256(path) == sha256 else data


def held_out_source(data: str, split: str) -> Source:
    """One of the test sets that come with a named data set.

    Raises:
        UserError: it could not be downloaded, or there is none.
    """
    if data not in WHEELS:
        raise UserError(
            f"test_sets must be those that come with the data, {' or '.join(WHEELS)}, got data={data}; leave them out"
        )
    wheel = WHEELS[data]
    return make_source(f"{data}-{split}", f"{wheel.name}=={wheel.version}", [(wheel.file(f"{split}.csv.gz"), None)])


def make_source(name: str, origin: str, files: list[tuple[Path, Layout | None]], column: str = "") -> Source:
    """The source of some files, whose layouts are found where they are not given."""
    for file, _ in files:
        check_regular(file)
    found = [find_layout(file, column) for file, _ in files]
    parts = [Part(file, given or layout) for (file, given), (layout, _) in zip(files, found, strict=True)]
    return Source(name, origin, file_sha256(*(file for file, _ in files)), tuple(parts), found[0][1])
