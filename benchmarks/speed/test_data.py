"""Speed of the data layer against what a user would write with selfies alone, both sides in one run.

Run: `python -m pytest benchmarks/speed/test_data.py -s`. Uses real molecules beside the checkout where there are some,
else those inside RDKit. Reference: `selfies.encoder` (and a dictionary look-up where ids are wanted) in one process.
"""

from __future__ import annotations

import contextlib
import lzma
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import selfies
from pytest_benchmark.fixture import BenchmarkFixture

from chemscale_bench.data.codec import Codec, warm_up
from chemscale_bench.data.embedded import parts
from chemscale_bench.data.kernel.compiling import FOLDER
from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.data.workers import default_workers

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "molecules" / "pubchem_deposits.smi.xz"
ROUNDS = 5


@pytest.fixture(scope="module")
def smiles() -> list[str]:
    """Up to 100,000 real molecules."""
    warm_up()
    if REAL.exists():
        with lzma.open(REAL, "rt") as stream:
            return stream.read(6_000_000).split("\n")[:100_000]
    return [text for part in parts() for lines in part.chunks(4096) for text in lines.smiles]


@pytest.fixture(scope="module")
def vocabulary(smiles: list[str]) -> Vocabulary:
    """Every symbol of these molecules."""
    codec = Codec()
    codec.encode(smiles)
    return Vocabulary.build(dict.fromkeys(codec.symbols, 1), "")


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Durations of several rounds."""
    found = []
    for _ in range(ROUNDS):
        start = clock()
        work()
        found.append(clock() - start)
    return found


def reference_encode(smiles: list[str], vocabulary: Vocabulary) -> list[list[int]]:
    """What a user would write."""
    molecules = []
    for text in smiles:
        try:
            molecules.append([vocabulary.ids[symbol] for symbol in selfies.split_selfies(selfies.encoder(text))])
        except selfies.EncoderError:
            continue
    return molecules


def report(what: str, rate: float, reference: float, unit: str, spread: list[float]) -> None:
    """Print both sides and the ratio."""
    print(
        f"\n{what}: {rate:,.0f} {unit}, reference {reference:,.0f} {unit}, ratio {rate / reference:.1f}"
        f" (reference rounds within {max(spread) / min(spread) - 1:.0%} of each other)"
    )


def test_smiles_to_ids_per_core(benchmark: BenchmarkFixture, smiles: list[str], vocabulary: Vocabulary) -> None:
    """Goal: at least 10x per core."""
    codec = Codec()
    few = smiles[:2000]
    reference = seconds(lambda: reference_encode(few, vocabulary))
    benchmark.pedantic(lambda: codec.encode(smiles), rounds=ROUNDS, warmup_rounds=1)
    rate, base = len(smiles) / benchmark.stats.stats.median, len(few) / statistics.median(reference)
    report("SMILES to symbols, one core", rate, base, "molecules/s", reference)
    assert rate / base > 10


def test_selfies_to_ids_per_core(benchmark: BenchmarkFixture, smiles: list[str], vocabulary: Vocabulary) -> None:
    """Goal: at least 5 million tokens/s."""
    strings = [selfies.encoder(text) for text in smiles[:2000]] * 10
    tokens = sum(map(selfies.len_selfies, strings))
    ids = vocabulary.ids
    few = strings[:2000]
    reference = seconds(lambda: [[ids[symbol] for symbol in selfies.split_selfies(text)] for text in few])
    benchmark.pedantic(lambda: vocabulary.encode_many(strings), rounds=ROUNDS, warmup_rounds=1)
    rate = tokens / benchmark.stats.stats.median
    report("SELFIES to ids, one core", rate, tokens / 10 / statistics.median(reference), "tokens/s", reference)
    assert rate > 5e6


def test_end_to_end(
    benchmark: BenchmarkFixture, smiles: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parse, canonicalise, encode and store. Goal: with 2 cores at least 1.9x the bare encoder on one."""
    file = tmp_path / "molecules.smi"
    file.write_text("\n".join(smiles) + "\n")
    kernel = FOLDER.parent
    homes = iter(range(100))

    def fresh() -> None:
        folder = tmp_path / str(next(homes))
        folder.mkdir()
        if kernel.exists():
            (folder / "numba").symlink_to(kernel)
        monkeypatch.setenv("CHEMSCALE_HOME", str(folder))

    few = smiles[:2000]

    def bare() -> None:
        for text in few:
            with contextlib.suppress(selfies.EncoderError):
                selfies.encoder(text)

    reference = seconds(bare)
    work = lambda: prepare(str(file), train_tokens=10**9, validation_molecules=10**9)  # noqa: E731
    benchmark.pedantic(work, setup=fresh, rounds=2)
    rate, base = len(smiles) / benchmark.stats.stats.median, len(few) / statistics.median(reference)
    report(f"file to store, {default_workers()} processes, start-up included", rate, base, "molecules/s", reference)


def test_bytes_per_stored_token(smiles: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: 1e8 tokens in at most 210 MB."""
    file = tmp_path / "molecules.smi"
    file.write_text("\n".join(smiles) + "\n")
    monkeypatch.setenv("CHEMSCALE_HOME", str(tmp_path / "home"))
    store = prepare(str(file), train_tokens=10**6, validation_molecules=1, workers=1)
    tokens = sum(len(split.tokens) for split in (store.train, store.validation, store.test))
    stored = sum(path.stat().st_size for path in store.folder.iterdir())
    print(f"\n{stored / tokens:.3f} bytes per token, {1e8 * stored / tokens / 1e6:.0f} MB for 1e8 tokens")
    if REAL.exists():
        assert stored / tokens <= 2.1
