"""Ids, their order, and the tokenizer files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import selfies
from transformers import AutoTokenizer

from chemscale_bench.data.vocabulary import SPECIAL, Vocabulary


@pytest.fixture(scope="module")
def strings(molecules: list[str]) -> list[str]:
    found = []
    for smiles in molecules[:400]:
        try:
            found.append(selfies.encoder(smiles))
        except selfies.EncoderError:
            continue
    return found


@pytest.fixture(scope="module")
def vocabulary(strings: list[str]) -> Vocabulary:
    return Vocabulary.build(Counter(s for text in strings for s in selfies.split_selfies(text)), "2.2.0")


def test_symbols_follow_frequency_then_name() -> None:
    built = Vocabulary.build({"[N]": 2, "[C]": 5, "[B]": 2}, "2.2.0")
    assert built.symbols == (*SPECIAL, "[C]", "[B]", "[N]")
    assert (built.unknown_id, built.pad_id, built.start_id, built.end_id, built.mask_id, built.size) == (
        0,
        1,
        2,
        3,
        4,
        8,
    )


def test_decode_inverts_encode(vocabulary: Vocabulary, strings: list[str]) -> None:
    assert any("." in text for text in strings)
    for text in strings:
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_encode_many_is_encode_one_after_another(vocabulary: Vocabulary, strings: list[str]) -> None:
    batch = ["", *strings, "", "[C]"]
    ids, lengths = vocabulary.encode_many(batch)
    assert ids.dtype == np.uint16
    assert lengths.tolist() == [selfies.len_selfies(text) for text in batch]
    assert np.split(ids, np.cumsum(lengths)[:-1])[5].tolist() == vocabulary.encode(batch[5]).tolist()
    assert vocabulary.encode_many([])[1].size == 0


def test_a_foreign_symbol_gets_the_unknown_id(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode("[C][Uue][O]").tolist() == [vocabulary.ids["[C]"], 0, vocabulary.ids["[O]"]]


def test_text_between_symbols_is_one_unknown(vocabulary: Vocabulary) -> None:
    carbon = vocabulary.ids["[C]"]
    assert vocabulary.encode("xyz[C] [C][C").tolist() == [0, carbon, 0, carbon, 0]
    assert vocabulary.encode("[C]\n[C]").tolist() == [carbon, 0, carbon]


def test_decode_leaves_out_start_and_padding_and_stops_at_the_end(vocabulary: Vocabulary) -> None:
    carbon = vocabulary.ids["[C]"]
    assert vocabulary.decode([2, carbon, 1, carbon, 3, carbon]) == "[C][C]"


def test_fingerprint_follows_symbols_and_json_keeps_them(vocabulary: Vocabulary) -> None:
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    assert Vocabulary(vocabulary.symbols[:-1], "2.2.0").fingerprint != vocabulary.fingerprint


def test_transformers_reads_the_same_ids(vocabulary: Vocabulary, strings: list[str], tmp_path: Path) -> None:
    vocabulary.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text in strings[:100]:
        ids = tokenizer(text)["input_ids"]
        assert ids == [2, *vocabulary.encode(text).tolist(), 3]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert (tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id) == (
        0,
        1,
        2,
        3,
    )
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (2, 3)
    assert "takes SELFIES, not\nSMILES" in (tmp_path / "README.md").read_text()
    assert tokenizer("[C][Uue]")["input_ids"] == [2, vocabulary.ids["[C]"], 0, 3]


def test_the_saved_tokenizer_takes_smiles_as_the_training_read_them(tmp_path: Path) -> None:
    vocabulary = Vocabulary.build({"[C]": 4, "[O]": 3, "[=C]": 2, "[Ring1]": 2, "[=Branch1]": 1}, "2.2.0")
    vocabulary.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=True)
    ethanol = [2, *vocabulary.encode("[C][C][O]").tolist(), 3]
    benzene = [2, *vocabulary.encode("[C][=C][C][=C][C][=C][Ring1][=Branch1]").tolist(), 3]
    assert tokenizer("OCC")["input_ids"] == tokenizer.encode("[CH3:1]CO") == ethanol
    assert tokenizer(["CCO", "c1ccccc1"], padding=True)["input_ids"] == [ethanol + 5 * [1], benzene]
    assert tokenizer.tokenize("CCO") == ["[C]", "[C]", "[O]"]
    with pytest.raises(ValueError, match=r"text must be SMILES, which RDKit reads, got 'C1CC'; for SELFIES load"):
        tokenizer("C1CC")
    assert AutoTokenizer.from_pretrained(tmp_path)("[C][C][O]")["input_ids"] == ethanol
