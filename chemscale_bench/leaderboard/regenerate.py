"""Whether a checkpoint draws molecules like those that an entry tells of: with the same seed, and measured again.

On the same arithmetic the same molecules are drawn. On another device a few of them part where a random number lies
within rounding of the border between two tokens. What differs by more than two samples of the model would, however
the numbers fell, is not of this model.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.entry import OF_MOLECULES, Entry, Generation, Run

if TYPE_CHECKING:
    from chemscale_bench.data.store import TokenStore
    from chemscale_bench.models.packed import LanguageModel

SIGMAS = 4.0
"""Of the difference of two samples: with sixteen metrics one honest entry of a thousand is refused, even if all of its
molecules come out as others."""
SPREAD = {
    "internal_diversity": 0.075, "snn": 0.13, "fragments": 0.8, "scaffolds": 1.2, "fcd": 3.3, "wasserstein_logp": 1.6,
    "wasserstein_sa": 1.6, "wasserstein_qed": 0.3, "wasserstein_weight": 107.0,
}  # fmt: skip
"""Standard deviations over samples, times the root of the valid molecules; that of fcd over the root of fcd as well.
The larger ones of a model that has learned hardly anything (FCD 31) and the board's llama of embedded-lm (FCD 8), over
8 to 32 samples of 250 and 1,000 molecules, and 4 of 4,000: they shrink with the root of their number."""

FEW = ("fcd_raw_valid", "fcd_extrapolated")
"""Metrics that are not there for few molecules."""


class DrawnOtherwise(UserError):
    """Molecules of a checkpoint are not those that its entry tells of, or can't be drawn."""


def chosen(entry: Entry) -> Run | None:
    """The run whose molecules are drawn again: of those with a checkpoint, which is of the last budget, the cheapest.

    None if the entry tells of no molecules.

    Raises:
        DrawnOtherwise: if it does, but of no model whose checkpoint it has.
    """
    drawn = [run for run in entry.runs if any(result.generation for result in run.results)]
    fit = [run for run in drawn if run.checkpoint and run.results[-1].generation]
    if drawn and not fit:
        raise DrawnOtherwise(
            f"drawn molecules must be those of a run with a checkpoint, at its last budget, got none of {len(drawn)} "
            "runs; `generate` on the best run, or submit with checkpoint=all"
        )
    return min(fit, key=cost) if fit else None


def cost(run: Run) -> float:
    """About how long it takes to draw from the last model of a run."""
    made = run.results[-1].generation
    return run.non_embedding_params * made.molecules if made else math.inf


def check(run: Run, network: LanguageModel, store: TokenStore, of_moses: bool) -> None:
    """Draw the molecules of a run again, all of them, and compare every metric.

    Args:
        run: from `chosen`.
        network: its checkpoint.
        store: the data of its training.
        of_moses: whether the task is on MOSES.

    Raises:
        DrawnOtherwise: if they are others.
    """
    from chemscale_bench.evaluation import chemnet
    from chemscale_bench.evaluation.drawn import References, draw, metrics_of, reference_digest
    from chemscale_bench.evaluation.sampling import Drawing
    from chemscale_bench.training.devices import evaluation_device

    made = run.results[-1].generation
    assert made is not None
    if made.chemnet:
        chemnet.check_installed()
    digest = reference_digest(store, of_moses)
    if digest != made.reference_digest:
        raise DrawnOtherwise(
            f"drawn molecules must be compared with the test molecules {made.reference_digest[:16]}, here they are "
            f"{digest[:16]}; use the package versions that the entry names"
        )
    device = evaluation_device("auto")
    drawing = Drawing(made.temperature, made.top_k, made.top_p)
    drawn = draw(network, store.vocabulary, made.molecules, made.seed, drawing, device)
    found = metrics_of(drawn, store, References(device), of_moses)
    for name, stated in made.metrics.items():
        if name.startswith(FEW) and name not in found:  # just too few molecules this time
            continue
        again, most = found.get(name, math.nan), tolerance(made, name)
        if not abs(again - stated) <= most:
            raise DrawnOtherwise(
                f"{name} of {made.molecules:,} molecules of run {run.run} must be {stated:.5g} within {most:.2g}, its "
                f"checkpoint gives {again:.5g}"
            )


def tolerance(made: Generation, name: str) -> float:
    """By how much a metric of two samples of one model may differ: so many standard deviations of the difference."""
    return SIGMAS * math.sqrt(2) * deviation(made, name)


def deviation(made: Generation, name: str) -> float:
    """The standard deviation of a metric over samples of so many molecules."""
    value, valid = made.metrics[name], max(1.0, made.metrics["valid"] * made.molecules)
    if name in OF_MOLECULES and not name.startswith("internal_diversity"):
        of = {"valid": made.molecules, "raw_valid": made.molecules, "unique_at_1k": min(valid, 1_000)}.get(name, valid)
        of = min(of, 10_000) if name == "unique_at_10k" else of
        # That of a binomial share, and no less than one molecule makes.
        return max(math.sqrt(max(0.0, value * (1 - value)) / of), 1 / of)
    kind = next(kind for kind in SPREAD if name.startswith(kind))
    if name.startswith("fcd_raw_valid"):
        valid = max(1.0, made.metrics["raw_valid"] * made.molecules)
    if name.startswith("fcd_extrapolated"):  # through smaller samples, of which it differs as much as theirs
        value, valid = made.metrics[name.replace("_extrapolated", "")], valid / 4
    return SPREAD[kind] * (math.sqrt(value) if kind == "fcd" else 1.0) / math.sqrt(valid)
