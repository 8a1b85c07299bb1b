"""Motion on the board: from `simulate` into an entry, checked as numbers, and simulated again."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import mlflow
import pytest
from entries import changed, submitted

from chemscale_bench.cli import main
from chemscale_bench.leaderboard import files, resimulate
from chemscale_bench.leaderboard.board import build
from chemscale_bench.leaderboard.collect import read_entries, read_experiment
from chemscale_bench.leaderboard.entry import Result, Run
from chemscale_bench.leaderboard.levels import Level, judge
from chemscale_bench.leaderboard.motion import Motion
from chemscale_bench.leaderboard.page import models_table, moved
from chemscale_bench.leaderboard.planted import plant
from chemscale_bench.leaderboard.simulated import read_motions
from chemscale_bench.runs.simulation import simulate
from chemscale_bench.settings.simulate import SimulateSettings
from chemscale_bench.settings.verify import VerifySettings
from chemscale_bench.verbs.leaderboard import summary
from chemscale_bench.verbs.verify import verify

TRAIN = ["forcefield", "--task", "embedded-ff", "--molecule", "ethanol", "--model", "schnet", "--params", "5365"]
TRAIN += ["--train_size", "50", "--device", "cpu"]
FORGED = {"drift_mev_per_atom_ns": 1e6, "drift_error_mev_per_atom_ns": 1e6}
SHORT = {"temperature": "500", "picoseconds": "0.05", "device": "cpu"}


@pytest.fixture(scope="module")
def store(store_of_file: None) -> None:
    """One small force field in the experiment `study`, simulated."""
    train("--steps", "200", "--experiment", "study")
    simulated(replicas=64)


def train(*more: str) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*TRAIN, *more])


def simulated(**more: Any) -> str:
    return simulate(SimulateSettings.model_validate({"run": "study", **SHORT, **more}), prints=False).run_id


def number(what: str, value: Any, at: int | None = None) -> Any:
    return lambda motion: (motion if at is None else motion["conditions"][at]).update({what: value})


def test_an_entry_carries_how_the_molecule_moves(home: None, kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = submitted(kept)
    (run,) = files.load(path).entry.runs
    assert "it tells of motion of 1 of its 1 models at 500 K; `verify` simulates that of run" in capsys.readouterr().out
    (made,) = mlflow.search_runs(experiment_names=["chemscale-motion"], output_format="list")
    motion = run.results[0].motion
    assert motion is not None
    assert (motion.replicas, motion.picoseconds, motion.timestep_fs, motion.seed) == (64, 0.05, 0.5, 0)
    logged = made.data.metrics  # type: ignore[union-attr]
    assert motion.metrics == pytest.approx({name: logged[name] for name in motion.metrics}, rel=1e-12)
    places = ("langevin_500K/stability_ps", "langevin_500K/hr_mae", "nve_500K/drift_mev_per_atom_ns")
    assert {*places, "check/bond_break_ev"} <= set(motion.metrics)
    verify(VerifySettings(entry=str(path), level="reproduced"))
    assert f"the molecule of run {run.run} was simulated again, and all numbers agree" in capsys.readouterr().out


def few_replicas(motion: dict[str, Any]) -> None:
    """All of five hold."""
    motion["replicas"] = 5
    for condition in motion["conditions"]:
        condition["intact"] = min(condition["intact"], 5)


def lost(motion: dict[str, Any]) -> None:
    """Three of four replicas with a thermostat break half way."""
    motion["conditions"][0].update(intact=16, stability_ps=0.05 * (16 + 48 / 2) / 64)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (number("bond_break_ev", 5.0), "check/bond_break_ev of 64 replicas of run"),
        (lost, "langevin_500K/stability_ps of 64 replicas of run"),
        (number("hr_mae", 1.0, 0), "langevin_500K/hr_mae of 64 replicas of run"),
        (number("drift_mev_per_atom_ns", 1e6, 1), "nve_500K/drift_mev_per_atom_ns of 64 replicas of run"),
        (number("drift_error_mev_per_atom_ns", 0.01, 1), "nve_500K/drift_error"),
        (number("drift_error_mev_per_atom_ns", 1e9, 1), "nve_500K/drift_error"),
        (lambda motion: motion["conditions"][1].update(FORGED), "nve_500K/drift_mev_per_atom_ns of 64 replicas of run"),
        (few_replicas, "motion must be of 6 replicas or more, fewer contradict nothing, got 5"),
    ],
)
def test_what_the_checkpoint_does_not_do_is_caught(
    home: None, kept: Path, tmp_path: Path, change: Any, says: str
) -> None:
    verdict = judge(changed(submitted(kept), tmp_path, "motion", change), Level.REPRODUCED)
    assert verdict.level == Level.CONSISTENT
    assert says in verdict.why_not_next
    assert "\n" not in verdict.why_not_next


def few(intact: int) -> Run:
    """A run whose eight replicas held in part, with a drift."""
    ends = {"picoseconds": 2.0, "timestep_fs": 0.5, "seed": 0, "replicas": 8}
    parts = [{"temperature_k": 500.0, "ensemble": name, "intact": intact} for name in ("Langevin", "NVE")]
    parts = [part | {"stability_ps": intact / 4} for part in parts]
    parts[1] |= {"drift_mev_per_atom_ns": 1.0, "drift_error_mev_per_atom_ns": 1.0}
    made = Motion.model_validate(ends | {"conditions": tuple(parts)})
    return Run.model_construct(run="r", results=(Result.model_construct(motion=made),))


def test_what_too_few_replicas_can_not_tell_is_said() -> None:
    assert resimulate.agreement(few(8)) == "all numbers agree"
    said = resimulate.agreement(few(3))
    assert said.startswith("all numbers agree, but 8 replicas are too few to tell langevin_500K/stability_ps")
    assert "nve_500K/drift_mev_per_atom_ns" in said


@pytest.mark.parametrize(("intact", "caught"), [(4, False), (5, True)])
def test_a_drift_may_lack_only_where_few_held(intact: int, caught: bool) -> None:
    made = few(intact).results[0].motion
    assert made is not None
    found = {name: value for name, value in made.metrics.items() if "drift" not in name}
    with pytest.raises(resimulate.MovedOtherwise, match="nve_500K/drift") if caught else nullcontext():
        resimulate.compare("r", made, found)


def test_replicas_with_another_seed_are_within_the_tolerance(home: None, kept: Path, tmp_path: Path) -> None:
    verdict = judge(changed(submitted(kept), tmp_path, "motion", number("seed", 7)), Level.REPRODUCED)
    assert verdict.level == Level.REPRODUCED, verdict.why_not_next


def test_what_can_not_be_repeated_is_said(home: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = submitted(tmp_path, checkpoint="none")
    assert "it can't be reproduced: motion must be that of a run with a checkpoint" in capsys.readouterr().out
    assert "the best run must have a checkpoint" in judge(path, Level.REPRODUCED).why_not_next


def test_the_most_steps_count(home: None, capsys: pytest.CaptureFixture[str]) -> None:
    (before,), _ = read_experiment("study")
    simulated(replicas=2)
    (study,), _ = read_experiment("study")
    assert study.runs == before.runs
    gone = simulated(replicas=128, picoseconds=0.01)
    Path(mlflow.get_run(gone).info.artifact_uri.removeprefix("file://"), "motion.csv").unlink()
    (study,), _ = read_experiment("study")
    assert study.runs == before.runs
    assert "1 runs of simulate whose motion.csv is gone" in capsys.readouterr().err
    (board,) = build([study])
    (row,) = moved(board)
    assert (row["level"], row["budget"]) == ("yours", 50)
    motion = study.runs[0].results[0].motion
    assert motion is not None
    assert list(models_table([board], moved)["nve_500K/stability_ps"]) == [motion.conditions[1].stability_ps]


def test_of_several_models_simulated_at_once_each_has_its_own(home: None) -> None:
    for seed in ("0", "1"):
        train("--steps", "20", "--experiment", "pair", "--seed", seed)
    done = mlflow.get_run(simulated(run="pair", replicas=2))
    runs = mlflow.search_runs(experiment_names=["pair"], output_format="list")
    found = read_motions({run.info.run_id for run in runs})  # type: ignore[union-attr]
    energies = [value for name, value in done.data.metrics.items() if name.endswith("/check/bond_break_ev")]
    assert len(set(energies)) == len(found) == 2
    assert {motion.bond_break_ev for motion in found.values()} == set(energies)
    assert [motion.conditions[0].ensemble for motion in found.values()] == ["Langevin"] * 2


# -- numbers alone -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("planted")
    return plant(root, family="force_field", sizes=(4_000,), budgets=(50,), seeds=1, moved=True)


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        (lambda motion: None, Level.CONSISTENT, "the best run must have a checkpoint"),
        (number("stability_ps", 2.1, 0), Level.VALID, "stability_ps of Langevin at 500 K must be between 2, which"),
        (number("stability_ps", 1.4, 2), Level.VALID, "between 1.5, which the intact ones make, and 2, got 1.4"),
        (number("intact", 5, 0), Level.VALID, "intact of Langevin at 500 K must be 4 at most, got 5"),
        (number("hr_mae", 0.1, 1), Level.VALID, "hr_mae of NVE at 500 K may not be there"),
        (number("drift_mev_per_atom_ns", None, 1), Level.VALID, "a drift and its error must be there"),
        (number("drift_mev_per_atom_ns", 1.0, 0), Level.VALID, "a drift and its error must be there"),
        (number("picoseconds", 0.001), Level.VALID, "picoseconds must be at least 0.01, for three readings"),
        (number("hr_mae", 2.1, 0), Level.REFUSED, "hr_mae"),
        (number("temperature_k", 500.0, 2), Level.REFUSED, "every temperature must be there once"),
        (number("replicas", 10_000), Level.REFUSED, "replicas may take 20,000,000 steps together, got 1.6e+08"),
        (number("timestep_fs", 1e-300), Level.REFUSED, "replicas may take 20,000,000 steps together, got 3.2e+304"),
        (lambda motion: motion["conditions"].clear(), Level.REFUSED, "conditions"),
    ],
)
def test_numbers_that_no_motion_has(planted: Path, tmp_path: Path, change: Any, level: Level, says: str) -> None:
    verdict = judge(changed(planted, tmp_path, "motion", change), Level.REPRODUCED)
    assert verdict.level == level, verdict.why_not_next
    assert says in verdict.why_not_next


def test_language_models_do_not_move(tmp_path: Path, planted: Path) -> None:
    made = json.loads(planted.read_text())["runs"][0]["results"][0]["motion"]
    path = plant(tmp_path, sizes=(30_000,), budgets=(30_000,), seeds=1)
    content = json.loads(path.read_text())
    content["runs"][0]["results"][0]["motion"] = made
    path.write_text(json.dumps(content))
    assert "only force fields move molecules" in judge(path).why_not_next


def test_the_printed_table_tells_how_long_the_best_size_holds(planted: Path) -> None:
    studies, _ = read_entries(planted.parents[2], Level.CONSISTENT)
    assert "painn, Ada Lovelace; holds 2 ps at 500 K, 1." in summary(build(studies), [])
