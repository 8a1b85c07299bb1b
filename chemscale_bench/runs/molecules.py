"""What a run says of the molecules that it trains on."""

from __future__ import annotations

from collections.abc import Iterator

from chemscale_bench.data.layout import explain
from chemscale_bench.data.opening import user_path
from chemscale_bench.data.packing import DUPLICATE, UNKNOWN_SYMBOL
from chemscale_bench.data.prepare import REFUSALS
from chemscale_bench.data.store import TokenStore
from chemscale_bench.data.worker import EMPTY, NOT_ENCODABLE, TOO_LONG, UNPARSABLE

NOTABLE_REFUSALS = 0.1  # of the lines of a source
FEW_MOLECULES = 100  # for validation
WORDS = {
    UNPARSABLE: "that RDKit cannot read", NOT_ENCODABLE: "that cannot be encoded", TOO_LONG: "too long",
    UNKNOWN_SYMBOL: "with a symbol that the vocabulary lacks",
}  # fmt: skip
"""Why molecules are refused."""
MOST_EPOCHS = 4  # beyond, repeated data teach less than new


def numbers(store: TokenStore, tokens: int) -> dict[str, float]:
    """Counts for MLflow: lines by what became of them, sizes of the splits, epochs of a run to so many tokens."""
    counts = {f"data/{reason}": float(count) for reason, count in store.counts.items()}
    return counts | {
        "data/unknown_symbol_share": store.counts["unknown_symbol"] / max(1, store.counts["read"]),
        "data/train_molecules": len(store.train), "data/validation_molecules": len(store.validation),
        "data/train_tokens": len(store.train.tokens), "data/epochs": tokens / len(store.train.tokens),
    }  # fmt: skip


def notes(store: TokenStore, tokens: int, own: str, column: str = "") -> Iterator[str]:
    """What the user should know before training to so many tokens.

    Args:
        store: what is trained on.
        tokens: largest budget.
        own: path of the user's file, whose reading is explained; empty for a named data set.
        column: of its molecules, where the user has named it.
    """
    refused = {reason: store.counts[reason] for reason in REFUSALS if store.counts[reason]}
    reasons = ", ".join(f"{count:,} {WORDS[reason]}" for reason, count in refused.items())
    if own:
        yield f"{store.name}: {explain(user_path(own), column)}"
        others = {"to test": store.counts["test"], DUPLICATE: store.counts[DUPLICATE], EMPTY: store.counts[EMPTY]}
        rest = [f"{count:,} {what}" for what, count in others.items() if count]
        yield (
            f"{store.counts['read']:,} lines read: {len(store.train):,} molecules to train on, "
            + ", ".join([f"{len(store.validation):,} to validate", *rest, *([reasons] if reasons else [])])
        )
        if len(store.validation) < FEW_MOLECULES:
            yield (
                f"note: the loss of {len(store.validation)} molecules hardly tells one model from another; a twentieth "
                f"of a file validates, so give {20 * FEW_MOLECULES:,} or more"
            )
    if sum(refused.values()) > NOTABLE_REFUSALS * store.counts["read"]:
        yield (
            f"note: {sum(refused.values()):,} of {store.counts['read']:,} lines of {store.name} were refused "
            f"({reasons}); if that is not meant, look at what its lines hold"
        )
    known = len(store.train.tokens)
    if tokens > MOST_EPOCHS * known:
        yield (
            f"note: {tokens:,} tokens are {tokens / known:.1f} passes over {known:,}; beyond {MOST_EPOCHS}, repeated "
            "data teach less than new (Muennighoff et al. 2023)"
        )
