"""Tanimoto similarities of many fingerprints, by a compiled kernel: a pair takes nanoseconds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np

from chemscale_bench.data.kernel.compiling import compiled

BLOCK = 256  # fingerprints that a thread compares at once


def similarities(
    generated: np.ndarray, reference: np.ndarray, progress: Callable[[int], object] = lambda count: None
) -> np.ndarray:
    """What each generated fingerprint has in common with all of the reference.

    Two fingerprints without a bit are alike: their similarity is 1.

    Args:
        generated: uint64 [N, 16].
        reference: uint64 [M, 16].
        progress: told how many of the generated are done since it was last called.

    Returns:
        float64 [N, 3]: the largest similarity, the mean, and the mean of the squares.
    """
    out = np.empty((len(generated), 3))
    starts = range(0, len(generated), BLOCK)

    def work(start: int) -> int:
        part = slice(start, start + BLOCK)
        compare(generated[part], reference, out[part])
        return len(out[part])

    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        for count in pool.map(work, starts):
            progress(count)
    return out


def _compare(generated: np.ndarray, reference: np.ndarray, out: np.ndarray) -> None:
    """Largest, mean and mean squared similarity (N, 3)."""
    words = generated.shape[1]
    in_reference = np.zeros(len(reference), np.int64)
    common = np.zeros(len(reference), np.int64)
    for one in range(len(reference)):
        for word in range(words):
            in_reference[one] += ones(reference[one, word])
    for row in range(len(generated)):
        own = 0
        for word in range(words):
            own += int(ones(generated[row, word]))
        for one in range(len(reference)):
            shared = 0
            for word in range(words):
                shared += int(ones(generated[row, word] & reference[one, word]))
            common[one] = shared
        largest = total = squares = 0.0
        for one in range(len(reference)):
            either = own + in_reference[one] - common[one]
            similarity = common[one] / either if either else 1.0
            largest = max(largest, similarity)
            total += similarity
            squares += similarity * similarity
        out[row, 0], out[row, 1], out[row, 2] = largest, total / len(reference), squares / len(reference)


def _ones(word: np.uint64) -> np.uint64:
    """How many bits are set; compilers know this form."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


ones = compiled(_ones, nogil=True)
compare = compiled(_compare, nogil=True)
