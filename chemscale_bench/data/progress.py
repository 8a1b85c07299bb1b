"""A progress bar with the time that is left, for work that ends when there is enough or when the source does."""

from __future__ import annotations

from types import TracebackType

from chemscale_bench.data.packing import TEST, VALIDATION
from chemscale_bench.data.store import Manifest
from chemscale_bench.data.workers import EncodedBatch
from chemscale_bench.progress import progress_bar


class Progress:
    """How much of the wanted tokens and molecules there is, or of the source has been read, whichever is more."""

    def __init__(self, name: str, train_tokens: int, validation_molecules: int, manifest: Manifest | None) -> None:
        self._wanted = train_tokens, validation_molecules
        self._tokens = float(manifest.total("train")[1]) if manifest else 0.0
        self._molecules = float(manifest.total("validation")[0]) if manifest else 0.0
        self._bar = progress_bar(
            desc=f"preparing {name}",
            total=1.0,
            initial=self._enough(),
            smoothing=0.05,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}",
        )

    def indexed(self, share: float) -> None:
        """Say how much of the source has been unpacked and indexed, 0 to 1."""
        self._bar.set_postfix_str(f"finding its lines {share:.0%}")

    def update(self, result: EncodedBatch) -> None:
        """Take note of a batch."""
        batch = result.batch
        self._tokens += (1 - VALIDATION) * (len(batch.numbers) + len(batch.lengths))
        self._molecules += (VALIDATION - TEST) * len(batch.lengths)
        reached = max(self._enough(), result.fraction)
        self._bar.set_postfix_str(f"{self._tokens:.3g} training tokens", refresh=False)
        self._bar.update(max(0.0, reached - self._bar.n))

    def _enough(self) -> float:
        return min(1.0, self._tokens / self._wanted[0], self._molecules / self._wanted[1])

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._bar.close()
