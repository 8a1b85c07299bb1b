"""Whether a checkpoint's features are worth what an entry tells: read, split and probed again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard.entry import Entry, Run
from chemscale_bench.leaderboard.probed import PLAIN

if TYPE_CHECKING:
    from chemscale_bench.data.vocabulary import Vocabulary
    from chemscale_bench.models.packed import LanguageModel

TOLERANCE = {"molecules": 0.0, "linear": 0.01, "linear_untrained": 0.01, "neighbours": 0.01, "rogi_xd": 0.05}
"""Share by which a number may differ. Features that differ by 1e-5, ten times what rounding does on another device,
moved scores by up to .12 % and ROGI-XD, whose clusters are cut at thresholds, by up to 2.3 %, on four sets."""


class ProbedOtherwise(UserError):
    """Features of a checkpoint are not worth what its entry tells, or can't be had."""


def chosen(entry: Entry) -> Run | None:
    """The run whose features are probed again: of those with a checkpoint, which is of the last budget, the smallest.

    None if the entry tells of no features.

    Raises:
        ProbedOtherwise: if it does, but of no model whose checkpoint it has.
    """
    probed = [run for run in entry.runs if any(result.probes for result in run.results)]
    fit = [run for run in probed if run.checkpoint and run.results[-1].probes]
    if probed and not fit:
        raise ProbedOtherwise(
            f"features must be those of a run with a checkpoint, at its last budget, got none of {len(probed)} runs; "
            "`probe` the best run, or submit with checkpoint=all"
        )
    return min(fit, key=lambda run: run.non_embedding_params) if fit else None


def check(run: Run, model: str, network: LanguageModel, vocabulary: Vocabulary) -> None:
    """Probe the features of a run again, and compare every number.

    Args:
        run: from `chosen`.
        model: name of its family.
        network: its checkpoint.
        vocabulary: that it was trained with.

    Raises:
        ProbedOtherwise: if they are others.
        UserError: if a set is not to be had.
    """
    from chemscale_bench.data import properties
    from chemscale_bench.evaluation import probes
    from chemscale_bench.evaluation.checkpoints import Checkpoint, before_training
    from chemscale_bench.evaluation.featurizer import Featurizer
    from chemscale_bench.training.devices import evaluation_device

    device, began = str(evaluation_device("auto")), before_training(model, network, run.seed, run.settings)
    for name, made in (run.results[-1].probes or {}).items():
        table = properties.read(name)
        trained, before = (
            Featurizer("", PLAIN["pooling"], PLAIN["layer"], device=device)
            .of(Checkpoint(each.eval().requires_grad_(False), vocabulary, model))
            .featurize(table.smiles)
            .vectors
            for each in (network, began)
        )
        kept = np.all(np.isfinite(trained), axis=1)
        smiles, values = [text for text, good in zip(table.smiles, kept, strict=True) if good], table.values[kept]
        splits = probes.splits(probes.scaffolds(smiles), values, PLAIN["splits"])
        worth, first = (probes.worth(vectors[kept], values, splits) for vectors in (trained, before))
        found = {
            "molecules": float(len(smiles)), "linear": worth.linear.mean, "linear_untrained": first.linear.mean,
            "neighbours": worth.neighbours.mean, "rogi_xd": worth.rough.rogi_xd,
        }  # fmt: skip
        for what, again in found.items():
            stated = float(getattr(made, what))
            if not math.isclose(again, stated, rel_tol=TOLERANCE[what]):
                raise ProbedOtherwise(
                    f"{what} of {name} of run {run.run} must be {stated:.5g} within {TOLERANCE[what]:.0%}, its "
                    f"checkpoint gives {again:.5g}"
                )
