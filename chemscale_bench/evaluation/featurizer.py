"""Molecules as vectors: the states of a trained language model, pooled over its tokens.

Legend: M molecules; N tokens of those of a batch, one after another; C channels of the model.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from torch import Tensor

from chemscale_bench.data.smiles import codec_for
from chemscale_bench.data.spelling import Spelled, spell
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.checkpoints import Checkpoint, load
from chemscale_bench.progress import progress_bar
from chemscale_bench.training.language import micro_batches, pack_symbols

POOLINGS = ("mean", "last", "max", "molfeat")
PASS_TOKENS = 8_192  # padded tokens of one forward pass
PASS_TOKENS_CPU = 2_048  # whose states stay in the processor's cache: 10 to 20 % faster at 1e5 and 1e6 parameters


class Features(NamedTuple):
    """What became of some molecules."""

    vectors: NDArray[np.float32]
    """(M, C); a row of NaN for a molecule that has none."""
    reasons: list[str]
    """Of each molecule why it has none (unparsable, unknown_symbol, ...), an empty text if it has."""


class Featurizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn transformer from SMILES to the features of a language model.

    A molecule is read as in training: canonical SMILES, its SELFIES symbols, nothing cut off. One that cannot be
    parsed, or has a symbol that the model never saw, or takes 512 tokens or more, becomes a row of NaN, and a warning
    counts them by reason. Nothing is learnt from data: `fit` only loads the model.

    Args:
        run: id of a finished run, the folder of a checkpoint (those of the released ChemGPT too), or its name on the
            Hugging Face hub.
        pooling: over which of a molecule's states. `mean` and `max`: start and all symbols; `last`: the last symbol,
            which has seen the whole molecule; `molfeat`: the mean over start, symbols and end, which is what molfeat
            (molfeat.trans.pretrained.PretrainedHFTransformer, pooling="mean") gives for the same weights and tokens. An
            end is no input in our training.
        layer: 0 is the embedding, 1 the first layer, -1 the last one behind the final norm.
        untrained: take the same network with the weights it had before training, as a control.
        device: of torch.
        budget: of a run, take the model that it has kept at this budget in tokens; 0 is its last one.

    Example:
        >>> Featurizer("model", pooling="last")(["CCO", "c1ccccc1"]).shape
        (2, 128)
    """

    def __init__(
        self, run: str | Path, pooling: str = "mean", layer: int = -1, untrained: bool = False, device: str = "cpu",
        budget: int = 0,
    ) -> None:  # fmt: skip
        self.run = run
        self.pooling = pooling
        self.layer = layer
        self.untrained = untrained
        self.device = device
        self.budget = budget

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Load the model; the molecules are not looked at.

        Raises:
            UserError: if a parameter is not as it must be, or there is no such model.
        """
        if self.pooling not in POOLINGS:
            raise UserError(f"pooling must be one of {', '.join(POOLINGS)}, got {self.pooling!r}; choose one of them")
        return self.of(load(self.run, self.untrained, f"models/{self.budget}" if self.budget else "model"))

    def of(self, checkpoint: Checkpoint) -> Self:
        """Take a model that is loaded already.

        Raises:
            UserError: if it has no such layer.
        """
        depth = checkpoint.network.config.sizes["layers"]
        if not -depth - 1 <= self.layer <= depth:
            raise UserError(
                f"layer must be from 0, the embedding, to {depth} of this model, or from the end -1 to {-depth - 1}, "
                f"got {self.layer}; -1 is the last"
            )
        checkpoint.network.to(self.device)
        self.checkpoint_ = checkpoint
        self.codec_ = codec_for(self.checkpoint_.vocabulary.string)
        self.n_features_out_ = int(checkpoint.network.config.sizes["width"])
        self.loaded_ = self.get_params()
        return self

    def transform(self, X: Iterable[str]) -> NDArray[np.float32]:
        """The features (M, C) of M SMILES; molecules without features are rows of NaN, with one warning."""
        features = self.featurize(X)
        refused = Counter(reason for reason in features.reasons if reason)
        if refused:
            told = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
            warnings.warn(
                f"{refused.total()} of {len(features.reasons)} molecules have no features ({told}); their rows are NaN",
                stacklevel=2,
            )
        return features.vectors

    __call__ = transform

    def featurize(self, smiles: Iterable[str], progress: bool = False) -> Features:
        """The features of some SMILES, with the reason of each that has none.

        Args:
            smiles: one molecule each.
            progress: whether to show a bar.

        Raises:
            UserError: as `fit` does, or if the molecules are no texts.
        """
        molecules = texts(smiles)
        if getattr(self, "loaded_", None) != self.get_params():
            self.fit()
        spelled = spell(molecules, self.checkpoint_.vocabulary, self.codec_)
        vectors = np.full((len(molecules), self.n_features_out_), np.nan, np.float32)
        shown: dict[str, Any] = {"desc": "embedding", "unit": "tok", "unit_scale": True}
        with progress_bar(total=len(spelled.ids), hidden=not progress, **shown) as bar:
            for members, pooled in self._pooled(spelled):
                vectors[members] = pooled
                bar.update(int(spelled.lengths[members].sum()))
        return Features(vectors, spelled.reasons)

    @torch.inference_mode()
    def _pooled(self, spelled: Spelled) -> Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """The vectors of one forward pass after another, with the places of its molecules, the shortest first."""
        network, vocabulary = self.checkpoint_.network, self.checkpoint_.vocabulary
        layer = self.layer % (network.config.sizes["layers"] + 1)
        behind = 2 if self.pooling == "molfeat" else 1  # ends: the last one is predicted, never read
        symbols = np.split(spelled.ids, np.cumsum(spelled.lengths)[:-1])
        order = np.argsort(spelled.lengths, kind="stable")
        order = order[spelled.lengths[order] > 0]
        ends = np.full(behind, vocabulary.end_id)
        most = PASS_TOKENS_CPU if torch.device(self.device).type == "cpu" else PASS_TOKENS
        for start, stop in micro_batches(spelled.lengths[order] + behind, most):
            members = order[start:stop]
            packed = np.concatenate([part for place in members for part in (symbols[place], ends)])
            lengths = spelled.lengths[members] + behind
            batch = pack_symbols(packed, lengths, vocabulary.start_id, self.device)
            states_NC = next(islice(network.states(batch), layer, None))
            yield members, pool(states_NC, torch.from_numpy(lengths).to(self.device), self.pooling).cpu().numpy()

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names (C,) of the features."""
        if not hasattr(self, "n_features_out_"):
            self.fit()
        return np.array([f"f{channel}" for channel in range(self.n_features_out_)], object)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn should know: takes texts, needs no fit."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.requires_fit = False
        return tags


def pool(states_NC: Tensor, lengths: Tensor, pooling: str) -> Tensor:
    """One vector (M, C) of each molecule's states.

    Args:
        states_NC: of the molecules one after another.
        lengths: states of each molecule (M,), int64.
        pooling: one of `POOLINGS`.
    """
    if pooling == "last":
        return states_NC[lengths.cumsum(0) - 1]
    return torch.segment_reduce(states_NC, "max" if pooling == "max" else "mean", lengths=lengths)


def texts(smiles: Iterable[str]) -> list[str]:
    """Molecules as a list of texts; what is missing (None, NaN) as an empty one.

    Raises:
        UserError: if they are something else.
    """
    if isinstance(smiles, str):
        raise UserError(f"smiles must be a list of SMILES, got the one text {smiles[:60]!r}; put it into a list")
    values = np.asarray(smiles if hasattr(smiles, "__array__") else list(smiles), object)
    if values.ndim == 2 and values.shape[1] == 1:  # a table of one column
        values = values[:, 0]
    if values.ndim != 1:
        raise UserError(f"smiles must be a list of SMILES, got an array of shape {values.shape}; give one column of it")
    missing = [value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)) for value in values]
    odd = next((value for value, gone in zip(values, missing, strict=True) if not (gone or isinstance(value, str))), "")
    if not isinstance(odd, str):
        raise UserError(f"smiles must be texts, got {odd!r} of type {type(odd).__name__}; give SMILES")
    return ["" if gone else str(value) for value, gone in zip(values, missing, strict=True)]
