"""The molecules of a user's file in their order, and a column of numbers beside them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chemscale_bench.data.layout import fields, find_layout
from chemscale_bench.data.opening import Opened, opened, user_path
from chemscale_bench.errors import UserError


class Labelled(NamedTuple):
    """Molecules of a table that have a value."""

    smiles: list[str]
    """As written in the file (M,)."""
    values: NDArray[np.float64]
    """Finite (M,)."""
    without_value: int
    """Rows that were left out because they have none."""


def find(data: str) -> Path:
    """A file of SMILES that exists.

    Raises:
        UserError: there is no such file.
    """
    if not data:
        raise UserError("data must be a file of SMILES (.csv, .smi, .txt), got nothing; give data=molecules.csv")
    path = user_path(data)
    if not path.exists():
        raise UserError(f"data must be an existing file, got {data}, and there is no {path}; check the path")
    return path


def molecules(path: Path, column: str = "") -> Iterator[tuple[list[str], int]]:
    """The molecules of a file of SMILES in their order, some at a time, each with the bytes read so far.

    An empty line gives an empty text, so that the n-th molecule is that of the n-th line below the header.

    Raises:
        UserError: the file is unfit.
    """
    layout, _ = find_layout(path, column)
    if layout.selfies:
        raise UserError(f"data must be SMILES here, {path} holds SELFIES; decode them with selfies.decoder")
    with opened(path) as file:
        lines = lines_of(file)
        if layout.header:
            first_line(lines)
        some: list[str] = []
        for line in lines:
            some.append(layout.molecule(line))
            if len(some) == 16_384:
                yield some, file.raw.tell()
                some = []
        if some:
            yield some, file.raw.tell()


def lines_of(file: Opened) -> Iterator[str]:
    """The lines of a file without their ends, which are those of training: of Unix, Windows and old Macs."""
    text = io.TextIOWrapper(file.content, "utf-8-sig", "replace")
    try:
        for line in text:
            yield line.removesuffix("\n")
    finally:
        text.detach()  # it would close what whoever opened it closes


def first_line(lines: Iterator[str]) -> str:
    """The first line that is not empty, which is the header."""
    return next(line for line in lines if line.strip())


def labelled(path: Path, target: str, column: str = "") -> Labelled:
    """The molecules of a table with a header, and the values of one of its columns.

    Raises:
        UserError: the file is unfit, has no such column, or what stands there are no numbers.
    """
    layout, _ = find_layout(path, column)
    if not layout.header or layout.delimiter is None or layout.selfies:
        cure = "write commas between its columns" if layout.header else "add a header"
        cure = "decode its SELFIES with selfies.decoder" if layout.selfies else cure
        raise UserError(
            f"data must be a table with a column smiles and a header, by commas or tabs, {path} is not; {cure}"
        )
    with opened(path) as file:
        lines = lines_of(file)
        names = [name.strip() for name in fields(first_line(lines), layout.delimiter)]
        rows = list(lines)
    if target not in names:
        shown = ", ".join(name for place, name in enumerate(names) if place != layout.column)
        raise UserError(f"target must be a column of {path}, got {target!r}; it has {shown[:300] or 'no other column'}")
    wanted = names.index(target)
    smiles, values, without = [], [], 0
    for number, line in enumerate(rows, 2):
        if not line.strip():
            continue
        row = fields(line, layout.delimiter)
        text = row[wanted].strip() if wanted < len(row) else ""
        try:
            value = float(text or "nan")
        except ValueError:
            raise UserError(
                f"target must be a column of numbers, {target} has {text[:60]!r} in line {number} of {path}; choose "
                "another one, or empty what is no number"
            ) from None
        if math.isfinite(value):
            smiles.append(layout.molecule(line))
            values.append(value)
        else:
            without += 1
    return Labelled(smiles, np.array(values), without)
