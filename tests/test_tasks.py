from pathlib import Path

import pytest

from chemscale_bench import tasks
from chemscale_bench.errors import UserError


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_loads(name: str) -> None:
    task = tasks.load(name)
    assert task.name == name
    assert len(task.digest) == 16


def test_the_digest_follows_what_is_measured_and_nothing_else() -> None:
    task = tasks.load_language("moses-lm")
    assert task.model_copy(update={"description": "other words"}).digest == task.digest
    newer = {"version": task.version + 1}
    for change in (newer, {"validation_molecules": 5}, {"budgets_tokens": (1,)}, {"data": "embedded"}):
        assert task.model_copy(update=change).digest != task.digest


@pytest.mark.parametrize(
    ("tokens", "budgets"),
    [("auto", [10**6, 3 * 10**6, 10**7, 3 * 10**7]), (2 * 10**6, [10**6, 2 * 10**6]), (10**6, [10**6]), (50, [50])],
)
def test_a_run_passes_the_smaller_budgets(tokens: int, budgets: list[int]) -> None:
    assert tasks.load_language("moses-lm").budgets_up_to(tokens) == budgets


@pytest.mark.parametrize(
    ("data", "vocabulary", "name"),
    [
        ("auto", "dataset", "moses-lm"),
        ("moses", "dataset", "moses-lm"),
        ("../some where/Mine (2).smi.gz", "dataset", "moses-lm@mine--2-.smi.gz"),
        ("auto", "chemgpt", "moses-lm@chemgpt"),
    ],
)
def test_other_data_make_another_task(data: str, vocabulary: str, name: str) -> None:
    task, other = tasks.load_language("moses-lm"), tasks.load_language("moses-lm").with_data(data, vocabulary)
    assert other.name == name
    assert (other.digest == task.digest) == (name == "moses-lm")
    assert tasks.LanguageTask.model_validate(other.model_dump()) == other


GOOD = (tasks.FOLDER / "moses-lm.yaml").read_text().replace("moses-lm", "mine")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 3", "version: 0", "version"),
        ("data: moses", "data: moses\nextra: 1", "there is no field extra; there are name, version, "),
        ("vocabulary: ", "vocabulary_: ", "mine.yaml: there is no field vocabulary_; did you mean vocabulary.$"),
        ("version: 3\n", "", "mine.yaml: version must be there, got none; add it$"),
        ("[1e6, 3e6, 1e7, 3e7]", "[3e6, 1e6]", "ascend from at least 1, got .3000000, 1000000.; mend it$"),
        ("[1e6, 3e6, 1e7, 3e7]", "[many]", "whole number such as 1e8, got 'many'"),
        ("name: mine", "name: embedded-lm", "name must be its own, embedded-lm is a task of the project"),
        ("family: language_model", "family: poetry", "family"),
        ("name: mine", "name: [", "readable YAML"),
    ],
)
def test_a_broken_task_file_is_refused_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("name: mine", "name: any-other"))
    assert tasks.load(str(path)).name == "any-other"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UserError, match=message) as error:
        tasks.load(str(path))
    assert "\n" not in str(error.value)


def test_a_binary_task_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x9d")
    with pytest.raises(UserError, match="readable YAML"):
        tasks.load(str(path))


def test_an_unknown_task_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match="did you mean moses-lm"):
        tasks.load("mose-lm")


def test_a_run_that_names_no_number_of_frames_takes_the_most_that_its_task_compares() -> None:
    assert [tasks.load_force(name).frames("auto") for name in ("embedded-ff", "rmd17-ff")] == [500, 950]
    assert tasks.load_force("rmd17-ff").frames(50) == 50


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("moses-lm", "moses-lm"),
        ("moses-lm@smiles", "moses-lm@smiles"),
        ("rmd17-ff@ethanol", "rmd17-ff@ethanol"),
        ("pubchem10m-lm@mine.csv", "own data mine.csv, budgets of pubchem10m-lm"),
        ("pubchem10m-lm@mine.csv@smiles", "own data mine.csv, budgets of pubchem10m-lm (smiles)"),
    ],
)
def test_own_data_are_told_from_a_task(name: str, told: str) -> None:
    assert tasks.titled(name) == told
