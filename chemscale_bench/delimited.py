"""Tables of numbers as text, in the ways in which people's programs write .csv files."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pandas as pd

DECIMAL_COMMA = re.compile(r"(?:^|;)\s*-?\d+,\d+\s*(?:;|$)", re.MULTILINE)  # as all there is of a cell


def read_csv(file: Path) -> pd.DataFrame:
    """A table with a header, by commas, tabs or semicolons; between semicolons numbers may have decimal commas.

    Raises:
        ValueError: it is no such table.
        OSError: it can't be read.
    """
    text = file.read_text(encoding="utf-8-sig")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    decimal = "," if delimiter == ";" and DECIMAL_COMMA.search(text) else "."
    return pd.read_csv(StringIO(text), sep=delimiter, decimal=decimal)
