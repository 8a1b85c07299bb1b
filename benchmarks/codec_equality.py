"""Are our ids those of `selfies.encoder` and the vocabulary, and are the same molecules refused? See `--help`.

Every molecule goes both ways: through the codec to symbol numbers to ids, and through `selfies.encoder` to a string to
`Vocabulary.encode_many`. The vocabulary holds every symbol of the files. Molecules are taken as the file writes them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import selfies
from tqdm import tqdm

from chemscale_bench.data.codec import Codec, warm_up
from chemscale_bench.data.sources import open_source
from chemscale_bench.data.vocabulary import Vocabulary

LINES = 2048


def chunks(files: list[Path]) -> Iterator[list[str]]:
    """The molecules of all files, with a progress bar."""
    with tqdm(total=len(files), unit="file", bar_format="{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left") as bar:
        for done, file in enumerate(files):
            for molecules, fraction in open_source(str(file)).in_random_order(LINES, 0, lambda _: None):
                yield [text for text in molecules if text]
                bar.update(done + fraction - bar.n)


def reference(smiles: str) -> tuple[str, str]:
    """The SELFIES string, or nothing and the kind of error."""
    try:
        return selfies.encoder(smiles), ""
    except Exception as error:  # selfies lets several kinds through
        reason = getattr(error.__cause__, "reason", str(error).partition("\n")[0])
        return "", f"{type(error).__name__}: {reason}"


def compare(files: list[Path]) -> tuple[Counter[str], Counter[str], list[str]]:
    """Counts of molecules, tokens and differences; errors by kind; the molecules that differ."""
    warm_up()
    codec = Codec()
    for molecules in chunks(files):
        codec.encode(molecules)
    vocabulary = Vocabulary.build(dict.fromkeys(codec.symbols, 1), "")
    ids = np.array([vocabulary.ids[symbol] for symbol in codec.symbols])
    counts, errors, different = Counter[str](), Counter[str](), []
    for molecules in chunks(files):
        ours = codec.encode(molecules)
        strings, kinds = zip(*map(reference, molecules), strict=True)
        expected, lengths = vocabulary.encode_many(strings)
        mine = ids[ours.symbols]
        counts.update(molecules=len(strings), tokens=len(expected), refused=sum(map(bool, kinds)))
        errors.update(kind for kind in kinds if kind)
        starts, places = (np.cumsum([0, *each]) for each in (ours.lengths, lengths))
        for text, (a, b), (c, d) in zip(molecules, pairwise(starts), pairwise(places), strict=True):
            if not np.array_equal(mine[a:b], expected[c:d]):
                different.append(text)
    return counts, errors, different


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="one SMILES a line, or .csv; compressed or not")
    counts, errors, different = compare(parser.parse_args().files)
    counted = ", ".join(f"{number:,} {what}" for what, number in counts.items())
    print(f"selfies {version('selfies')}: {counted}, {len(different):,} differences")
    for kind, number in errors.most_common():
        print(f"{number:>9,} refused by selfies: {kind}")
    for smiles in different[:20]:
        print(smiles)
    sys.exit(bool(different))
