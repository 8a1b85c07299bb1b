"""A trained model as whoever trained it wants to use it: from the `model` folder of its run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rdkit import Chem, rdBase

from chemscale_bench.data.codec import Codec
from chemscale_bench.data.store import Molecules
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.data.worker import MAX_SMILES, MAX_TOKENS, parse
from chemscale_bench.errors import UserError
from chemscale_bench.models import force_fields, hub, language_models
from chemscale_bench.training.language import molecule_losses

if TYPE_CHECKING:
    from chemscale_bench.evaluation.dynamics import ForceFieldCalculator


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
        symbols = hub.symbols_of(self.folder)
        if symbols is None:
            raise UserError(
                f"a language model must come with its vocabulary, {self.folder} has no tokenizer.json; take the whole "
                "`model` artifact of a run"
            )
        self.vocabulary = Vocabulary(tuple(symbols), version("selfies"))
        self.network = language_models.load(self.folder).to(device).eval()
        self._codec = Codec()

    def loss(self, smiles: Sequence[str]) -> np.ndarray:
        """Nats (M,) of each molecule: the summed cross-entropy of its SELFIES symbols and its end.

        Molecules are read as those of training were: canonical SMILES by RDKit, without atom-map numbers, to SELFIES.

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
        readable, molecules = self._encode([one if isinstance(one, str) else "" for one in smiles])
        losses = np.full(len(smiles), np.nan)
        if molecules:
            tokens, lengths = np.concatenate(molecules), [len(one) for one in molecules]
            packed = Molecules(tokens, np.cumsum([0, *lengths]), np.zeros(len(molecules), np.uint16), "")
            losses[readable] = molecule_losses(self.network, packed, self.vocabulary.start_id, self.device)
        return losses

    def _encode(self, smiles: list[str]) -> tuple[list[int], list[np.ndarray]]:
        """Places of the molecules that can be read and spelled, and the ids of each, uint16 (T,), end included."""
        with rdBase.BlockLogs():
            parsed = [parse(text, False) if len(text) <= MAX_SMILES else None for text in smiles]
        there = [place for place, molecule in enumerate(parsed) if molecule is not None and molecule.GetNumAtoms()]
        encoded = self._codec.encode([Chem.MolToSmiles(parsed[place]) for place in there])
        ids = np.array([self.vocabulary.ids.get(symbol, -1) for symbol in self._codec.symbols], int)
        found = np.split(ids[encoded.symbols], np.cumsum(encoded.lengths)[:-1])
        spelled = [(place, own) for place, own in zip(there, found, strict=False)
                   if 0 < len(own) < MAX_TOKENS and own.min() >= 0]  # fmt: skip
        end = self.vocabulary.end_id
        return [place for place, _ in spelled], [np.append(own, end).astype(np.uint16) for _, own in spelled]


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
