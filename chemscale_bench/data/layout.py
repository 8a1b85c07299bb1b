"""Where a molecule stands in a line of a text file: which column, between which delimiters, below a header or not.

The user names the column, or a header that names one of SMILES decides; without either, the column that RDKit reads
does. What is no list of molecules at all is refused by its name.
"""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from rdkit import Chem, rdBase

from chemscale_bench.data.opening import opened
from chemscale_bench.errors import UserError

HEAD_BYTES, HEAD_LINES = 65_536, 100
DELIMITED = (".csv", ".tsv")
DELIMITERS = (",", "\t", ";", "|")
COLUMNS = 20  # that are tried
MOST = 0.5  # of the first lines, from which on they are what they look like
SMILES_COLUMNS = ("smiles", "canonical_smiles", "isomeric_smiles", "canonicalsmiles", "isomericsmiles", "smi", "mol")
SELFIES_COLUMNS = ("selfies",)
SELFIES = re.compile(r"(\[[^\[\]\s]+\]|\.){2,}")
SELFIES_ONLY = ("[C]", "[Branch", "Branch1", "[Ring", "[=")  # SMILES has an atom without hydrogens hardly ever
OTHERS: tuple[tuple[str, Callable[[str], bool], str], ...] = (
    ("a Git LFS pointer, not the data", lambda t: t.startswith("version https://git-lfs.github.com/"), "git lfs pull"),
    (
        "an SDF file",
        lambda t: "\nM  END" in t or "V2000\n" in t or "V3000\n" in t,
        "convert it, for example with Open Babel: obabel molecules.sdf -O molecules.smi",
    ),
    (
        "a MOL2 file",
        lambda t: "@<TRIPOS>" in t,
        "convert it, for example with Open Babel: obabel molecules.mol2 -O molecules.smi",
    ),
    ("a PDB file", lambda t: re.search(r"^(ATOM|HETATM) ", t, re.MULTILINE) is not None, "give one SMILES a line"),
    ("a list of InChI", lambda t: t.lstrip().startswith("InChI="), "convert it with RDKit's MolFromInchi"),
    ("JSON", lambda t: t.lstrip()[:1] in "{[" and '":' in t.split("\n", 1)[0], "write its SMILES one a line"),
    ("a web page", lambda t: t.lstrip()[:15].lower().startswith(("<!doctype", "<html")), "download the file itself"),
)
BINARY: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\xfe", "UTF-16, such as Excel's Unicode Text", "save it as CSV UTF-8"),
    (b"\xfe\xff", "UTF-16", "save it as UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", "save its sheet as CSV UTF-8"),
    (b"PAR1", "a Parquet file", "write its column as CSV: pandas.read_parquet(file)[['smiles']].to_csv('smiles.csv')"),
    (b"%PDF", "a PDF document", "give a file with one SMILES a line"),
)
WORD = re.compile(r"([^\W\d]|[ _.\N{REPLACEMENT CHARACTER}-])+")
SHORTEST = 3  # characters of a molecule on average, by which a column is not one of flags such as N


@dataclass(frozen=True)
class Layout:
    """How to find the molecule in a line."""

    delimiter: str | None = None
    """Between columns; None for white space."""
    column: int = 0
    """Of the molecule."""
    header: bool = False
    """Whether the first line is no molecule."""
    selfies: bool = False
    """Whether it is written in SELFIES, not in SMILES."""

    def molecule(self, line: str) -> str:
        """The text of a line's molecule; empty where the line has none."""
        row = fields(line, self.delimiter, self.column)
        # What follows a SMILES after a blank is its name or a CXSMILES extension.
        return (row[self.column].split(None, 1) or [""])[0] if len(row) > self.column else ""


def fields(line: str, delimiter: str | None, last: int = -1) -> list[str]:
    """The columns of one line, up to number `last` if that is given; a quote that is not closed ends with the line."""
    if delimiter is None or '"' not in line:
        return line.split(delimiter, last + 1 if last >= 0 else -1)
    # Line by line: for a reader of the whole file a stray quote would swallow the lines up to the next one.
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


EXAMPLES = 3
NAMES = {None: "white space", "\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}


def explain(path: Path, column: str = "") -> str:
    """How a file of molecules is read, and its first ones, for its owner to check.

    Raises:
        UserError: as `find_layout`.
    """
    layout, lines = read_head(path, column)
    where = f"column {layout.column + 1} between {NAMES[layout.delimiter]}"
    where += f", below {fields(lines[0], layout.delimiter)[layout.column].strip()}" if layout.header else ""
    below = lines[int(layout.header) :]
    read = [line for line in below if readable(layout, [line])[0]] or below  # a comment is no example
    first = [layout.molecule(line) for line in read[:EXAMPLES]]
    return f"{'SELFIES' if layout.selfies else 'SMILES'} in {where}: {', '.join(first)}, ..."


def find_layout(path: Path, column: str = "") -> tuple[Layout, str]:
    """The layout of a file, and its first line with a molecule.

    Args:
        path: of the file.
        column: name of the molecules' column in the header; left out, it is found.

    Raises:
        UserError: as `read_head`.
    """
    state = path.stat() if path.is_file() else None
    return layout_of(path, column, (state.st_size, state.st_mtime_ns) if state else ())


@lru_cache  # every training of a study asks, and RDKit reads the lines in each way that they may be meant
def layout_of(path: Path, column: str, state: tuple[int, ...]) -> tuple[Layout, str]:
    """What `find_layout` gives of a file in this state, its size and the time of its last change."""
    layout, lines = read_head(path, column)
    return layout, (lines[int(layout.header) :] or lines)[0]


def read_head(path: Path, column: str = "") -> tuple[Layout, list[str]]:
    """The layout of a file, and its first lines that are not empty.

    Raises:
        UserError: the file is unfit, empty, binary, no list of molecules, or a table without a column of SMILES or of
            that name.
    """
    with opened(path) as file:
        start = file.content.read(HEAD_BYTES)
        name = file.name
    if not start.strip():
        raise UserError(f"data must hold molecules, but {path} is empty; give a file with one SMILES a line")
    for magic, what, cure in BINARY:
        if start.startswith(magic):
            raise UserError(f"data must be text, but {path} is {what}; {cure}")
    if b"\0" in start:
        raise UserError(f"data must be text, but {path} is binary; give a file with one SMILES a line")
    text = start.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").replace("\r\n", "\n")
    text = text if "\n" in text else text.replace("\r", "\n")
    for what, matches, cure in OTHERS:
        if matches(text):
            raise UserError(f"data must be a file with one SMILES a line, but {path} is {what}; {cure}")
    lines = text.split("\n")[: HEAD_LINES + 1]
    lines = [line for line in lines[: -1 if len(lines) > 2 else None] if line.strip()]  # the last one may be cut
    names = lines[0]
    if not column:  # as the lines are read: for Python some characters outside ASCII are white space
        lines = [re.sub(r"[^\x00-\x7f]", "\N{REPLACEMENT CHARACTER}", line) for line in lines]
    layout = below_name(column, lines, path) if column else below_header(lines)
    layout = layout or without_header(lines, names if Path(name).suffix.lower() in DELIMITED else "", path)
    first = lines[int(layout.header) :] or lines
    if is_selfies([layout.molecule(line) for line in first]):
        layout = Layout(layout.delimiter, layout.column, layout.header, selfies=True)
    return layout, lines


def below_name(column: str, lines: list[str], path: Path) -> Layout:
    """The layout of the column of that name, in other capitals if none has it exactly; the rows settle its delimiter.

    Raises:
        UserError: if the first line has no such name.
    """
    for spelled in (str.strip, lambda name: name.strip().casefold()):
        rows = {delimiter: [spelled(name) for name in fields(lines[0], delimiter)] for delimiter in (*DELIMITERS, None)}
        found = [
            Layout(delimiter, names.index(spelled(column)), header=True)
            for delimiter, names in rows.items()
            if spelled(column) in names
        ]
        if found:
            return max(found, key=lambda layout: readable(layout, lines[1:]))
    there = ", ".join(name.strip() for name in fields(lines[0], most_frequent(lines[0])))
    raise UserError(
        f"column must be a name in the first line of {path}, got {column!r}, there stand {there[:500]}; give one of "
        "them, or add a header"
    )


def most_frequent(line: str) -> str | None:
    """The delimiter that a line has most of; white space where it has none."""
    delimiter = max(DELIMITERS, key=line.count)
    return delimiter if delimiter in line else None


def below_header(lines: list[str]) -> Layout | None:
    """The layout that a first line with the name of a column of molecules declares; the rows settle its delimiter."""
    found = []
    for delimiter in (*DELIMITERS, None):
        names = [field.strip().lower().replace(" ", "_") for field in fields(lines[0], delimiter)]
        for wanted in (*SMILES_COLUMNS, *SELFIES_COLUMNS):
            if wanted in names:
                found.append(Layout(delimiter, names.index(wanted), header=True))
                break
    return max(found, key=lambda layout: readable(layout, lines[1:]), default=None)


def without_header(lines: list[str], names: str, path: Path) -> Layout:
    """The layout in which most lines hold a molecule; of equal ones the first column between white space.

    Args:
        lines: the first of the file.
        names: the first line of a table, which may name columns; nothing for a list of molecules.
        path: for errors.

    Raises:
        UserError: if the first line of a table names columns, none of them as ones of molecules are called.
    """
    candidates = [Layout()]
    for delimiter in (None, *DELIMITERS):
        columns = min(COLUMNS, max(len(fields(line, delimiter)) for line in lines))
        candidates += [Layout(delimiter, column) for column in range(columns)]
    plain = readable(Layout(), lines) > (MOST, 0)
    best = Layout() if plain else max(candidates, key=lambda layout: readable(layout, lines))
    if any(readable(best, lines[:1])):
        return best
    if names:
        there = ", ".join(fields(names, most_frequent(names)))
        raise UserError(f"a CSV file needs a column smiles, {path} has {there[:500]}; {holding(names, lines[1:])}")
    # A list of molecules may have a header, too, however it calls them.
    named = fields(lines[0], best.delimiter)[best.column : best.column + 1]
    header = bool(named) and WORD.fullmatch(named[0]) is not None and readable(best, lines[1:]) > (MOST, 0)
    return replace(best, header=header)


def holding(names: str, lines: list[str]) -> str:
    """Which columns hold molecules, for a user who has to name one."""
    delimiter = most_frequent(names)
    found = []
    for column, name in enumerate(fields(names, delimiter)[:COLUMNS]):
        share, characters = readable(Layout(delimiter, column), lines)
        if share > MOST and characters >= SHORTEST * share * len(lines):
            found.append(name.strip())
    if not found:
        return "none of them holds SMILES; name one that does with column="
    return f"SMILES are in {' and '.join(found)}: give column={' or column='.join(map(shlex.quote, found))}"


def readable(layout: Layout, lines: list[str]) -> tuple[float, int]:
    """Share of the lines whose molecule RDKit can parse, or that looks like SELFIES, and the length of all of these."""
    texts = [layout.molecule(line) for line in lines]
    with rdBase.BlockLogs():
        good = [text for text in texts if text and (SELFIES.fullmatch(text) or Chem.MolFromSmiles(text))]
    return len(good) / max(1, len(texts)), sum(map(len, good))


def is_selfies(texts: list[str]) -> bool:
    """Whether most of the molecules are written in SELFIES."""
    alike = [text for text in texts if SELFIES.fullmatch(text) and any(sign in text for sign in SELFIES_ONLY)]
    return len(alike) > MOST * len(texts)
