"""Molecules drawn from a language model, with what each costs the model in nats.

Legend: B molecules that are written at once; V vocabulary.

A molecule that ends makes room for the next, so that every step works on B of them. A molecule's random numbers depend
on the seed and on its number alone: neither B nor the threads decide what is drawn, and the first n are the same for
every n.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

import numpy as np
import selfies
import torch
from torch import Tensor

from chemscale_bench.data.vocabulary import SPECIAL, Vocabulary
from chemscale_bench.data.worker import MAX_TOKENS
from chemscale_bench.errors import UserError
from chemscale_bench.models.packed import Growing, LanguageModel

ROWS = {"cpu": 256, "cuda": 2048}
"""B: as many as keep a GPU busy; on a CPU few, so that their keys and values stay in the cache."""
MEMORY_BYTES = 16e9  # that the keys and values of all may need where every molecule is as long as it may be
SHARED = 256  # molecules whose random numbers are drawn together


@dataclass
class Samples:
    """What was drawn, in order; molecules that did not end are left out."""

    strings: list[str] = field(default_factory=list)
    """SELFIES or SMILES of each, as the model writes them."""
    nats: list[float] = field(default_factory=list)
    """-log p of each by the model as it is, the end included: at temperature 1, whatever it was drawn at."""
    tokens: int = 0
    """Predicted tokens of all, ends included."""
    unfinished: int = 0
    """Molecules that had not ended where the longest must."""


@dataclass(frozen=True)
class Drawing:
    """How the next token is drawn."""

    temperature: float = 1.0
    """Logits are divided by it."""
    top_k: int = 0
    """Only so many of the likeliest tokens; 0 for all."""
    top_p: float = 1.0
    """Only the likeliest tokens that together have this probability."""

    def check(self) -> None:
        """Refuse what can't be drawn by.

        Raises:
            UserError: for a number out of range.
        """
        if not self.temperature > 0:
            raise UserError(f"temperature must be above 0, got {self.temperature}; top_k=1 takes the likeliest token")
        if self.top_k < 0:
            raise UserError(f"top_k must be at least 0, got {self.top_k}; 0 takes all tokens")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be above 0 and at most 1, got {self.top_p}; 1 takes all tokens")

    def draw(self, logits: Tensor, allowed: Tensor, uniform: Tensor) -> Tensor:
        """The next tokens (B,).

        Args:
            logits: (B, V).
            allowed: 0 or 1 for each token (V,).
            uniform: numbers (B, 1) in [0, 1).
        """
        if self == Drawing():
            weights = logits.softmax(-1) * allowed
        else:
            logits = logits.masked_fill(allowed == 0, -torch.inf)
            logits = (logits - logits.amax(-1, keepdim=True)) / self.temperature  # the likeliest stays finite
            if 0 < self.top_k < logits.shape[-1]:
                logits = logits.masked_fill(logits < logits.topk(self.top_k).values[:, -1:], -torch.inf)
            weights = logits.softmax(-1)
            if self.top_p < 1:
                ranked, order = weights.sort(descending=True)
                beyond = ranked.cumsum(-1) - ranked >= self.top_p
                weights = weights.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), 0)
        # In double precision: a number below 1 in single precision stays below what is reached in the end.
        reached = weights.double().cumsum(-1)
        return (reached <= uniform * reached[:, -1:]).sum(-1)


PLAIN = Drawing()


def allowed_tokens(vocabulary: Vocabulary, size: int) -> np.ndarray:
    """1.0 for each token (V,) that may be drawn: the end, and whole symbols that decode; 0.0 for all others.

    A symbol of SMILES means nothing by itself: all may be drawn.

    Raises:
        UserError: if the vocabulary is not that of a model of this size.
    """
    if vocabulary.size != size:
        raise UserError(
            f"the tokenizer must have as many tokens as the model, {size}, got {vocabulary.size}; take the "
            "tokenizer.json that came with the checkpoint"
        )
    allowed = np.zeros(size, np.float32)
    allowed[vocabulary.end_id] = 1
    for token in range(len(SPECIAL), size):
        symbol = vocabulary.symbols[token]
        if vocabulary.string == "smiles":
            allowed[token] = 1
            continue
        whole = symbol == "." or (symbol[:1] == "[" and symbol.find("]") == len(symbol) - 1)
        try:
            allowed[token] = whole and selfies.decoder(symbol) is not None
        except selfies.DecoderError:
            continue
    return allowed


class Waiting:
    """The numbers of the molecules that nobody writes yet, for several threads."""

    def __init__(self, count: int) -> None:
        self.left = iter(range(count))
        self.lock = threading.Lock()

    def take(self, most: int) -> list[int]:
        """The next numbers, `most` or all that are left."""
        with self.lock:
            return list(islice(self.left, most))

    def stop(self) -> None:
        """No more are handed out."""
        with self.lock:
            self.left = iter(range(0))


def sample(
    model: LanguageModel, vocabulary: Vocabulary, molecules: int, *, seed: int = 0, drawing: Drawing = PLAIN,
    longest: int = MAX_TOKENS, rows: int | None = None, threads: int | None = None,
    progress: Callable[[int], object] = lambda molecules: None,
) -> Samples:  # fmt: skip
    """Draw molecules.

    Tokens that are no whole symbol of SELFIES, or that it can't decode, are never drawn.

    Args:
        model: on any device.
        vocabulary: of the model.
        molecules: to draw.
        seed: of the random numbers.
        drawing: how the next token is drawn; by default from the model's distribution as it is.
        longest: tokens of a molecule, its end included; one that has not ended then is counted and left out.
        rows: written at once by a thread.
        threads: at work; by default as many as torch uses, on a CPU.
        progress: told how many molecules have ended since it was last called, from any thread.

    Raises:
        UserError: for a number out of range, or a vocabulary that is not the model's.

    Example:
        >>> checkpoint = load("model")
        >>> sample(checkpoint.network, checkpoint.vocabulary, 1000).strings[:2]
        ['[C][C][O]', '[N][C]']
    """
    drawing.check()
    for name, value in (("molecules", molecules), ("longest", longest)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}; ask for more")
    weight = next(model.parameters())
    allowed = torch.from_numpy(allowed_tokens(vocabulary, model.config.vocabulary_size)).to(weight.device)
    on_cpu = weight.device.type == "cpu"
    threads = threads or (torch.get_num_threads() if on_cpu else 1)
    rows = min(rows or rows_for(model, longest, weight.device.type), -(-molecules // threads))
    waiting, found = Waiting(molecules), Samples()
    drawn: dict[int, tuple[np.ndarray, float]] = {}
    writers = [Writer(model, allowed, drawing, seed, longest, rows, progress) for _ in range(threads)]
    before = torch.get_num_threads()
    torch.set_num_threads(1 if on_cpu else before)  # threads that share no step wait for nobody
    try:
        with ThreadPoolExecutor(threads) as pool:
            try:
                for part in pool.map(lambda writer: writer.write(waiting), writers):
                    drawn |= part
            finally:
                waiting.stop()
    finally:
        torch.set_num_threads(before)
    for number in sorted(drawn):
        tokens, nats = drawn[number]
        if tokens[-1] != vocabulary.end_id:
            found.unfinished += 1
            continue
        found.strings.append(vocabulary.decode(tokens.tolist()))
        found.nats.append(nats)
        found.tokens += len(tokens)
    return found


def rows_for(model: LanguageModel, longest: int, device: str) -> int:
    """B for a model of this size."""
    sizes = model.config.sizes
    return max(1, min(ROWS[device], int(MEMORY_BYTES / (8 * sizes["layers"] * sizes["width"] * longest))))


class Writer:
    """Writes molecules, B at once."""

    def __init__(
        self, model: LanguageModel, allowed: Tensor, drawing: Drawing, seed: int, longest: int, rows: int,
        progress: Callable[[int], object],
    ) -> None:  # fmt: skip
        self.model, self.allowed, self.drawing, self.progress = model, allowed, drawing, progress
        self.longest, self.rows = longest, rows
        self.uniforms = lru_cache(maxsize=2)(
            lambda part: np.random.default_rng([seed, part]).random((SHARED, longest), np.float32)
        )

    @torch.inference_mode()
    def write(self, waiting: Waiting) -> dict[int, tuple[np.ndarray, float]]:
        """Tokens, the end included, and nats of molecules by their numbers, until none waits."""
        start_id, end_id = Vocabulary.start_id, Vocabulary.end_id
        device, rows = self.allowed.device, self.rows
        every, memory = torch.arange(rows, device=device), self.model.memory(rows)
        numbers = np.full(rows, -1)  # of the molecule in each row; -1 where none is left
        written = torch.zeros(rows, self.longest, dtype=torch.int64, device=device)
        uniform = torch.zeros(rows, self.longest, device=device)
        inputs = torch.full((rows,), start_id, device=device)
        positions = torch.zeros(rows, dtype=torch.int64, device=device)
        nats = torch.zeros(rows, device=device, dtype=torch.float64)
        drawn: dict[int, tuple[np.ndarray, float]] = {}
        ended = np.arange(rows)
        while True:
            if len(ended):
                done = [int(row) for row in ended if numbers[row] >= 0]
                ends, tokens, costs = positions.tolist(), written[done].numpy(force=True), nats.tolist()
                for row, line in zip(done, tokens, strict=True):
                    drawn[int(numbers[row])] = line[: ends[row]].astype(np.uint16), costs[row]
                self.progress(len(done))
                following = waiting.take(len(ended))
                numbers[ended] = following + [-1] * (len(ended) - len(following))
                if (numbers < 0).all():
                    return drawn
                filled = torch.from_numpy(ended).to(device)
                inputs[filled], positions[filled], nats[filled] = start_id, 0, 0.0
                for filled_row, number in zip(ended, following, strict=False):
                    uniform[filled_row] = torch.from_numpy(self.uniforms(number // SHARED)[number % SHARED])
            logits = self.model.logits(Growing(inputs, positions, memory)).float()
            inputs = self.drawing.draw(logits, self.allowed, uniform[every, positions].unsqueeze(-1))
            nats += nats_of(logits, inputs)
            written[every, positions] = inputs
            positions = positions + 1
            over = ((inputs == end_id) | (positions == self.longest)).numpy(force=True)
            ended = np.flatnonzero(over)


def nats_of(logits: Tensor, tokens: Tensor) -> Tensor:
    """-log p (B,) of tokens by the logits (B, V)."""
    return torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
