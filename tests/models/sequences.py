"""Sequences for the tests of language models: of any lengths, and with something to learn."""

import numpy as np

START, END, PAD, SIZE = 2, 3, 1, 40
SYMBOLS = 60


def random_sequences(lengths: list[int]) -> list[np.ndarray]:
    """Each: symbols below SIZE, end."""
    rng = np.random.default_rng(0)
    return [np.append(rng.integers(5, SIZE, length - 1), END).astype(np.uint16) for length in lengths]


def learnable_sequences(count: int, seed: int) -> list[np.ndarray]:
    """Sequences of 40 symbols below SYMBOLS, half of which follow from the one before."""
    rng = np.random.default_rng(seed)
    after = np.random.default_rng(0).integers(5, SYMBOLS, SYMBOLS)
    made = rng.integers(5, SYMBOLS, (count, 40))
    for place in range(1, 39):
        follows = rng.random(count) < 0.5
        made[follows, place] = after[made[follows, place - 1]]
    made[:, -1] = END
    return list(made.astype(np.uint16))


def spread(values: list[float]) -> float:
    """Largest over smallest."""
    return max(values) / min(values)
