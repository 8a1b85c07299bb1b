import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from chemscale_bench.data.store import Molecules
from chemscale_bench.models import llama
from chemscale_bench.models.chemgpt import build_shape
from chemscale_bench.models.packed import PADDING
from chemscale_bench.models.sizes import Shape
from chemscale_bench.training.language import (
    LanguageObjective,
    groups_of,
    micro_batches,
    molecule_losses,
    pack,
    pack_on_device,
    pack_symbols,
    pad_to,
    padded_size,
    validate,
)


def split(lengths: list[int], seed: int = 0) -> Molecules:
    rng = np.random.default_rng(seed)
    tokens = [np.append(rng.integers(5, 40, length - 1), 3).astype(np.uint16) for length in lengths]
    return Molecules(np.concatenate(tokens), np.cumsum([0, *lengths]), np.array(lengths, np.uint16), "digest")


def objective(molecules: Molecules, seed: int = 0) -> LanguageObjective:
    return LanguageObjective(molecules, 2, 40, seed, None, torch.device("cpu"))


lists_of_lengths = st.lists(st.integers(1, 30), min_size=1, max_size=40)


@given(lengths=lists_of_lengths, amounts=st.lists(st.integers(1, 200), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_take_gives_exactly_the_tokens_asked_for(lengths: list[int], amounts: list[int]) -> None:
    source, cursor = objective(split(lengths)), None
    for amount in amounts:
        items, cursor = source.take(cursor, amount)
        assert items[:, 1].sum() == amount
        assert len(source.symbols(items)) == amount


@given(lengths=lists_of_lengths)
@settings(max_examples=60, deadline=None)
def test_one_epoch_gives_every_molecule_once(lengths: list[int]) -> None:
    molecules = split(lengths)
    items, cursor = objective(molecules).take(None, len(molecules.tokens))
    assert cursor == (0, len(molecules))
    taken = [molecules.tokens[start : start + length].tobytes() for start, length in items]
    assert sorted(taken) == sorted(item.tobytes() for item in molecules.sequences())


def test_the_first_epoch_is_as_stored_and_later_ones_depend_on_seed_and_epoch_only() -> None:
    molecules = split([7] * 50)
    first, other = objective(molecules), objective(molecules, seed=1)
    for each in (first, other):
        assert np.array_equal(each.order(0), np.arange(50))
        assert sorted(each.order(1)) == list(range(50))
    assert np.array_equal(first.order(1), objective(molecules).order(1))
    assert not np.array_equal(first.order(1), first.order(2))
    assert not np.array_equal(first.order(1), other.order(1))


@given(lengths=lists_of_lengths, limit=st.integers(1, 100))
@settings(max_examples=60, deadline=None)
def test_packing_loses_no_token(lengths: list[int], limit: int) -> None:
    source = objective(split(lengths))
    items, _ = source.take(None, sum(lengths))
    packed = list(source.passes(items, limit))
    targets = [batch.targets for batch in packed]
    assert sorted(torch.cat(targets).tolist()) == sorted(source.molecules.tokens.tolist())
    for batch in packed:
        molecules = len(batch.offsets) - 1
        assert molecules == 1 or molecules * int(batch.positions.max() + 1) <= limit
        starts = batch.positions == 0
        assert starts.nonzero().flatten().tolist() == batch.offsets[:-1].tolist()
        assert torch.all(batch.inputs[starts] == 2)
        assert torch.equal(batch.inputs[1:][~starts[1:]], batch.targets[:-1][~starts[1:]])
        assert len(set(batch.places.tolist())) == len(batch.targets)
        first = 0
        for group in batch.groups:
            behind = first + group.molecules * group.longest
            own = (batch.places >= first) & (batch.places < behind)
            assert torch.equal((batch.places[own] - first) % group.longest, batch.positions[own])
            first = behind
        assert int(batch.places.max()) < first


def test_validation_sums_do_not_depend_on_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_shape(Shape(2, 32, 2), 40, "mutransfer", seed=0)
    molecules = split([3, 30, 12, 12, 1, 25])
    losses = molecule_losses(model, molecules, 2, "cpu")
    alone = [model(pack([molecule], 2)).item() for molecule in molecules.sequences()]
    np.testing.assert_allclose(losses, alone, rtol=1e-5)
    monkeypatch.setattr("chemscale_bench.training.language.VALIDATION_TOKENS", 20)
    np.testing.assert_allclose(molecule_losses(model, molecules, 2, "cpu"), losses, rtol=1e-5)


def test_validation_has_no_dropout_and_training_has_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, molecules = build_shape(Shape(2, 32, 2), 40, "mutransfer", seed=0), split([3, 30, 12])
    losses = molecule_losses(model, molecules, 2, "cpu")
    model.drop, plain = nn.Dropout(0.5), model.token_losses
    monkeypatch.setattr(model, "token_losses", lambda batch: model.drop(plain(batch)))
    np.testing.assert_array_equal(molecule_losses(model, molecules, 2, "cpu"), losses)
    assert model.training
    assert model.drop.training


def test_the_three_units_are_of_one_sum() -> None:
    model = build_shape(Shape(2, 32, 2), 40, "mutransfer", seed=0)
    molecules = split([10, 20])
    values = validate(model, molecules, 2, "cpu").metrics()
    total = molecule_losses(model, molecules, 2, "cpu").sum()
    assert values["val/loss_nats_per_token"] == pytest.approx(total / 30)
    assert values["val/nats_per_molecule"] == pytest.approx(total / 2)
    assert values["val/bits_per_heavy_atom"] == pytest.approx(total / np.log(2) / 30)


@given(lengths=lists_of_lengths, extra=st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_a_batch_made_on_the_device_is_that_of_the_host(lengths: list[int], extra: int) -> None:
    source = objective(split([*lengths, 70]))
    items, _ = source.take(None, sum(lengths))
    filled = pad_to(items, sum(lengths) + extra)
    ours = pack_on_device(torch.from_numpy(source.molecules.tokens.view(np.int16)), filled, 2)
    theirs = pack_symbols(source.symbols(filled), filled[:, 1], 2, "cpu")
    for name in ("inputs", "targets", "positions"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    assert torch.equal(ours.offsets[: len(theirs.offsets)], theirs.offsets)
    assert (ours.offsets[len(theirs.offsets) :] == len(ours.inputs)).all()
    assert int((ours.targets != PADDING).sum()) == sum(lengths)


def test_what_fills_a_batch_up_changes_nothing() -> None:
    model = build_shape(Shape(2, 32, 2), 40, "mutransfer", seed=0)
    source = objective(split([12, 30, 5, 70]))
    items, _ = source.take(None, 100)
    for size in (100, 101, 300):
        loss = model(source.batch(pad_to(items, size)))
        assert loss.item() == pytest.approx(model(source.batch(items)).item(), rel=1e-6)


@pytest.mark.parametrize("tokens", [1, 512, 513, 600, 5000, 131_072])
def test_batches_are_filled_up_to_one_of_few_sizes(tokens: int) -> None:
    size = padded_size(tokens)
    assert size % 64 == 0
    assert tokens <= size <= max(512, 1.25 * tokens + 64)


def test_sizes_of_batches_by_hand() -> None:
    """Of 512, 640, 768, 896 (2^1/4 each, rounded up to 64) and their doubles."""
    assert [padded_size(tokens) for tokens in (1, 512, 600, 700, 800, 1000, 1024, 1025)] == [
        512, 512, 640, 768, 896, 1024, 1024, 1_280,
    ]  # fmt: skip


def test_forward_passes_hold_so_many_padded_tokens() -> None:
    lengths = np.array([2, 3, 5, 9])
    assert list(micro_batches(lengths, 9)) == [(0, 2), (2, 3), (3, 4)]
    assert list(micro_batches(lengths, 6)) == [(0, 2), (2, 3), (3, 4)]
    assert list(micro_batches(lengths, 5)) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert list(micro_batches(lengths, 36)) == [(0, 4)]
    assert list(micro_batches(lengths, 1)) == [(0, 1), (1, 2), (2, 3), (3, 4)], "a long one is alone"


def test_molecules_are_grouped_up_to_a_length_of_two_fifths_more() -> None:
    groups, places = groups_of(np.array([3, 20, 11, 12, 8]))
    assert [tuple(group) for group in groups] == [(3, 11), (1, 12), (1, 20)]
    firsts = {0: 0, 4: 11, 2: 22, 3: 33, 1: 45}
    expected = [firsts[row] + place for row, length in enumerate([3, 20, 11, 12, 8]) for place in range(length)]
    assert places.tolist() == expected


def test_the_first_tokens_of_training_and_where_it_has_diverged() -> None:
    source = objective(split([3, 4, 5]))
    assert [len(part) for part in source.molecules.first(5)] == [3, 2]
    assert [len(part) for part in source.molecules.first(7)] == [3, 4]
    parts = [part.tolist() for part in source.molecules.first(99)]
    assert parts == [part.tolist() for part in source.molecules.sequences()]
    assert source.batch_amount(10_240_000) == 10_000
    fixed = LanguageObjective(split([3]), 2, 40, 0, 77, torch.device("cpu"))
    assert fixed.batch_amount(10_240_000) == 77


def test_an_untrained_model_of_few_symbols_has_not_diverged() -> None:
    model = llama.build(llama.config_for(42_000, 12, parametrization="mutransfer"), 3, parametrization="mutransfer")
    chains = [np.array([4] * length + [3], np.uint16) for length in range(1, 21)]
    source = LanguageObjective(split([3]), 2, 12, 0, None, torch.device("cpu"))
    assert float(model(pack(chains, 2)).detach()) / sum(map(len, chains)) < source.diverged_loss


def test_on_a_cpu_passes_are_of_similar_lengths_and_nothing_is_filled_up() -> None:
    source = objective(split([9, 2, 30, 3, 8]))
    items, _ = source.take(None, 52)
    passes = [batch.offsets.diff().tolist() for batch in source.passes(items, 20)]
    assert passes == [[2, 3], [8, 9], [30]]


@pytest.mark.parametrize("size", [10, 11, 74, 75, 138, 300])
def test_items_are_filled_up_to_a_size_by_pieces_of_64(size: int) -> None:
    filled = pad_to(np.array([[0, 4], [4, 6]]), size)
    assert filled[:2].tolist() == [[0, 4], [4, 6]]
    assert filled[:, 1].sum() == size
    assert filled[2:-1, 1].tolist() == [64] * len(filled[2:-1])
    assert (filled[2:, 0] == -64).all()
    assert (filled[2:, 1] > 0).all()
