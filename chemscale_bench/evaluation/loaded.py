"""A trained model as whoever trained it wants to use it: from the `model` folder of its run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from chemscale_bench.data.smiles import codec_for
from chemscale_bench.data.spelling import spell
from chemscale_bench.data.store import Molecules
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.checkpoints import of_folder
from chemscale_bench.models import force_fields
from chemscale_bench.training.language import molecule_losses

if TYPE_CHECKING:
    from chemscale_bench.evaluation.dynamics import ForceFieldCalculator


def counted(network: nn.Module) -> str:
    """All parameters of a network, its tables included."""
    return f"{sum(weights.numel() for weights in network.parameters()):,}"


class TrainedLanguageModel:
    """A language model and the vocabulary that it was trained with.

    Args:
        folder: with `config.json`, `model.safetensors` and `tokenizer.json`.
        device: where to compute.

    Raises:
        UserError: if the folder does not hold such a checkpoint.
    """

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        self.folder, self.device = Path(folder), device
        checkpoint = of_folder(self.folder, untrained=False, params={})
        self.network, self.vocabulary = checkpoint.network.to(device), checkpoint.vocabulary
        self._codec = codec_for(self.vocabulary.string)

    def __repr__(self) -> str:
        """What it is, and what can be asked of it."""
        return f"<language model of {counted(self.network)} parameters: loss(smiles), sample(n), embed(smiles)>"

    def loss(self, smiles: Sequence[str]) -> np.ndarray:
        """Nats (M,) of each molecule: the summed cross-entropy of its symbols and its end.

        Molecules are read as those of training were: canonical SMILES by RDKit, without atom-map numbers, and its
        SELFIES unless the model was trained on SMILES.

        Args:
            smiles: M molecules.

        Returns:
            float64 (M,), in their order; NaN for what RDKit or SELFIES can't read, what has more than 512 tokens, its
            end included, and what the vocabulary can't spell.

        Raises:
            UserError: for a text in place of a list.
        """
        if isinstance(smiles, str):
            raise UserError(f"smiles must be a list of molecules, got the text {smiles[:60]!r}; put it into a list")
        spelled, losses = spell(smiles, self.vocabulary, self._codec), np.full(len(smiles), np.nan)
        readable = np.flatnonzero(spelled.lengths)
        if len(readable):
            ends = np.cumsum(spelled.lengths[readable])
            tokens = np.insert(spelled.ids, ends, self.vocabulary.end_id).astype(np.uint16)
            starts = np.concatenate([[0], ends + np.arange(1, len(readable) + 1)])
            packed = Molecules(tokens, starts, np.zeros(len(readable), np.uint16), "")
            losses[readable] = molecule_losses(self.network, packed, self.vocabulary.start_id, self.device)
        return losses

    def sample(self, molecules: int, seed: int = 0, temperature: float = 1.0) -> list[str]:
        """Canonical SMILES of molecules drawn from the model; those that did not end or are no molecule are left out.

        Args:
            molecules: how many to draw.
            seed: the same draws the same molecules, however many.
            temperature: 1 draws from the model's own distribution; lower is more typical.

        Raises:
            UserError: if one of them is out of range.
        """
        from chemscale_bench.evaluation.chemistry import READERS
        from chemscale_bench.evaluation.sampling import Drawing, sample

        drawn = sample(self.network, self.vocabulary, molecules, seed=seed, drawing=Drawing(temperature))
        return [read.smiles for read in READERS[self.vocabulary.string](drawn.strings) if read.smiles]

    def embed(self, smiles: Sequence[str]) -> np.ndarray:
        """Features (M, C) of molecules, the mean of the last layer over their symbols; see `Featurizer` for more.

        Args:
            smiles: M molecules.

        Returns:
            float32 (M, C); NaN as in `loss`.
        """
        from chemscale_bench.evaluation.featurizer import Featurizer

        return Featurizer(self.folder, device=self.device).featurize(smiles).vectors


class TrainedForceField:
    """A force field.

    Args:
        folder: with `config.json` and `model.safetensors`.
        device: where to compute.

    Raises:
        UserError: if the folder does not hold such a checkpoint.
    """

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        self.folder, self.device = Path(folder), device
        self.network, self.about = force_fields.load(self.folder)

    def __repr__(self) -> str:
        """What it is, and what can be asked of it."""
        return f"<force field of {counted(self.network)} parameters: calculator()>"

    def calculator(self) -> ForceFieldCalculator:
        """An ASE calculator of its energy (eV) and forces (eV/Angstrom)."""
        from chemscale_bench.evaluation.dynamics import ForceFieldCalculator

        return ForceFieldCalculator(self.folder, self.device)


def load(folder: str | Path, device: str = "cpu") -> TrainedLanguageModel | TrainedForceField:
    """The trained model in a folder, of whichever kind it is.

    Raises:
        UserError: if there is none.
    """
    path = Path(folder) / "config.json"
    try:
        record: Any = json.loads(path.read_text())
        is_force_field = "elements" in record
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"a model must be a folder with config.json and model.safetensors, got {folder} ({error}); take the "
            "`model` artifact of a run"
        ) from None
    return TrainedForceField(folder, device) if is_force_field else TrainedLanguageModel(folder, device)
