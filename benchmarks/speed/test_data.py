"""Speed of the data layer against what a user would write with selfies alone, both sides in one run.

Run: `python -m pytest benchmarks/speed/test_data.py -s`. Uses real molecules beside the checkout where there are some,
else those inside RDKit. Reference: `selfies.encoder`, `split_selfies` and a dictionary look-up in one process, on the
first 2,000 molecules; it neither parses, canonicalises, removes duplicates nor stores.
"""

from __future__ import annotations

import lzma
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import selfies
from pytest_benchmark.fixture import BenchmarkFixture

from chemscale_bench.data.codec import Codec, warm_up
from chemscale_bench.data.embedded import files
from chemscale_bench.data.kernel.compiling import FOLDER
from chemscale_bench.data.layout import find_layout
from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.speed.measurements import Row

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "molecules" / "pubchem_deposits.smi.xz"
ROUNDS, SAMPLE = 5, 2000


@pytest.fixture(scope="module")
def smiles() -> list[str]:
    """Up to 100,000 real molecules."""
    warm_up()
    if REAL.exists():
        with lzma.open(REAL, "rt") as stream:
            return stream.read(6_000_000).split("\n")[:100_000]
    return [find_layout(file)[0].molecule(line) for file in files() for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def vocabulary(smiles: list[str]) -> Vocabulary:
    """Every symbol of these molecules."""
    codec = Codec()
    codec.encode(smiles)
    return Vocabulary.build(dict.fromkeys(codec.symbols, 1), "")


def rates(amount: int, work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> np.ndarray:
    """Amount of work per second in each of several rounds."""
    found = []
    for _ in range(ROUNDS):
        start = clock()
        work()
        found.append(amount / (clock() - start))
    return np.array(found)


def reference_encode(smiles: list[str], vocabulary: Vocabulary) -> list[list[int]]:
    """What a user would write."""
    molecules = []
    for text in smiles:
        try:
            molecules.append([vocabulary.ids[symbol] for symbol in selfies.split_selfies(selfies.encoder(text))])
        except selfies.EncoderError:
            continue
    return molecules


def processor_seconds() -> float:
    """Processor time of this process and of those it has started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@pytest.mark.benchmark(timer=time.process_time)
def test_smiles_to_ids_per_core(
    benchmark: BenchmarkFixture, smiles: list[str], vocabulary: Vocabulary, record_row: Callable[..., Row]
) -> None:
    """Goal: at least 10x per core."""
    codec = Codec()
    ids = np.zeros(1 << 16, np.uint16)

    def ours() -> np.ndarray:
        encoded = codec.encode(smiles)
        ids[: len(codec.symbols)] = [vocabulary.ids[symbol] for symbol in codec.symbols]
        return ids[encoded.symbols]

    few = smiles[:SAMPLE]
    reference = rates(SAMPLE, lambda: reference_encode(few, vocabulary))
    benchmark.pedantic(ours, rounds=ROUNDS, warmup_rounds=1)
    mine = len(smiles) / np.array(benchmark.stats.stats.data)
    row = record_row("SMILES to ids per core", "molecules/s", mine, "selfies.encoder and look-up", reference)
    assert row.ratio > 10


@pytest.mark.benchmark(timer=time.process_time)
def test_selfies_to_ids_per_core(
    benchmark: BenchmarkFixture, smiles: list[str], vocabulary: Vocabulary, record_row: Callable[..., Row]
) -> None:
    """Goal: at least 5 million tokens/s."""
    few = [selfies.encoder(text) for text in smiles[:SAMPLE]]
    tokens = sum(map(selfies.len_selfies, few))
    ids = vocabulary.ids
    reference = rates(tokens, lambda: [[ids[symbol] for symbol in selfies.split_selfies(text)] for text in few])
    benchmark.pedantic(lambda: vocabulary.encode_many(10 * few), rounds=ROUNDS, warmup_rounds=1)
    mine = 10 * tokens / np.array(benchmark.stats.stats.data)
    row = record_row("SELFIES to ids per core", "tokens/s", mine, "split_selfies and look-up", reference)
    assert row.ours > 5e6


@pytest.fixture
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, but for the compiled kernel."""
    monkeypatch.setenv("CHEMSCALE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    if FOLDER.parent.exists():
        (tmp_path / "home" / "numba").symlink_to(FOLDER.parent)


@pytest.fixture(params=["part", pytest.param("whole", marks=pytest.mark.slow)])
def file(request: pytest.FixtureRequest, smiles: list[str], tmp_path: Path) -> Path:
    """A file of the molecules above, or all 943,160 in the compressed file they come from."""
    if request.param == "whole":
        if not REAL.exists():
            pytest.skip("needs the molecules of ../shared/data")
        return REAL
    path = tmp_path / "molecules.smi"
    path.write_text("\n".join(smiles) + "\n")
    return path


def test_file_to_store(
    file: Path, fresh_home: None, smiles: list[str], vocabulary: Vocabulary, record_row: Callable[..., Row]
) -> None:
    """Goals: 943,160 molecules in under 3 minutes on 2 cores; 1e8 tokens in at most 210 MB."""
    start, used = time.perf_counter(), processor_seconds()
    store = prepare(str(file), train_tokens=10**9, validation_molecules=10**9)
    wall, used = time.perf_counter() - start, processor_seconds() - used
    read, other = store.counts["read"], "selfies.encoder and look-up"
    what = f"file of {read:,} molecules to packed store"
    for name, seconds, clock in (("all cores", wall, time.perf_counter), ("per core", used, time.process_time)):
        reference = rates(SAMPLE, lambda: reference_encode(smiles[:SAMPLE], vocabulary), clock)
        record_row(f"{what}, {name}", "molecules/s", read / seconds, f"{other}, one core", reference)
    record_row(f"{what}, wall time", "s", wall)
    tokens = sum(len(split.tokens) for split in (store.train, store.validation, store.test))
    stored = sum(path.stat().st_size for path in store.folder.iterdir())
    record_row(f"{what}, on disk", "bytes/token", stored / tokens)
    if REAL.exists():
        assert stored / tokens <= 2.1
    if file == REAL:
        assert wall < 180
