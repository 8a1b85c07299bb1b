"""The featurizer under the name by which users of molfeat look for it; needs `chemscale-bench[molfeat]`.

molfeat finds it by its entry point: after `molfeat.plugins.load_registered_plugins()` it is
`molfeat.trans.pretrained.ChemscaleTransformer`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from molfeat.trans.pretrained import PretrainedMolTransformer

from chemscale_bench.evaluation.featurizer import Featurizer


class ChemscaleTransformer(PretrainedMolTransformer):  # type: ignore[misc]
    """Features of a trained language model as a transformer of molfeat.

    Args:
        run: as `Featurizer` takes it: a run's id, the folder of a checkpoint, or its name on the Hugging Face hub.
        pooling: over which of a molecule's states, as in `Featurizer`.
        layer: as in `Featurizer`.
        device: of torch.
        params: molfeat's own, `dtype` and `precompute_cache` for example.

    Raises:
        UserError: as `Featurizer`.
    """

    def __init__(
        self, run: str | Path, pooling: str = "mean", layer: int = -1, device: str = "cpu", **params: Any
    ) -> None:
        super().__init__(**params)
        self.run, self.pooling, self.layer, self.device = run, pooling, layer, device
        self._preload()

    def _preload(self) -> None:
        self.featurizer = Featurizer(self.run, self.pooling, self.layer, device=self.device).fit()
        self.preload = True

    def _update_params(self) -> None:
        """What molfeat calls of a pickled transformer, whose model was left out."""
        super()._update_params()
        self._preload()

    def _embed(self, smiles: list[str], **kwargs: Any) -> list[Any]:
        """The features of molecules; None, as molfeat has it, for those without."""
        features = self.featurizer.featurize(["" if text is None else text for text in smiles])
        return [None if why else row for row, why in zip(features.vectors, features.reasons, strict=True)]
