"""Read entries from disk as what they are: files of strangers.

Nothing is followed out of the entry's folder, sizes are checked before anything is read, and curves are read only in
a form that cannot grow in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.entry import CURVES, Entry
from chemscale_bench.places import CHECKOUT, PROJECT

MOST_JSON_BYTES = 4 << 20
MOST_CURVE_BYTES = 64 << 20
MOST_CURVE_ROWS = 2_000_000
MOST_CHECKPOINT_BYTES = 50 << 20
"""Of all checkpoints that an entry carries in the repository; larger ones are given by their address."""
SCHEMA = pa.schema([("run", pa.string()), ("metric", pa.string()), ("step", pa.int64()), ("value", pa.float64())])


class Refused(UserError):
    """An entry breaks a rule."""


class Loaded(NamedTuple):
    """An entry whose files hold to every rule of form."""

    entry: Entry
    curves: pd.DataFrame
    """Columns `run` and `metric` (categories), `step`, `value`; sorted, steps ascending."""
    path: Path


def load(path: Path) -> Loaded:
    """Read an entry and its curves.

    Raises:
        Refused: naming the first rule that is broken.
    """
    # The folders that are part of the identity must be folders, not links to others.
    for folder in (path.parent, path.parent.parent):
        if folder.is_symlink():
            raise Refused(f"folders of an entry must not be links, got {shown(folder.name)}; make it a folder")
    entry = parse(read(path, MOST_JSON_BYTES))
    found = "/".join((*path.parts[-3:-1], path.name.removesuffix(".json")))
    if found != entry.identity or path.suffix != ".json":
        raise Refused(f"path must be .../{entry.identity}.json as the entry says, got {shown(found)}; rename the file")
    curves_path = path.with_suffix(".parquet")
    content = read(curves_path, MOST_CURVE_BYTES)
    if hashlib.sha256(content).hexdigest() != entry.curves_sha256:
        raise Refused(f"curves_sha256 must be that of {curves_path.name}, it is not; submit the run again")
    check_folder(path.with_suffix(""), entry)
    return Loaded(entry, read_curves(content, entry), path)


def read(path: Path, most: int) -> bytes:
    """The content of a plain file of at most `most` bytes; links, pipes and devices are refused."""
    try:
        # Without O_NONBLOCK a pipe would wait for its writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such name"
        raise Refused(f"an entry must have the file {shown(path.name)}, got {reason}; add it as a plain file") from None
    with os.fdopen(descriptor, "rb") as stream:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise Refused(f"an entry's files must be plain files, {shown(path.name)} is none; replace it")
        if about.st_size > most:
            raise Refused(
                f"{shown(path.name)} must have at most {most:,} bytes, got {about.st_size:,}; make it smaller"
            )
        return stream.read(most)


def parse(content: bytes) -> Entry:
    """An entry from its JSON text."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise Refused("every key of an entry may appear once, got one twice; remove the copy")
        return dict(pairs)

    try:
        json.loads(content, object_pairs_hook=once)
        return Entry.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])[:120]
        if problem["type"] == "missing":
            raise Refused(f"an entry must have {shown(where)}, got none; let `submit` write it") from None
        message = problem["msg"].removeprefix("Value error, ")
        got = "" if "got" in message else f", got {shown(problem['input'])}"
        raise Refused(f"entry: {shown(where) + ': ' if where else ''}{message[:300]}{got}; mend it") from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"an entry must be JSON, got {shown(str(error))}; let `submit` write it") from None


def check_folder(folder: Path, entry: Entry) -> None:
    """Refuse anything in the entry's folder but the checkpoints it names, as plain files of bearable size."""
    expected = {
        f"{run.run}/{name}"
        for run in entry.runs
        if run.checkpoint is not None and run.checkpoint.url is None
        for name in ("config.json", "model.safetensors")
    }
    found: set[str] = set()
    total = 0
    if folder.is_symlink() or folder.exists():
        folders = [folder]
        while folders:
            current = folders.pop()
            if current.is_symlink() or not current.is_dir():
                raise Refused(f"folders of an entry must not be links, got {shown(current.name)}; make it a folder")
            for item in os.scandir(current):
                if item.is_dir(follow_symlinks=False) and current == folder:
                    folders.append(Path(item.path))
                    continue
                name = str(Path(item.path).relative_to(folder))
                if name not in expected or not item.is_file(follow_symlinks=False):
                    raise Refused(
                        "an entry's folder must hold only RUN/config.json and RUN/model.safetensors of its "
                        f"checkpoints, as plain files, got {shown(name)}; remove it"
                    )
                found.add(name)
                total += item.stat(follow_symlinks=False).st_size
    # A wheel carries the entries of its checkout without their checkpoints.
    carried = CHECKOUT is None and folder.is_relative_to(PROJECT)
    if expected - found and not carried:
        raise Refused(
            f"checkpoints without an address must lie beside the entry, missing {min(expected - found)}; add it"
        )
    if total > MOST_CHECKPOINT_BYTES:
        raise Refused(
            f"checkpoints in the repository must have at most {MOST_CHECKPOINT_BYTES:,} bytes in all, got {total:,}; "
            "publish them elsewhere and give their address"
        )


def read_curves(content: bytes, entry: Entry) -> pd.DataFrame:
    """The curves of an entry, checked against its runs.

    Compressed files are refused: what they unpack to is known only once it is unpacked.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=["run", "metric"])
        about = file.metadata
        columns = [about.row_group(g).column(c) for g in range(about.num_row_groups) for c in range(about.num_columns)]
        schema = [(field.name, field.type) for field in file.schema_arrow]
        plain = [(name, kind.value_type if pa.types.is_dictionary(kind) else kind) for name, kind in schema]
        if plain != [(field.name, field.type) for field in SCHEMA]:
            raise Refused("curves must have the columns run, metric (text), step (int64), value (double), got others")
        if any(column.compression != "UNCOMPRESSED" for column in columns):
            raise Refused("curves must not be compressed, got a compressed column; let `submit` write them")
        if about.num_rows > MOST_CURVE_ROWS:
            raise Refused(f"curves must have at most {MOST_CURVE_ROWS:,} rows, got {about.num_rows:,}; thin them out")
        table = file.read().unify_dictionaries().combine_chunks()
        curves = pd.DataFrame({name: table.column(name).to_pandas() for name in SCHEMA.names})
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise Refused(f"curves must be a parquet file, got {shown(str(error))}; let `submit` write it") from None
    if any(column.null_count for column in table.columns):
        raise Refused("curves must have no gaps, got an empty cell; leave such points out")
    for name, known in (("run", {run.run for run in entry.runs}), ("metric", set(CURVES[entry.family]))):
        unknown = sorted(set(curves[name].cat.categories) - known)
        if unknown:
            raise Refused(f"curves must be of the entry's runs and metrics, got {name} {shown(unknown[0])}; remove it")
    if not (curves["value"].abs() < 1e40).all():
        raise Refused("values of curves must be finite, got one that is not; leave such points out")
    same = (curves["run"].cat.codes.diff() == 0) & (curves["metric"].cat.codes.diff() == 0)
    if (curves["step"] < 0).any() or (same & (curves["step"].diff() <= 0)).any():
        raise Refused("steps of a curve must ascend from 0 or more, got one that goes back; sort the curves")
    starts = curves.loc[~same, ["run", "metric"]]
    if starts.duplicated().any():
        raise Refused("curves must be sorted by run and metric, got one in two pieces; sort them")
    return curves


def write_curves(curves: pd.DataFrame, path: Path) -> None:
    """Write curves in the one form that `read_curves` accepts."""
    table = pa.Table.from_pandas(curves.astype({"run": str, "metric": str}), SCHEMA, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), path, compression="NONE", use_dictionary=["run", "metric"])


def shown(value: object) -> str:
    """Anything of a stranger, short and in one line, for a message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:60] + "..." + text[-10:]
