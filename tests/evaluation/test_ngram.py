import numpy as np
import pytest

from chemscale_bench.evaluation import ngram
from chemscale_bench.evaluation.ngram import Trigram

SIZE, START = 6, 2


def brute_force(train: list[list[int]], test: list[int]) -> float:
    """Witten-Bell by its definition, symbol by symbol."""
    padded = [[START, START, *molecule] for molecule in train]

    def probability(context: tuple[int, ...], symbol: int) -> float:
        lower = probability(context[1:], symbol) if context else 1 / SIZE
        followers = [
            m[i] for m in padded for i in range(2, len(m)) if tuple(m[i - len(context) : i]) == context
        ]  # fmt: skip
        if not followers:
            return lower
        kinds = len(set(followers))
        return (followers.count(symbol) + kinds * lower) / (len(followers) + kinds)

    sequence = [START, START, *test]
    nats = [-np.log(probability(tuple(sequence[i - 2 : i]), sequence[i])) for i in range(2, len(sequence))]
    return float(np.mean(nats))


def arrays(molecules: list[list[int]]) -> list[np.ndarray]:
    return [np.array(molecule, np.uint16) for molecule in molecules]


@pytest.mark.parametrize("pass_tokens", [4, 10**6])
def test_it_equals_the_definition_however_the_counting_is_split(
    pass_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngram, "PASS_TOKENS", pass_tokens)
    train = [[4, 5, 4, 3], [5, 5, 3], [4, 4, 4, 5, 3]]
    model = Trigram(SIZE, START).fit(arrays(train))
    for test in ([4, 5, 3], [1, 1, 3], [3], [5, 4, 5, 4, 3]):
        assert model.nats_per_token(arrays([test])) == pytest.approx(brute_force(train, test))


def test_the_probabilities_of_all_symbols_add_up_to_one() -> None:
    model = Trigram(SIZE, START).fit(arrays([[4, 5, 3], [4, 3], [5, 5, 5, 3]]))
    for context in ([], [4], [1], [5, 5]):
        total = 0.0
        for symbol in range(SIZE):
            with_symbol = model.nats_per_token(arrays([[*context, symbol]])) * (len(context) + 1)
            without = model.nats_per_token(arrays([context])) * len(context) if context else 0.0
            total += np.exp(without - with_symbol)
        assert total == pytest.approx(1)
