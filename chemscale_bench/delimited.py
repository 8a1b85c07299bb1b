"""Tables of numbers as text, in the ways in which people's programs write .csv files."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd


def read_csv(file: Path) -> pd.DataFrame:
    """A table with a header, by commas, tabs or semicolons; between semicolons commas, if any, are those of decimals.

    Raises:
        ValueError: it is no such table.
        OSError: it can't be read.
    """
    text = file.read_text(encoding="utf-8-sig")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    return pd.read_csv(StringIO(text), sep=delimiter, decimal="," if delimiter == ";" and "," in text else ".")
