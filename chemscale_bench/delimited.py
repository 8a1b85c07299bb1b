"""Tables of numbers as text, in the ways in which people's programs write .csv files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def read_csv(file: Path) -> pd.DataFrame:
    """A table with a header, by commas, tabs or semicolons; between semicolons commas are those of decimals.

    Raises:
        ValueError: it is no such table.
        OSError: it can't be read.
    """
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        header = lines.readline()
    delimiter = max(",;\t", key=header.count)
    return pd.read_csv(file, sep=delimiter, decimal="," if delimiter == ";" else ".")
