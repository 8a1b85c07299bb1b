"""From a model to the molecules that it draws, and to what they are like beside those that it was trained for."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from chemscale_bench.data.smiles import codec_for
from chemscale_bench.data.spelling import spell
from chemscale_bench.data.store import TokenStore
from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import chemnet, generation, moses
from chemscale_bench.evaluation.chemistry import READERS, Read, in_parallel
from chemscale_bench.evaluation.chemnet import Gaussian
from chemscale_bench.evaluation.generation import Distribution, molecule_bar
from chemscale_bench.evaluation.moses import ReferenceSet
from chemscale_bench.evaluation.sampling import Drawing, Samples, sample
from chemscale_bench.models.packed import LanguageModel

REFERENCE = 10_000  # test molecules that others are compared with
ENOUGH = generation.UNIQUE_AT[0]  # valid molecules, for the smallest metric of MOSES


@dataclass(frozen=True)
class Drawn:
    """Molecules of a model, decoded."""

    molecules: int
    """That were asked for."""
    samples: Samples
    read: list[Read]
    """Of every molecule that has ended."""
    seconds: float
    """Of drawing."""

    @property
    def smiles(self) -> list[str]:
        """Canonical SMILES of the valid ones, in order."""
        return [each.smiles for each in self.read if each.smiles]

    @property
    def raw_valid(self) -> np.ndarray:
        """Which of these RDKit takes where selfies corrects no valences: bool [N]."""
        return np.array([each.raw_valid for each in self.read if each.smiles], bool)


def draw(
    network: LanguageModel, vocabulary: Vocabulary, molecules: int, seed: int, drawing: Drawing, device: torch.device
) -> Drawn:
    """Draw molecules and decode them.

    Raises:
        UserError: if none of them is valid.
    """
    start = time.perf_counter()
    with molecule_bar("drawing", molecules) as bar:
        found = sample(network.to(device), vocabulary, molecules, seed=seed, drawing=drawing, progress=bar.update)
    seconds = time.perf_counter() - start
    with molecule_bar("decoding", len(found.strings)) as bar:
        drawn = Drawn(molecules, found, in_parallel(READERS[vocabulary.string], found.strings, bar.update), seconds)
    if found.unfinished:
        say(f"{found.unfinished:,} of {molecules:,} molecules did not end, and are left out")
    if not drawn.smiles:
        raise UserError(f"some of the molecules must be valid, got none of {molecules:,}; draw more, or train longer")
    return drawn


class References:
    """The molecules that drawn ones are compared with, each set measured once: models of one task share theirs."""

    measured: ClassVar[dict[tuple[str, str, bool], dict[str, ReferenceSet]]] = {}
    """In this process, by their digest, the device, and whether ChemNet is there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.told = False

    def of(self, store: TokenStore, of_moses: bool) -> dict[str, ReferenceSet]:
        """By name: the whole official test sets for models of MOSES, else the first test molecules.

        Without ChemNet the latter have no gaussian; without two molecules there is no set.
        """
        key = reference_digest(store, of_moses), str(self.device), self.has_chemnet()
        if key not in self.measured:
            self.measured[key] = {name: moses.reference(name) for name in moses.SETS} if of_moses else self.first(store)
        return self.measured[key]

    def first(self, store: TokenStore) -> dict[str, ReferenceSet]:
        """The first test molecules of a task."""
        with molecule_bar("decoding test molecules", min(REFERENCE, len(store.test))) as bar:
            test = in_parallel(READERS[store.vocabulary.string], test_strings(store), bar.update)
        known = [each.smiles for each in test if each.smiles]
        if len(known) < 2:
            return {}
        distribution = Distribution.of_reference(known, "test molecules")
        seen = self.seen(known)
        return {"test": ReferenceSet(distribution, None if seen is None else Gaussian.of(seen))}

    def has_chemnet(self) -> bool:
        """Whether the package is installed; if not, a line says, once, how to get it."""
        try:
            chemnet.check_installed()
        except UserError as error:
            if not self.told:
                say(str(error))
            self.told = True
            return False
        return True

    def seen(self, smiles: list[str]) -> np.ndarray | None:
        """What ChemNet makes of molecules; None without the package."""
        if not self.has_chemnet():
            return None
        with molecule_bar("Frechet ChemNet distance", len(smiles)) as bar:
            return chemnet.activations_of(smiles, self.device, bar.update)


def reference_digest(store: TokenStore | None, of_moses: bool) -> str:
    """Of what molecules are compared with: MOSES' own files, which are pinned, or the test molecules of a task."""
    if of_moses:
        return hashlib.sha256(" ".join(moses.pinned()).encode()).hexdigest()
    return store.test.digest if store else ""


def metrics_of(drawn: Drawn, store: TokenStore | None, references: References, of_moses: bool) -> dict[str, float]:
    """The metrics of MOSES and what is ours beside them; of MOSES' models against its own test sets.

    Args:
        drawn: of one model.
        store: the data of its training; without it they are compared with nothing.
        references: shared by the models of a task.
        of_moses: whether the task is on MOSES.
    """
    smiles, found = drawn.smiles, counts_of(drawn)
    if len(smiles) < ENOUGH:
        say(f"{len(smiles):,} molecules are valid: unique_at_1k is that of all, and everything else depends on so few")
    ours = Distribution.of(smiles, "what was drawn")
    found |= generation.own_metrics(smiles, ours)
    if store is None:
        say("of a folder nothing is known but the model: task=NAME adds novelty and the comparison with a test set")
        return found
    found["novelty"] = generation.novelty(spelled(smiles, store.vocabulary), tokens_of(store))
    known = references.of(store, of_moses) if len(smiles) > 1 else {}
    if not known:
        say(f"{len(smiles)} molecules can't be compared with {len(store.test)} test molecules: two of each are needed")
        return found
    seen = references.seen(smiles)
    shares = {"fcd": np.ones(len(smiles), bool), "fcd_raw_valid": drawn.raw_valid}
    for name, reference in known.items():
        found |= generation.metrics_against(ours, reference.distribution, name)
        for metric, share in shares.items():
            if seen is not None and reference.gaussian and share.sum() > 1:
                gaussian = Gaussian.of(seen[share])
                found[f"{metric}_{name}"] = chemnet.frechet_distance(gaussian, reference.gaussian)
        if seen is not None and reference.gaussian and len(seen) >= chemnet.ENOUGH:
            found[f"fcd_extrapolated_{name}"] = chemnet.extrapolated_distance(seen, reference.gaussian)
    return found


def counts_of(drawn: Drawn) -> dict[str, float]:
    """How many there are, as numbers and as shares of all that were drawn."""
    molecules, samples = drawn.molecules, drawn.samples
    return {
        "molecules": molecules, "unfinished": samples.unfinished, "valid": len(drawn.smiles) / molecules,
        "raw_valid": sum(each.raw_valid for each in drawn.read) / molecules, "tokens": samples.tokens,
        "nats_per_token": sum(samples.nats) / max(1, samples.tokens), "molecules_per_s": molecules / drawn.seconds,
    }  # fmt: skip


def spelled(smiles: list[str], vocabulary: Vocabulary) -> list[bytes]:
    """Tokens of molecules as training data have them, the end included; by these they are told apart.

    What the vocabulary can't spell is in no training set: it stays as it is.
    """
    found = spell(smiles, vocabulary, codec_for(vocabulary.string))
    words = np.split(found.ids.astype(np.uint16), found.lengths.cumsum()[:-1])
    return [
        np.append(word, np.uint16(vocabulary.end_id)).tobytes() if len(word) else each.encode()
        for word, each in zip(words, smiles, strict=True)
    ]


def tokens_of(store: TokenStore) -> Iterator[bytes]:
    """The training molecules, as `spelled` has them."""
    with molecule_bar("novelty", len(store.train)) as bar:
        for sequence in store.train.sequences():
            yield sequence.tobytes()
            bar.update()


def test_strings(store: TokenStore) -> list[str]:
    """The first test molecules: a uniform sample of them, as a source is read in a random order."""
    sequences = zip(store.test.sequences(), range(REFERENCE), strict=False)
    return [store.vocabulary.decode(sequence.tolist()) for sequence, _ in sequences]


def say(message: str) -> None:
    """Tell the user."""
    print(f"note: {message}", file=sys.stderr, flush=True)
