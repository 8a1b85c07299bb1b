"""The lines of a text file, read at any place: a plain copy where the file is compressed, and where each line starts.

Both lie in the cache under the content's digest, so that they are made once.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from chemscale_bench.data.cache import home
from chemscale_bench.data.download import file_sha256
from chemscale_bench.data.opening import Opened, opened
from chemscale_bench.errors import UserError

LINE_LIMIT = 65_536  # bytes, far more than any molecule
BLOCK = 1 << 22  # bytes that are read at once
LINE_FEED, CARRIAGE_RETURN = 10, 13
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TextLines:
    """Lines of a plain text file by their numbers.

    Args:
        text: the file.
        starts: file of int64, where each line starts and, last, where the text ends.
    """

    def __init__(self, text: Path, starts: Path) -> None:
        self.starts = np.memmap(starts, "<i8", "r")
        with text.open("rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def read(self, numbers: np.ndarray) -> list[str]:
        """These lines, without their ends; characters outside ASCII become one that no SMILES contains.

        Args:
            numbers: int [n]; ascending ones are read fastest.
        """
        starts, stops = self.starts[numbers].tolist(), self.starts[numbers + 1].tolist()
        return [
            self.bytes[start:stop].rstrip(b"\r\n").decode("ascii", "replace")
            for start, stop in zip(starts, stops, strict=True)
        ]


def open_lines(path: Path, progress: Callable[[float], None]) -> TextLines:
    """The lines of a file, compressed or not, unpacked and indexed where that has not been done.

    Args:
        path: of the file.
        progress: told how much of the file has been read, 0 to 1.

    Raises:
        UserError: a line is longer than any molecule, or the file is unfit, as `opened` says.
    """
    folder = home() / "lines" / file_sha256(path)[:32]
    starts = folder / "starts"
    with opened(path) as file:
        text = folder / "text" if file.compressed else path
        if not starts.exists():
            folder.mkdir(parents=True, exist_ok=True)
            partial = [folder / f"{name}.{os.getpid()}.part" for name in ("text", "starts")]
            try:
                with partial[0].open("wb") as copy, partial[1].open("wb") as index:
                    index_lines(file, copy if file.compressed else None, index, path, progress)
                if file.compressed:
                    partial[0].replace(text)
                partial[1].replace(starts)  # last: where it is, the text is
            finally:
                for left in partial:
                    left.unlink(missing_ok=True)
    return TextLines(text, starts)


def index_lines(
    file: Opened, copy: IO[bytes] | None, index: IO[bytes], path: Path, progress: Callable[[float], None]
) -> None:
    """Write where the lines start, and the text itself if a copy is wanted; a line may be of `LINE_LIMIT` bytes."""
    total = max(1, path.stat().st_size)
    position = start = lines = 0
    line_end = LINE_FEED
    while block := file.content.read(BLOCK):
        if copy is not None:
            copy.write(block)
        if not position:
            start = len(BYTE_ORDER_MARK) if block.startswith(BYTE_ORDER_MARK) else 0
            line_end = LINE_FEED if b"\n" in block else CARRIAGE_RETURN
        ends = position + 1 + np.flatnonzero(np.frombuffer(block, np.uint8) == line_end)
        starts = np.concatenate([[start], ends])
        position += len(block)
        if (longest := np.diff(np.append(starts, position))).max() > LINE_LIMIT:
            raise UserError(
                f"a line of data must be at most {LINE_LIMIT:,} bytes long, line {lines + int(longest.argmax()) + 1:,} "
                f"of {path} is longer; no molecule is, give a file with one SMILES a line"
            )
        index.write(starts[:-1].astype("<i8").tobytes())
        start, lines = int(starts[-1]), lines + len(ends)
        progress(file.raw.tell() / total)
    if start < position:  # the last line has no end
        index.write(np.array([start], "<i8").tobytes())
    index.write(np.array([position], "<i8").tobytes())
