"""What trained models are measured by, beyond their training loss, and what they are good for.

- Force fields: `physics.py` checks symmetries, `dynamics.py` is the calculator, relaxation and
  vibrations; `motion.py` moves replicas, `distances.py` and `stretching.py` measure, `motion_report.py` shows it.
- Language models: `ngram.py` is the trigram baseline, `coordinates.py` checks that activations move alike at every
  width. `checkpoints.py` finds a trained one.
- What they draw: `sampling.py` draws molecules; `generation.py` has the metrics of MOSES for them, from what
  `chemistry.py` measures of each, `similarity.py` of pairs and `chemnet.py` of sets; `moses.py` has its test sets.
- What they know: `featurizer.py` turns molecules into vectors; `probes.py` and `roughness.py` say what vectors are
  worth, `probe_report.py` shows it; `molfeat_plugin.py` is the same for molfeat.
- `loaded.py` is a trained model of either kind as its user wants it, from the folder that its run has logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chemscale_bench.evaluation.featurizer import Featurizer

__all__ = ["Featurizer"]


def __getattr__(name: str) -> Any:
    """`Featurizer` when it is asked for: scikit-learn takes a second to import, which training goes without."""
    if name == "Featurizer":
        from chemscale_bench.evaluation.featurizer import Featurizer

        return Featurizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
