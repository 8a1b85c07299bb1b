"""Designs of studies: within their cost, spread over sizes, better than a grid; beliefs that learn from runs."""

import itertools

import numpy as np
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.scaling.belief import Measured, prior
from chemscale_bench.scaling.design import FEWEST_SIZES, MOST_SEEDS, Cell, TooSmallError, choose, expected

SIZES, TOKENS = (1e4, 3e4, 1e5, 3e5, 1e6), (1e5, 3e5, 1e6, 3e6, 1e7)
CELLS = [Cell(n, TOKENS[: k + 1], n * TOKENS[k]) for n in SIZES for k in range(1, 5)]
BELIEF = prior("language_model", 1e5, 1e6)


def grid(sizes: int, place: int, seeds: int) -> list[Cell]:
    return [Cell(n, TOKENS[: place + 1], n * TOKENS[place]) for n in SIZES[:sizes] for _ in range(seeds)]


@pytest.mark.parametrize("budget", [3e11, 3e12, 3e13])
@pytest.mark.parametrize("target", ["exponent", 1e7])
def test_a_design_keeps_to_its_cost_and_spreads(budget: float, target: "float") -> None:
    design = choose(CELLS, budget, BELIEF, target)
    cells = design.cells(CELLS)
    assert sum(cell.cost for cell in cells) == pytest.approx(design.cost)
    assert 0.8 * budget < design.cost <= budget
    assert len({cell.params for cell in cells}) >= FEWEST_SIZES
    assert cells == sorted(cells, key=lambda cell: cell.cost)
    assert max(sum(cell.params == size for cell in cells) for size in SIZES) <= MOST_SEEDS


def spread(cells: list[Cell], target: "float") -> float:
    """What some runs leave uncertain."""
    belief, reach = expected(cells, BELIEF), max(cell.params * max(cell.data) for cell in cells)
    return float(belief.uncertainty(belief.precision[None], target, np.array([reach]))[0])


@pytest.mark.parametrize("target", ["exponent", 1e7])
def test_it_tells_more_than_every_grid_of_its_cost(target: "float") -> None:
    budget = 1e13
    ours = spread(choose(CELLS, budget, BELIEF, target).cells(CELLS), target)
    grids = [grid(n, k, s) for n in (3, 4, 5) for k in (2, 3, 4) for s in (1, 2, 3, 5)]
    affordable = [spread(cells, target) for cells in grids if sum(cell.cost for cell in cells) <= budget]
    assert len(affordable) > 10
    assert ours < min(affordable) - 0.02


@pytest.mark.parametrize("target", ["exponent", 1e7])
def test_it_tells_about_as_much_as_the_best_of_all_designs(target: "float") -> None:
    """Of all that take each of eight runs twice at most, and most of the budget."""
    few = [Cell(n, TOKENS[: k + 1], n * TOKENS[k]) for n in SIZES[:4] for k in (1, 3)]
    for budget in (2e12, 3e12):
        designs = [
            [cell for cell, count in zip(few, counts, strict=True) for _ in range(count)]
            for counts in itertools.product(range(3), repeat=8)
            if 0.9 * budget < sum(cell.cost * count for cell, count in zip(few, counts, strict=True)) <= budget
        ]
        assert len(designs) > 30
        ours = choose(few, budget, BELIEF, target)
        assert ours.cost <= budget
        assert spread(ours.cells(few), target) < min(spread(cells, target) for cells in designs) + 0.02


@pytest.mark.parametrize("target", ["exponent", 1e7])
def test_the_uncertainty_told_is_that_of_all_runs(target: "float") -> None:
    first = choose(CELLS, 3e13, BELIEF, target)
    cells = first.cells(CELLS)
    assert first.uncertainty == pytest.approx(spread(cells, target))
    rest = choose(CELLS, 1.5e13, BELIEF, target, made=cells[:3])
    assert rest.uncertainty == pytest.approx(spread([*cells[:3], *rest.cells(CELLS)], target))


def test_more_seeds_help_less_and_less() -> None:
    alone, twice, often = (expected(grid(5, 4, n), BELIEF).exponents()[0][1] for n in (1, 2, 100))
    assert alone > twice > often > alone / 3  # a size has a distance from the law of its own


def test_what_is_made_is_not_planned_again() -> None:
    first = choose(CELLS, 1e12, BELIEF).cells(CELLS)
    rest = choose(CELLS, 1e12 - sum(cell.cost for cell in first[:4]), BELIEF, made=first[:4]).cells(CELLS)
    both = expected([*first[:4], *rest], BELIEF)
    whole = expected(first, BELIEF)
    assert both.exponents()[0][1] < 1.1 * whole.exponents()[0][1]


def test_a_size_that_has_all_its_seeds_gets_no_other() -> None:
    cells = choose(CELLS, 1e13, BELIEF, made=MOST_SEEDS * [CELLS[3]]).cells(CELLS)
    assert {cell.params for cell in cells} == set(SIZES[1:])
    once = choose(CELLS, 1e13, BELIEF, made=[CELLS[3]]).cells(CELLS)
    assert sum(cell.params == SIZES[0] for cell in once) == MOST_SEEDS - 1


def test_no_run_is_longer_than_a_worker_has_time() -> None:
    cells = choose(CELLS, 1e13, BELIEF, longest=1e12).cells(CELLS)
    assert max(cell.cost for cell in cells) == 1e12


@pytest.mark.parametrize(("budget", "longest"), [(1e9, np.inf), (1e13, 1e9)])
def test_too_small_a_budget_says_what_it_takes(budget: float, longest: float) -> None:
    with pytest.raises(UserError, match=r"three sizes at least, the next 3 take 4.2e\+10, got a budget of"):
        choose(CELLS, budget, BELIEF, longest=longest)


def test_what_is_missing_is_what_the_sizes_that_are_made_leave() -> None:
    with pytest.raises(TooSmallError, match=r"the next 1 take 3e\+10, got a budget of 1e\+09") as one:
        choose(CELLS, 1e9, BELIEF, made=[CELLS[0], CELLS[4]])
    assert (one.value.needed, one.value.longest) == (3e10, 3e10)
    with pytest.raises(TooSmallError, match=r"the next 3 take 4.2e\+10, got a budget of 0;") as all_three:
        choose(CELLS, -1e9, BELIEF)
    assert (all_three.value.needed, all_three.value.longest) == (4.2e10, 3e10)
    enough = choose(CELLS, 1e9, BELIEF, made=[CELLS[0], CELLS[4], CELLS[8]])
    assert (enough.counts, enough.cost) == ({}, 0), "none is that cheap"
    assert enough.uncertainty == pytest.approx(spread([CELLS[0], CELLS[4], CELLS[8]], "exponent"))  # type: ignore[arg-type]


def test_what_just_suffices_for_three_sizes_is_enough() -> None:
    random = np.random.default_rng(0)
    for factor in (1, *random.uniform(1, 2, 40)):
        least = sum(min(cell.cost for cell in CELLS if cell.params == size) for size in SIZES[:3])
        design = choose(CELLS, least * factor, BELIEF, 1e7)
        assert len({cell.params for cell in design.cells(CELLS)}) >= 3


def test_a_belief_finds_the_law_that_runs_follow() -> None:
    def loss(params: float, tokens: float) -> float:
        return float(1.7 + 480 * params**-0.4 + 410 * tokens**-0.28)

    runs = [Measured(n, TOKENS, tuple(loss(n, d) for d in TOKENS)) for n in SIZES]
    belief = BELIEF.after(runs)
    (alpha, of_alpha), (beta, of_beta) = belief.exponents()
    assert abs(alpha - 0.4) < 2 * of_alpha < 0.1
    assert abs(beta - 0.28) < 2 * of_beta < 0.05
    predicted = np.exp(belief.predict([3e6], [3e7]))[0]
    assert predicted == pytest.approx(loss(3e6, 3e7), rel=0.02)
    optimum = belief.best_data(1e5)
    at = [loss(1e5 * f, optimum / f) for f in (0.5, 1, 2)]
    assert at[1] < min(at[0], at[2])  # compute-optimal: no other split of the same compute is better


def test_intervals_of_a_belief_hold_about_new_runs() -> None:
    random, inside = np.random.default_rng(0), []
    for _ in range(200):
        law = BELIEF._replace(theta=BELIEF.theta + random.normal(0, [0.2, 0.3, 0.1, 0.3, 0.1, 0, 0]))
        off = {n: random.normal(0, law.noise.size) for n in (*SIZES, 3e6)}

        def run(size: float, tokens: tuple[float, ...], law=law, off=off) -> Measured:  # type: ignore[no-untyped-def]
            noise = off[size] + random.normal(0, law.noise.seed) + random.normal(0, law.noise.point, len(tokens))
            return Measured(size, tokens, tuple(np.exp(law.predict(np.full(len(tokens), size), tokens) + noise)))

        belief = BELIEF.after([run(size, TOKENS[:4]) for size in SIZES])
        low, high = belief.predict_interval([3e6], [1e7], 1e6 * 3e6, 0.9)
        inside.append(low[0] <= np.log(run(3e6, (1e7,)).loss[0]) <= high[0])
    assert 0.85 <= np.mean(inside) <= 1.0
    assert not all(inside)


def test_a_belief_in_any_unit_is_the_same() -> None:
    runs = [Measured(n, TOKENS[:3], tuple(0.5 + n**-0.2 + d**-0.2 for d in TOKENS[:3])) for n in SIZES]
    scaled = [Measured(n, d, tuple(1000 * value for value in loss)) for n, d, loss in runs]
    one, other = BELIEF.after(runs), BELIEF.after(scaled)
    assert one.exponents()[0][0] == pytest.approx(other.exponents()[0][0], abs=0.01)


def test_runs_that_scatter_tell_less() -> None:
    random = np.random.default_rng(0)
    clean = [Measured(n, TOKENS, tuple(1 + 9 * n**-0.3 + 40 * d**-0.3 for d in TOKENS)) for n in SIZES]
    noisy = [Measured(n, d, tuple(value * np.exp(random.normal(0, 0.1)) for value in loss)) for n, d, loss in clean]
    assert BELIEF.after(noisy).exponents()[1][1] > 2 * BELIEF.after(clean).exponents()[1][1]


def test_without_runs_a_belief_stays() -> None:
    assert BELIEF.after([]) is BELIEF
