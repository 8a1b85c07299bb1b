"""Encoding in several processes: results in order, a bounded number of batches under way."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from chemscale_bench.data.codec import Codec, warm_up
from chemscale_bench.data.smiles import SmilesCodec, String
from chemscale_bench.data.sources import Lines
from chemscale_bench.data.worker import Batch, encode_lines
from chemscale_bench.errors import UserError


class EncodedBatch(NamedTuple):
    """An encoded batch, and how much of the source has been read up to its end, 0 to 1."""

    batch: Batch
    fraction: float


MOST_WORKERS = 16  # at about 110 MB each they stay below 2 GiB together


def default_workers() -> int:
    """Cores that this process may use, up to a number that memory allows."""
    return min(MOST_WORKERS, _cores())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def encode_all(
    chunks: Iterator[Lines], workers: int, is_selfies: bool, string: String
) -> Generator[EncodedBatch, None, None]:
    """Encode chunks of molecules, in order, into the symbols of SELFIES or SMILES.

    The processes are children on pipes, not a `multiprocessing` pool: they never import the user's main script, so a
    script without a main guard works, and they end by themselves when this process is killed, because their input
    closes.

    Raises:
        UserError: a process died.
    """
    if workers == 1:
        warm_up()
        codec, smiles_codec = Codec(), SmilesCodec() if string == "smiles" else None
        for lines in chunks:
            yield EncodedBatch(encode_lines(codec, lines.molecules, is_selfies, smiles_codec), lines.fraction)
        return
    children = threading.local()
    processes: list[subprocess.Popen[bytes]] = []

    def encode(lines: Lines) -> EncodedBatch:
        if not hasattr(children, "process"):
            children.process = _start()
            processes.append(children.process)
        return EncodedBatch(_ask(children.process, lines.molecules, is_selfies, string), lines.fraction)

    pending: deque[Future[EncodedBatch]] = deque()
    threads = ThreadPoolExecutor(workers)
    try:
        for lines in chunks:
            pending.append(threads.submit(encode, lines))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        for process in processes:
            process.kill()
        threads.shutdown()
        for process in processes:
            process.communicate()


def _start() -> subprocess.Popen[bytes]:
    # The child imports what this process imports: the same path, and (-P) not its working folder before it.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    command = [sys.executable, "-P", "-c", "from chemscale_bench.data.worker import serve; serve()"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _ask(process: subprocess.Popen[bytes], molecules: list[str], is_selfies: bool, string: String) -> Batch:
    assert process.stdin is not None
    assert process.stdout is not None
    request = bytes([is_selfies, string == "smiles"]) + "\n".join(molecules).encode("utf-8")
    try:
        process.stdin.write(len(request).to_bytes(8, "big") + request)
        process.stdin.flush()
        size = int.from_bytes(process.stdout.read(8), "big")
        reply: Batch = pickle.loads(process.stdout.read(size))
    except (BrokenPipeError, EOFError, pickle.UnpicklingError):
        raise UserError(
            f"a process that prepares molecules ended early (exit code {process.wait()}); if memory ran out, prepare "
            "with fewer workers; the same command goes on where it stopped"
        ) from None
    return reply
