"""The released vocabulary: today's spelling, its ids, and what it cannot spell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chemscale_bench.data import chemgpt
from chemscale_bench.data.prepare import prepare
from chemscale_bench.errors import UserError


def released(path: Path) -> Path:
    """A tokenizer file of ChemGPT's layout, small: four carbons' worth of symbols in the old spelling."""
    tokens = [
        "[UNK]",
        "[PAD]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "C",
        "##expl]",
        "[C]",
        "[O]",
        "[=O]",
        "[Branch1_1]",
        "[Branch1_2]",
    ]
    tokens += ["[NH3+expl]", "[Ring1]", "[Expl=Ring1]", "[=C]", "[N]", "[Branch1_3]", "[S]", "[F]", "[Cl]", "[Ring2]"]
    path.write_text(json.dumps({"model": {"vocab": {token: i for i, token in enumerate(tokens)}}}))
    return path


def test_the_released_vocabulary_is_read_in_todays_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chemgpt.VARIABLE, str(released(tmp_path / "tokenizer.json")))
    vocabulary = chemgpt.load()
    assert vocabulary.size == 22
    assert vocabulary.encode("[NH3+1][C][=Branch1][=Ring1]").tolist() == [12, 7, 11, 14]


def test_molecules_outside_a_given_vocabulary_are_counted_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(chemgpt.VARIABLE, str(released(tmp_path / "tokenizer.json")))
    plain = [f"{'C' * i}(=O){'O' * j}CCl" for i in range(1, 40) for j in range(1, 8)]
    (tmp_path / "a.smi").write_text("\n".join([*plain, "C[C@H](F)Cl", "[Na+].[Cl-]"]))
    store = prepare(str(tmp_path / "a.smi"), train_tokens=1, validation_molecules=1, vocabulary="chemgpt", workers=1)
    assert store.counts["unknown_symbol"] == 2
    assert store.vocabulary.size == 22
    (tmp_path / "b.smi").write_text("\n".join(f"C[C@H](F){'C' * i}" for i in range(2, 90)))
    with pytest.raises(UserError, match="use vocabulary=dataset"):
        prepare(str(tmp_path / "b.smi"), train_tokens=1, validation_molecules=1, vocabulary="chemgpt", workers=1)


@pytest.mark.parametrize("content", ["", "{}", '{"model": {"vocab": {"[C]": 0}}}'])
def test_another_tokenizer_file_is_refused(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    monkeypatch.setenv(chemgpt.VARIABLE, str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=chemgpt.VARIABLE):
        chemgpt.load()
