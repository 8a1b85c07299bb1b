"""The verb `embed`: the molecules of a file as vectors, in a Parquet file."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chemscale_bench.data import listing
from chemscale_bench.data.opening import output_file
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.featurizer import Features, Featurizer
from chemscale_bench.progress import progress_bar
from chemscale_bench.settings.embed import EmbedSettings
from chemscale_bench.tracking.housekeeping import run_if_launched
from chemscale_bench.tracking.store import open_store
from chemscale_bench.training.devices import evaluation_device


def embed(settings: EmbedSettings) -> None:
    """Write a row for every molecule of the file, in its order, and say how many have no features and why.

    Raises:
        UserError: if there is no such model or file, or `out` can't be written.
    """
    with run_if_launched("embed"):
        open_store()  # with little patience for a server that is away, and no half-made database
        data = listing.find(settings.data)
        if not settings.out.endswith(".parquet"):
            raise UserError(f"out must be the path of a .parquet file, got {settings.out!r}; give out=features.parquet")
        out = output_file(settings.out).absolute()
        featurizer = Featurizer(
            settings.run, settings.pooling, settings.layer, device=str(evaluation_device(settings.device))
        ).fit()  # fmt: skip
        counts = write(featurizer, data, settings.column, out)
        refused = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()) if reason)
        print(f"{out}: {counts.total():,} molecules, {featurizer.n_features_out_} features each")
        if refused:
            print(f"without features, their rows empty: {refused}")


def write(featurizer: Featurizer, data: Path, column: str, out: Path) -> Counter[str]:
    """Write the features of a file's molecules; of all molecules how many have none, by reason."""
    counts: Counter[str] = Counter()
    draft, writer = out.with_name(f".{out.name}.{os.getpid()}"), None
    bar = progress_bar(total=data.stat().st_size, desc=f"embedding {data.name}", unit="B", unit_scale=True)
    try:
        with bar:
            for smiles, read in listing.molecules(data, column):
                features = featurizer.featurize(smiles)
                counts.update(features.reasons)
                table = table_of(smiles, features)
                writer = writer or pq.ParquetWriter(draft, table.schema)
                writer.write_table(table)
                bar.update(read - bar.n)
        if writer is None:
            raise UserError(f"data must hold molecules, {data} has none below its header; give another file")
        writer.close()
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return counts


def table_of(smiles: list[str], features: Features) -> pa.Table:
    """One row for each molecule; a molecule without features has nulls there."""
    missing = np.array([bool(reason) for reason in features.reasons])
    columns = {"smiles": pa.array(smiles), "reason": pa.array(features.reasons)}
    for channel, values in enumerate(features.vectors.T):
        columns[f"f{channel}"] = pa.array(values, mask=missing)
    return pa.table(columns)
