"""Numbers that are none, that contradict the curves or each other, or that no device can reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chemscale_bench.leaderboard.consistent import MOST_FLOPS_PER_JOULE
from chemscale_bench.leaderboard.levels import Level, judge
from chemscale_bench.leaderboard.planted import plant
from chemscale_bench.models.gpt_neo import GPTNeoConfig
from chemscale_bench.models.sizes import Shape
from hostile.attacks import (
    GENERATED,
    Attack,
    check_held,
    check_one_line,
    copied,
    curves,
    edit,
    move,
    put,
    run,
    update,
)


def raw(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def scale(path: Path, name: str, factor: float) -> None:
    edit(path, lambda entry: entry["runs"][0].update({name: entry["runs"][0][name] * factor}))


def result(path: Path, at: int, **values: Any) -> None:
    edit(path, lambda entry: entry["runs"][0]["results"][at].update(values))


def metric(path: Path, at: int, name: str, value: float) -> None:
    edit(path, lambda entry: entry["runs"][0]["results"][at]["metrics"].update({name: value}))


def speed_up(table: pd.DataFrame) -> None:
    table.loc[table["metric"].str.startswith("speed/"), "value"] *= 2.6


def stand_still(table: pd.DataFrame) -> None:
    table.loc[table["metric"].str.startswith("speed/"), "value"] = 0.0


def faster_than_light(path: Path) -> None:
    """104 % of the peak, with every other number in agreement."""
    curves(path, speed_up)

    def tell(entry: dict[str, Any]) -> None:
        for one in entry["runs"]:
            one["train_seconds"] /= 2.6
            one["units_per_s"] *= 2.6
            one["mfu"] = None

    edit(path, tell)


def better_everywhere(path: Path) -> None:
    """Validation losses that are halved in the results and in the curves alike."""

    def halve(table: pd.DataFrame) -> None:
        table.loc[table["metric"].str.startswith("val/"), "value"] /= 2

    curves(path, halve)

    def tell(entry: dict[str, Any]) -> None:
        for one in entry["runs"]:
            for part in one["results"]:
                for name in part["metrics"]:
                    part["metrics"][name] /= 2 if name.startswith("val/") else 1

    edit(path, tell)


def longer_molecules(path: Path) -> None:
    def tell(entry: dict[str, Any]) -> None:
        for part in entry["runs"][0]["results"]:
            part["metrics"]["val/nats_per_molecule"] *= 1.1

    edit(path, tell)
    name = json.loads(path.read_text())["runs"][0]["run"]

    def stretch(table: pd.DataFrame) -> None:
        table.loc[(table["run"] == name) & (table["metric"] == "val/nats_per_molecule"), "value"] *= 1.1

    curves(path, stretch)


REFUSED: dict[str, Attack] = {
    "number as text": (lambda p: run(p, train_seconds="1.0"), "train_seconds"),
    "truth as a number": (lambda p: run(p, seed=True), "seed"),
    "NaN": (lambda p: run(p, train_seconds=float("nan")), "train_seconds"),
    "infinite": (lambda p: run(p, train_seconds=float("inf")), "train_seconds"),
    "overflow": (lambda p: raw(p, '"seed": 0', '"seed": 0, "mfu": 1e999'), ""),
    "a thousand digits": (lambda p: raw(p, '"seed": 0', '"seed": ' + "9" * 5000), ""),
    "negative": (lambda p: run(p, train_seconds=-1.0), "train_seconds"),
    "104 % MFU": (lambda p: run(p, mfu=1.04), "mfu"),
    "budgets backwards": (lambda p: edit(p, lambda e: e["runs"][0]["results"].reverse()), "ascend"),
    "unknown metric": (lambda p: metric(p, 0, "val/accuracy", 1.0), "accuracy"),
}
INCONSISTENT: dict[str, Attack] = {
    "a better loss": (
        lambda p: metric(p, 1, "val/loss_nats_per_token", 0.5), "val/loss_nats_per_token must be what its curve says"),
    "a better loss in the curves too": (better_everywhere, "below the training loss"),
    "fewer tokens": (lambda p: run(p, units_trained=1000), "units_trained"),
    "less time": (lambda p: scale(p, "train_seconds", 0.5), "train_seconds"),
    "faster": (lambda p: scale(p, "units_per_s", 1.1), "units_per_s"),
    "fewer FLOPs": (lambda p: scale(p, "flops_total", 0.5), "FLOPs"),
    "no FLOPs": (lambda p: run(p, flops_total=None), "flops_total"),
    "a better MFU": (lambda p: run(p, mfu=0.6), "mfu"),
    "MFU of a processor": (lambda p: run(p, mfu=0.4, device="Abacus", gpus=0), ""),
    "104 % of the peak": (faster_than_light, "can do"),
    "hardly any energy": (lambda p: run(p, energy_kj=1e-9), "kJ"),
    "energy from nowhere": (lambda p: run(p, energy_source="unavailable"), "counter"),
    "smaller than it is": (lambda p: run(p, non_embedding_params=1000), "parameters"),
    "wider than it is": (lambda p: edit(p, lambda e: e["runs"][0]["network"].update(width=512)), "parameters"),
    "no network": (lambda p: run(p, network=None), "network"),
    "budget of another run": (lambda p: result(p, 0, budget=29_999), ""),
    "no decay": (lambda p: run(p, settings={}), "decay"),
    "decay is text": (lambda p: run(p, settings={"decay": "much"}), "decay"),
    "unknown task": (
        lambda p: (update(p, task="easy-lm"), move(p, "easy-lm/chemgpt/ada-lovelace-2026-11-22")), "task"),
    "another digest": (lambda p: update(p, task_digest="0" * 16), "task_digest"),
    "other data": (lambda p: update(p, data_digest="0" * 64), "task_digest"),
    "lengths of molecules differ": (longer_molecules, "same in all runs"),
    "no training curve": (
        lambda p: curves(p, lambda t: t[t["metric"] != "train/loss_nats_per_token"]), "training loss"),
    "no decay curve": (lambda p: curves(p, lambda t: t[~t["metric"].str.contains("decay")]), "decay"),
    "speed zero": (lambda p: curves(p, stand_still), "speed"),
}  # fmt: skip


def slower(path: Path) -> None:
    """A fifth more time than the curves tell, with all that follows from it in agreement."""

    def tell(entry: dict[str, Any]) -> None:
        one = entry["runs"][0]
        one["train_seconds"] *= 1.2
        one["units_per_s"] /= 1.2
        one["mfu"] = one["mfu"] / 1.2 if one["mfu"] else None

    edit(path, tell)


def attends(path: Path, molecules: float) -> None:
    """FLOPs of attention over so many times the mean length of a molecule."""

    def tell(entry: dict[str, Any]) -> None:
        for one in entry["runs"]:
            network, metrics = one["network"], one["results"][-1]["metrics"]
            config = GPTNeoConfig(
                Shape(network["layers"], network["width"], network["heads"]), network["vocabulary_size"]
            )
            length = metrics["val/nats_per_molecule"] / metrics["val/loss_nats_per_token"]
            flops = one["units_trained"] * config.flops_per_token(molecules * length)
            one["flops_total"], one["mfu"] = flops, None

    edit(path, tell)


def little_energy(path: Path) -> None:
    """A tenth less than the FLOPs take on the best hardware there is."""

    def tell(entry: dict[str, Any]) -> None:
        one = entry["runs"][0]
        one["energy_kj"] = 0.9 * one["flops_total"] / MOST_FLOPS_PER_JOULE / 1000
        one["energy_source"] = "nvml"

    edit(path, tell)


INCONSISTENT |= {
    "a fifth more time": (slower, "train_seconds must be"),
    "5 % more MFU": (lambda p: scale(p, "mfu", 1.05), "mfu must be"),
    "attention over a third of a molecule": (lambda p: attends(p, 0.35), "attention over"),
    "attention over twelve molecules": (lambda p: attends(p, 12), "attention over"),
    "a tenth too little energy": (little_energy, "kJ at least"),
}
NUMBERS = [
    ("results", 0, "budget"), ("results", 1, "metrics", "val/loss_nats_per_token"), ("non_embedding_params",),
    ("results", 0, "metrics", "val/nats_per_molecule"), ("units_trained",), ("train_seconds",), ("units_per_s",),
    ("flops_total",), ("mfu",), ("network", "layers"), ("network", "width"),
]  # fmt: skip


def test_the_honest_entry_is_consistent(honest: Path) -> None:
    verdict = judge(next(honest.glob("*/*/*.json")))
    assert (verdict.level, verdict.why_not_next) == (Level.CONSISTENT, "")


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, honest: Path, tmp_path: Path) -> None:
    check_held(REFUSED[name], Level.REFUSED, honest, tmp_path)


@pytest.mark.parametrize("name", INCONSISTENT)
def test_valid_at_best(name: str, honest: Path, tmp_path: Path) -> None:
    check_held(INCONSISTENT[name], Level.VALID, honest, tmp_path)


@GENERATED
@given(where=st.sampled_from(NUMBERS), factor=st.floats(0.01, 100).filter(lambda f: abs(f - 1) > 0.15))
def test_no_number_can_be_moved_alone(where: tuple[Any, ...], factor: float, honest: Path, scratch: Path) -> None:
    entry = json.loads(next(honest.glob("*/*/*.json")).read_text())
    value = put(entry["runs"][0], where, 0)
    moved = value * factor if isinstance(value, float) else max(1, round(value * factor))
    if moved == value:
        return
    put(entry["runs"][0], where, moved)
    scratch.write_text(json.dumps(entry))
    verdict = judge(scratch)
    assert verdict.level < Level.CONSISTENT
    check_one_line(verdict)


# -- force fields ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def honest_forces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("forces")
    plant(root, family="force_field", sizes=(4_000,), budgets=(50,), seeds=1)
    return root


def error_of_validation(path: Path, share: float) -> None:
    """A test error of so much of the best validation error, in the results and in the curves."""
    table = pd.read_parquet(path.with_suffix(".parquet"))
    validation = table[table["metric"] == "val/force_mae_mev_per_angstrom"]
    for at, one in enumerate(json.loads(path.read_text())["runs"]):
        best = share * float(validation[validation["run"] == one["run"]]["value"].min())

        def tell(entry: dict[str, Any], at: int = at, best: float = best) -> None:
            entry["runs"][at]["results"][0]["metrics"]["test/force_mae_mev_per_angstrom"] = best

        def draw(curve: pd.DataFrame, name: str = one["run"], best: float = best) -> None:
            own = (curve["run"] == name) & (curve["metric"] == "test/force_mae_mev_per_angstrom")
            curve.loc[own, "value"] = best

        edit(path, tell)
        curves(path, draw)


def flops_per_weight(path: Path, flops: float) -> None:
    def tell(entry: dict[str, Any]) -> None:
        for one in entry["runs"]:
            one["flops_total"] = flops * one["non_embedding_params"] * one["units_trained"]

    edit(path, tell)


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        (lambda p: error_of_validation(p, 0.45), "far below the best validation error"),
        (lambda p: flops_per_weight(p, 0.9), "FLOPs per unit must be"),
    ],
)
def test_a_force_field_is_valid_at_best(attack: Any, says: str, honest_forces: Path, tmp_path: Path) -> None:
    check_held((attack, says), Level.VALID, honest_forces, tmp_path)


def test_force_fields_at_the_edge_are_consistent(honest_forces: Path, tmp_path: Path) -> None:
    path = copied(honest_forces, tmp_path)
    error_of_validation(path, 0.55)
    flops_per_weight(path, 1.1)
    verdict = judge(path)
    assert (verdict.level, verdict.why_not_next) == (Level.CONSISTENT, "")
