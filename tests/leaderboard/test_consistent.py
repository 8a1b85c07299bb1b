"""The rules of consistency one by one, at their edges, on numbers computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chemscale_bench.leaderboard import consistent, files
from chemscale_bench.leaderboard.consistent import Curves, Inconsistent
from chemscale_bench.leaderboard.entry import Entry, Result, Run
from chemscale_bench.leaderboard.planted import plant
from chemscale_bench.models.registry import LANGUAGE_MODELS

LOSS, ERROR = "val/loss_nats_per_token", "test/force_mae_mev_per_angstrom"
VALIDATION, PER_MOLECULE = "val/force_mae_mev_per_angstrom", "val/nats_per_molecule"


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Entry:
    root = tmp_path_factory.mktemp("language")
    return files.load(plant(root, sizes=(30_000,), budgets=(30_000,), seeds=1)).entry


@pytest.fixture(scope="module")
def forces(tmp_path_factory: pytest.TempPathFactory) -> Entry:
    root = tmp_path_factory.mktemp("forces")
    return files.load(plant(root, family="force_field", sizes=(4_000,), budgets=(50,), seeds=1)).entry


def changed(entry: Entry, **values: Any) -> Run:
    return entry.runs[0].model_copy(update={"run": "r", **values})


def judged(says: str | None, call: Any, *arguments: Any) -> None:
    """A call that finds nothing (None), or a contradiction that it names."""
    if says is None:
        call(*arguments)
    else:
        with pytest.raises(Inconsistent, match=says):
            call(*arguments)


@pytest.mark.parametrize(
    ("a", "b", "same"), [(1, 0.9, True), (0.9, 1, True), (1, 0.89, False), (-1, -0.95, True), (-1, 1, False)]
)
def test_numbers_are_close_up_to_a_share_of_the_larger(a: float, b: float, same: bool) -> None:
    assert consistent.close(a, b, 0.1) == same


def test_curves_are_split_by_run_and_metric() -> None:
    rows = [("a", "x", 1, 0.5), ("a", "x", 2, 0.4), ("a", "y", 1, 3.0), ("b", "y", 7, 9.0)]
    table = pd.DataFrame(rows, columns=["run", "metric", "step", "value"])
    table = table.astype({"run": "category", "metric": "category"})
    found = {name: [part.tolist() for part in curve] for name, curve in consistent.split(table).items()}
    assert found == {("a", "x"): [[1, 2], [0.5, 0.4]], ("a", "y"): [[1], [3.0]], ("b", "y"): [[7], [9.0]]}
    assert consistent.split(table.iloc[:0]) == {}


# -- training: a trunk of 80 tokens, and decays from 40 to 50 and from 80 to 100 ---------------------------------------


def training(**points: dict[int, float]) -> Curves:
    """Curves of run `r` by hand; `train`, `decay`, `train_speed` and `decay_speed` replace their own."""
    default: dict[str, dict[int, float]] = {
        "train": {40: 1.0, 80: 1.0}, "train_speed": {40: 10, 80: 20},
        "decay": {45: 50.0, 50: 1.0, 90: 50.0, 100: 1.0}, "decay_speed": {45: 5, 50: 5, 90: 2, 100: 4},
    }  # fmt: skip
    names = {"train": "train/loss_nats_per_token", "train_speed": "speed/train_tokens_per_s",
             "decay": "decay/loss_nats_per_token", "decay_speed": "speed/decay_tokens_per_s"}  # fmt: skip
    chosen = default | points
    return {("r", names[name]): (np.array(list(curve), np.int64), np.array(list(curve.values()), float))
            for name, curve in chosen.items()}  # fmt: skip


def trained(entry: Entry, losses: dict[int, float], decay: str = "0.2") -> Run:
    results = tuple(Result(budget=budget, metrics={LOSS: loss}) for budget, loss in losses.items())
    return changed(entry, results=results, settings={"decay": decay})


def test_units_and_seconds_of_training_are_those_of_the_curves(language: Entry) -> None:
    run = trained(language, {50: 0.9, 100: 0.9})
    units, seconds = consistent.check_training(language, run, training())
    assert units == 80 + 10 + 20
    assert seconds == pytest.approx((40 / 10 + 40 / 20) + (5 / 5 + 5 / 5) + (10 / 2 + 10 / 4))
    nothing_but_decay = training(train={}, train_speed={}, decay={50: 1, 100: 1}, decay_speed={50: 10, 100: 5})
    assert consistent.check_training(language, trained(language, {100: 1.0}, "1"), nothing_but_decay) == (100, 15)


ONE_MORE = {45: 1.0, 50: 1.0, 60: 1.0, 90: 1.0, 100: 1.0}


@pytest.mark.parametrize(
    ("curves", "decay", "says"),
    [
        ({"train_speed": {40: 10, 80: 0}}, "0.2", "speed must be positive .* got 2 points"),
        ({"decay_speed": {45: 5, 50: 5, 90: 2}}, "0.2", "speed must be positive .* got 3 points"),
        ({"train": {0: 1, 40: 1, 80: 1}, "train_speed": {0: 1, 40: 1, 80: 1}}, "0.2", "must count what was seen"),
        ({}, "0", "share of the decay, between 0 and 1, got 0"),
        ({}, "1.01", "share of the decay, between 0 and 1, got 1.01"),
        ({"train": {40: 1, 79: 1}, "train_speed": {40: 1, 79: 1}}, "0.2", "must reach 80 before the decay to 100"),
        ({"decay": {45: 1, 49: 1}, "decay_speed": {45: 1, 49: 1}}, "0.2", "must end a decay at 50"),
        ({"decay": ONE_MORE, "decay_speed": ONE_MORE}, "0.2", "every decay must end at a target, got 60"),
        ({"train": {40: 1, 80: 1, 90: 1}, "train_speed": {40: 1, 80: 1, 90: 1}}, "0.2", "end with the decay from 80"),
    ],
)  # fmt: skip
def test_training_must_be_a_trunk_and_its_decays(
    curves: dict[str, dict[int, float]], decay: str, says: str, language: Entry
) -> None:
    run = trained(language, {50: 0.9, 100: 0.9}, decay)
    judged(says, consistent.check_training, language, run, training(**curves))


@pytest.mark.parametrize(("loss", "says"), [(0.81, None), (0.8, "20% below the training loss of 1,")])
def test_validation_is_held_against_the_second_half_of_its_decay(
    loss: float, says: str | None, language: Entry
) -> None:
    judged(says, consistent.check_training, language, trained(language, {50: loss, 100: 0.9}), training())


@pytest.mark.parametrize(
    ("frames", "steps", "batch", "error", "says"),
    [
        ("50", "30", "3", 2.02, None),
        ("50", "30", "3", 2.0, "far below the best validation error of 4,"),
        ("51", "30", "3", 1.0, "budget must be the training frames"),
        ("50", "0", "3", 1.0, "must hold gradient_steps and batch_frames"),
        ("50", "30", "4", 1.0, "test must come after 120 frames"),
        ("50", "1e15", "1", 1.0, "must hold gradient_steps"),
        ("50", "1", "1", 1.0, "test must come after 1 frames"),
    ],
)
def test_a_force_field_is_tested_once_at_its_end(
    frames: str, steps: str, batch: str, error: float, says: str | None, forces: Entry
) -> None:
    settings = {"train_frames": frames, "gradient_steps": steps, "batch_frames": batch}
    run = changed(forces, results=(Result(budget=50, metrics={ERROR: error}),), settings=settings)
    curves = {
        ("r", ERROR): (np.array([90]), np.array([error])), ("r", VALIDATION): (np.array([50, 90]), np.array([4.0, 5])),
    }  # fmt: skip

    def check() -> None:
        for target, check_end in consistent.targets(forces, run, curves):
            assert target == int(steps) * int(batch)
            check_end(9.0)  # the training loss is of another kind

    judged(says, check)


def test_every_point_of_a_results_curve_is_a_result(language: Entry, forces: Entry) -> None:
    run = trained(language, {50: 0.9, 100: 0.8})
    steps, losses = np.array([50, 100]), np.array([0.9, 0.8])
    consistent.check_results(language, run, {("r", LOSS): (steps, losses)})
    for values in (losses[::-1], losses + 1e-9):
        judged("at every budget", consistent.check_results, language, run, {("r", LOSS): (steps, values)})
    judged("0.9 at 50, got", consistent.check_results, language, run, {("r", LOSS): (steps[:1], losses[:1])})
    tested = changed(forces, results=(Result(budget=50, metrics={ERROR: 3.0}),))
    consistent.check_results(forces, tested, {("r", ERROR): (np.array([90]), np.array([3.0]))})
    judged("nothing, got 3.0", consistent.check_results, forces, tested, {})


# -- cost: a force field of one weight, so that any FLOPs are enough -------------------------------------------------


H100 = "NVIDIA H100 80GB HBM3"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"units_trained": 999}, "units_trained must be the 1,000"),
        ({"train_seconds": 2.18, "units_per_s": 1000 / 2.18}, None),
        ({"train_seconds": 2.24, "units_per_s": 1000 / 2.24}, "train_seconds must be the 2 "),
        ({"units_per_s": 500.45}, None),
        ({"units_per_s": 500.6}, "units_per_s must be 500"),
        ({"flops_total": None}, None),
        ({"flops_total": None, "mfu": 0.1}, "flops_total must be given"),
        ({"flops_total": 999.0}, "FLOPs per unit must be 1 or more"),
        ({"cpus": 2, "flops_total": 2.78e13}, None),
        ({"cpus": 2, "flops_total": 2.82e13}, "can do 1.4e[+]13 FLOP/s at most"),
        ({"gpus": 2, "device": H100, "flops_total": 3.94e15}, None),
        ({"gpus": 2, "device": H100, "flops_total": 3.98e15}, "can do"),
        ({"gpus": 1, "device": "Abacus", "flops_total": 4.48e15}, None),
        ({"gpus": 1, "device": "Abacus", "flops_total": 4.52e15}, "can do"),
        ({"gpus": 1, "device": H100, "flops_total": 1978e11, "mfu": 0.1009}, None),
        ({"gpus": 1, "device": H100, "flops_total": 1978e11, "mfu": 0.102}, "mfu must be 0.1,"),
        ({"gpus": 1, "device": "Abacus", "flops_total": 1978e11, "mfu": 0.1}, "mfu needs a GPU of a known peak"),
        ({"gpus": 0, "device": H100, "flops_total": 14e11, "mfu": 0.1}, "mfu needs a GPU of a known peak"),
        ({"energy_kj": 1.0, "energy_source": "unavailable"}, "energy must come from a counter"),
        ({"energy_kj": None, "energy_source": "rapl"}, "energy must come from a counter"),
        ({"gpus": 9, "device": H100, "flops_total": 5e15, "energy_kj": 1.0, "energy_source": "nvml"}, None),
        ({"gpus": 9, "device": H100, "flops_total": 5e15, "energy_kj": 0.999, "energy_source": "nvml"}, "1 kJ at"),
    ],
)
def test_the_edges_of_cost(values: dict[str, Any], says: str | None, forces: Entry) -> None:
    """1,000 frames in two seconds by the curves; a core does 7e12 FLOP/s, a GPU its peak, a joule pays for 5e12."""
    about = {
        "non_embedding_params": 1, "units_trained": 1000, "train_seconds": 2.0, "units_per_s": 500.0, "mfu": None,
        "flops_total": 1e6, "gpus": 0, "cpus": 1, "device": "AMD EPYC", "energy_kj": None,
    }  # fmt: skip
    judged(says, consistent.check_cost, forces, changed(forces, **about | values), 1000, 2.0)


def test_a_language_model_must_count_its_flops(language: Entry) -> None:
    run = changed(language, flops_total=None)
    judged("flops_total must be given", consistent.check_cost, language, run, run.units_trained, run.train_seconds)


@pytest.mark.parametrize(("family", "least"), [("language_model", 6), ("force_field", 1)])
def test_every_weight_of_an_unknown_model_acts(family: str, least: int, language: Entry, forces: Entry) -> None:
    entry = (language if family == "language_model" else forces).model_copy(update={"model": "mine"})
    run = changed(entry, non_embedding_params=1000)
    consistent.check_flops(entry, run, 1000.0 * least)
    judged(f"must be {least}000 or more", consistent.check_flops, entry, run, 999.0 * least)


@pytest.mark.parametrize(("molecules", "held"), [(0.39, False), (0.41, True), (9.9, True), (10.1, False)])
def test_attention_acts_over_molecules(molecules: float, held: bool, language: Entry) -> None:
    """FLOPs per token grow by 6 layers width a token attended to and direction: the length follows from them."""
    run = changed(language)
    assert consistent.tokens_per_molecule(run) == pytest.approx(34)  # as planted
    config = LANGUAGE_MODELS.family(language.model).stated(run.network.model_dump())  # type: ignore[union-attr]
    flops = config.flops_per_token(molecules * 34)
    judged(None if held else "molecules of about 34 tokens", consistent.check_flops, language, run, flops)


def test_without_attention_flops_are_known_exactly(language: Entry) -> None:
    config = LANGUAGE_MODELS.family("lstm").config_for(30_000, 50)
    entry = language.model_copy(update={"model": "lstm"})
    network = language.runs[0].network.model_copy(update=config.sizes)  # type: ignore[union-attr]
    run = changed(language, network=network, non_embedding_params=config.non_embedding_params)
    flops = config.flops_per_token(1)
    consistent.check_flops(entry, run, flops * (1 + 5e-7))
    judged("FLOPs per token must be", consistent.check_flops, entry, run, flops * (1 + 2e-6))


@pytest.mark.parametrize(("off", "says"), [(0.9e-5, None), (1.1e-5, "must be the same in all runs")])
def test_lengths_of_molecules_are_those_of_the_split(off: float, says: str | None, language: Entry) -> None:
    metrics = language.runs[0].results[0].metrics
    longer = Result(budget=1, metrics=metrics | {PER_MOLECULE: metrics[PER_MOLECULE] * (1 + off)})
    entry = language.model_copy(update={"runs": (language.runs[0], changed(language, results=(longer,)))})
    judged(says, consistent.check_same_split, entry)


def test_the_error_of_a_zero_force_is_that_of_the_split(forces: Entry) -> None:
    name = "baseline/zero_force_mae_mev_per_angstrom"
    runs = [changed(forces, results=(Result(budget=1, metrics={name: value}),)) for value in (737.0, 737.0, 738.0)]
    consistent.check_same_split(forces.model_copy(update={"runs": tuple(runs[:2])}))
    judged("same in all runs, 737,", consistent.check_same_split, forces.model_copy(update={"runs": tuple(runs)}))


def test_an_honest_entry_of_each_family_holds(tmp_path: Path) -> None:
    for family, size in (("language_model", 30_000), ("force_field", 4_000)):
        loaded = files.load(plant(tmp_path, family=family, sizes=(size,), budgets=(size,), seeds=2))
        consistent.check(loaded.entry, loaded.curves)


@pytest.mark.parametrize("family", ["language_model", "force_field"])
def test_a_run_begins_with_fresh_weights(family: str, tmp_path: Path) -> None:
    loaded = files.load(plant(tmp_path, family=family, sizes=(30_000,), budgets=(300,), seeds=1))
    (run,) = loaded.entry.runs
    begun = run.model_copy(update={"settings": run.settings | {"init": "a folder"}})
    with pytest.raises(Inconsistent, match=r"must begin with fresh weights, .* got a folder in run"):
        consistent.check(loaded.entry.model_copy(update={"runs": (begun,)}), loaded.curves)
