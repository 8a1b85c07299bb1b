"""What a report tells to type next can be typed: it names what there is, or there is no command."""

import shlex

import pandas as pd
import pytest

from chemscale_bench import tasks
from chemscale_bench.scaling.planning import NextRun
from chemscale_bench.settings.language import LanguageSettings
from chemscale_bench.settings.study import StudySettings
from chemscale_bench.shell import typed
from chemscale_bench.verbs.next_command import SMALLEST, settings, study, training

RUN = NextRun(3e5, 1.2e7, 2e13, 0.5)


def table(task: str, model: str = "llama") -> pd.DataFrame:
    return pd.DataFrame({"task": [task], "model": [model]})


def test_a_run_joins_the_others() -> None:
    command = training(table("moses-lm"), RUN, "my runs")
    assert command == (
        f"{typed('chemscale')} language --model llama --task moses-lm --params 3e+05 --tokens 1.2e+07 "
        "--experiment 'my runs'"
    )
    words = command.split()[2:10]
    chosen = LanguageSettings.read(dict(zip((w[2:] for w in words[::2]), words[1::2], strict=True)), "language")
    assert isinstance(chosen, LanguageSettings)
    assert (chosen.params, chosen.tokens) == (300_000, 12_000_000)


def test_a_study_of_a_force_field_is_on_its_molecule() -> None:
    command = study(table("rmd17-ff@benzene", "schnet"))
    assert command == f"{typed('chemscale')} study --model schnet --task rmd17-ff --molecule benzene --hours 2"
    words = command.split()[2:]
    StudySettings.read(dict(zip((w[2:] for w in words[::2]), words[1::2], strict=True)), "study")


@pytest.mark.parametrize("string", ["smiles", "chemgpt"])
def test_another_string_is_named(string: str) -> None:
    task = tasks.load_language("moses-lm").with_data("auto", string).name
    for command, kind in ((training(table(task), RUN, ""), LanguageSettings), (study(table(task)), StudySettings)):
        assert f" --task moses-lm --vocabulary {string} " in command
        words = command.split()
        chosen = dict(zip((word[2:] for word in words[2::2]), words[3::2], strict=True))
        assert kind.read(chosen, words[1]).model_dump()["vocabulary"] == string


@pytest.mark.parametrize(
    "task", ["embedded-lm@mine.csv", "moses-lm@mine.csv@smiles", "tiny-lm", "rmd17-ff@mine.npz", ""]
)
def test_data_and_tasks_of_ones_own_have_a_path_that_a_table_does_not_know(task: str) -> None:
    assert training(table(task), RUN, "") == ""
    assert study(table(task)) == ""


def test_a_table_that_says_neither_gets_no_command() -> None:
    assert study(pd.DataFrame({"params": [1.0]})) == ""
    assert training(table("moses-lm"), None, "") == ""


def test_a_size_that_nothing_trains_gets_no_command() -> None:
    assert SMALLEST == 10_000
    assert training(table("moses-lm"), RUN._replace(params=91), "") == ""


def test_a_run_that_a_task_has_too_few_data_for_gets_no_command() -> None:
    """The molecules inside RDKit are about 5e5 tokens, the task's largest budget is 1e6."""
    assert "--tokens 2e+06" in training(table("embedded-lm"), RUN._replace(tokens=2e6), "")
    assert training(table("embedded-lm"), RUN._replace(tokens=2.1e6), "") == ""


def test_settings_that_were_found_can_be_trained_with_again() -> None:
    found = {"learning_rate": 0.0012345678, "batch_tokens": 280, "data": "my molecules.csv", "experiment": "sweeps"}
    chosen = LanguageSettings(task="embedded-lm", params=10_000, tokens=30_000, smaller_budgets=False, **found)
    command = settings("language", chosen, seeds="3")
    assert command == (
        f"{typed('chemscale')} language --learning_rate 0.001235 --task embedded-lm --params 10000 --tokens 30000 "
        "--smaller_budgets False --data 'my molecules.csv' --batch_tokens 280 --seeds 3"
    )
    words = shlex.split(command)[2:]
    again = LanguageSettings.read(dict(zip((w[2:] for w in words[::2]), words[1::2], strict=True)), "language")
    assert isinstance(again, LanguageSettings)
    assert (again.batch_tokens, again.seeds, again.data) == (280, 3, "my molecules.csv")
