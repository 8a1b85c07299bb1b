"""The page of results says what the entries say."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from chemscale_bench.evaluation.stretching import LEAST_EV
from chemscale_bench.leaderboard.board import table_of
from chemscale_bench.leaderboard.collect import Study, read_entries
from chemscale_bench.leaderboard.levels import Level
from chemscale_bench.leaderboard.published import read_published
from results.forces import compared_forces, published_table
from results.foretold import forecast_table, on_record
from results.laws import law_table
from results.motion import motion_table, moved_of
from results.studies import ENTRIES, FORCE_MAE, HERE, LEAST_SIZES, PUBLISHED, Scaled, scaled

NUMBER = r"\d+\.\d+"
PAGE = (HERE / "README.md").read_text()
README = (HERE.parent / "README.md").read_text()
LAWS = PAGE.partition("### As the papers trained")[0]
FORECASTS = PAGE.partition("## Forecasts")[2]


def sizes(study: Study) -> int:
    return len({run.non_embedding_params for run in study.runs})


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    """Of all entries."""
    return read_entries(ENTRIES, Level.VALID)[0]


def test_links_and_figures_are_there() -> None:
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", PAGE) if "://" not in target]
    assert len(targets) > 5
    assert not [target for target in targets if not (HERE / target).exists()]
    assert {path.name for path in HERE.glob("*.svg")} <= set(targets)


def test_rows_follow_from_their_entries(studies: list[Study]) -> None:
    """The smallest study of every task: all would take a minute. `python -m results` writes them anew."""
    scaling = [study for study in studies if sizes(study) >= LEAST_SIZES]
    smallest = {study.task: study for study in sorted(scaling, key=lambda study: -len(study.runs))}
    assert smallest
    for study in smallest.values():
        (written,) = [line for line in LAWS.splitlines() if line.startswith("| ") and f"entries/{study.name})" in line]
        found = list(law_table([scaled(study)]))[-1]
        assert re.sub(NUMBER, "", found) == re.sub(NUMBER, "", written)
        numbers = [[float(number) for number in re.findall(NUMBER, line)] for line in (found, written)]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.02), study.name


def test_every_entry_of_a_study_stands_in_it(studies: list[Study]) -> None:
    listed = {Path(path) for path in re.findall(r"leaderboard/entries/([^)]+\.json)", PAGE)}
    of_papers = {Path(study.name) for study in studies if study.runs[0].settings.get("recipe") == "paper"}
    moved = {Path(study.name) for _, study, _, _ in moved_of(studies)}
    assert listed == of_papers | moved | {Path(study.name) for study in studies if sizes(study) >= LEAST_SIZES}


def test_comparisons_of_force_fields_follow_from_their_entries(studies: list[Study]) -> None:
    tasks: dict[str, list[Scaled]] = {}
    for study in studies:
        if study.family == "force_field" and sizes(study) >= LEAST_SIZES:
            points = table_of(study, FORCE_MAE)
            tasks.setdefault(study.task, []).append(Scaled(study, points, None))  # type: ignore[arg-type]  # no fit
    told = [line for line in compared_forces(tasks) if line.startswith("| ") and re.search(NUMBER, line)]
    assert any(line.startswith("| painn | schnet | 1e5, 950 |") for line in told)
    assert any(line.startswith("| params | 950 frames |") for line in told)
    assert set(told) <= set(PAGE.splitlines())


def test_trainings_as_papers_did_stand_beside_what_they_report(studies: list[Study]) -> None:
    assert "\n".join(published_table(studies, read_published(PUBLISHED)[0])) in PAGE
    assert "| md17-ff@ethanol | schnet | 950 |" in PAGE


def test_how_force_fields_move_stands_beside_their_errors(studies: list[Study]) -> None:
    assert "\n".join(motion_table(moved_of(studies))) in PAGE


def test_what_is_said_of_molecules_that_hold_follows_from_our_entries(studies: list[Study]) -> None:
    hottest = pd.DataFrame(
        [
            (
                study.task,
                study.model,
                motion.bond_break_ev,
                motion.replicas,
                *(at.intact for at in motion.conditions[2:]),
            )
            for _, study, _, motion in moved_of([one for one in studies if one.submitter.startswith("chemscale-bench")])
            if motion.temperatures_k == [500, 1_200]
        ],
        columns=["task", "model", "ev", "replicas", "langevin", "nve"],
    )
    of_aspirin = hottest["task"].str.endswith("aspirin")
    aspirin, hottest = hottest[of_aspirin], hottest[~of_aspirin]
    for ensemble, text in (("langevin", "with a thermostat"), ("nve", "without")):
        told = f"{aspirin[ensemble].sum()} of {aspirin['replicas'].sum()}"
        assert re.search(rf"{told}\s+(replicas )?{text}", PAGE)
    kept = aspirin.groupby("model")["langevin"].apply(list)
    assert kept.to_dict() == {"allegro": [2], "allegro-l2": [2], "nequip-l2": [4], "painn": [0, 2], "schnet": [0, 0, 0]}
    assert (aspirin["langevin"] <= aspirin["replicas"] / 2).all()
    assert aspirin[aspirin["ev"] > LEAST_EV]["langevin"].max() == 2  # what it takes to free a hydrogen does not tell
    holds = hottest["model"].isin(["mace", "spookynet", "nequip-l2", "allegro-l2"])
    varied = hottest["model"].str.contains("nequip|allegro")
    for part, text in ((holds, PAGE), (~holds, PAGE), (holds & varied, README), (~holds & varied, README)):
        some = hottest[part]
        assert re.search(rf"{some['langevin'].sum()}\s+of\s+{some['replicas'].sum()}\b", text)
    for part in (holds, ~holds):
        assert f"{hottest[part]['nve'].sum()} of {hottest[part]['replicas'].sum()}" in PAGE
    assert f"{hottest[holds]['ev'].min():.2f} eV or more" in PAGE
    assert f"{hottest[~holds]['ev'].max():.2f} or less" in PAGE
    assert hottest[~holds]["ev"].max() < LEAST_EV < hottest[holds]["ev"].min()


def test_every_forecast_on_record_is_told(studies: list[Study]) -> None:
    found = on_record(studies)
    told = {study.name for study, _ in found}
    for study in studies:
        if study.foretold and study.name not in told:
            assert f"{study.model} on {study.task}" in FORECASTS.partition("wait for their runs: ")[2]
    assert "\n".join(forecast_table(found)) in FORECASTS
    for study, table in found:
        assert (table["reach"] > 1).all(), study.name
