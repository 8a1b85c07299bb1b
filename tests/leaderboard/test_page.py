"""The page in a real browser: tables sort, the figure follows the toggles, and what strangers wrote stays text."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest

from chemscale_bench.leaderboard import page
from chemscale_bench.leaderboard.board import Board, build
from chemscale_bench.leaderboard.collect import Refusal, read_entries
from chemscale_bench.leaderboard.laws import Estimate
from chemscale_bench.leaderboard.levels import Level
from chemscale_bench.leaderboard.planted import plant
from chemscale_bench.leaderboard.published import read_published
from chemscale_bench.verbs.leaderboard import PUBLISHED

SCRIPT = "<script>document.title='hit'</script><img src=x onerror=\"document.title='hit'\">"

DASH = "\N{EN DASH}"


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> list[Board]:
    """Two language models, one whose every text is a script, papers, and a force field."""
    root = tmp_path_factory.mktemp("entries")
    plant(root, "Worse", factor=1.05, molecules=1_000)
    plant(root, "Better", gpu=True, molecules=1_000, probed=True)
    plant(
        root, "Emmy", family="force_field", sizes=(4_000, 16_000, 64_000), budgets=(50, 100, 200), seeds=1, moved=True
    )
    studies, _ = read_entries(root, Level.CONSISTENT)
    worse = next(study for study in studies if study.submitter == "Worse")
    hostile = dict.fromkeys(("submitter", "name", "link", "note", "why_not_next", "model"), SCRIPT + "</script>")
    runs = tuple(
        run.model_copy(update={"device": SCRIPT, "run": SCRIPT, "settings": {"x": SCRIPT}}) for run in worse.runs
    )
    studies.append(dataclasses.replace(worse, kind="experiment", runs=runs, **hostile))  # type: ignore[arg-type]
    published, _ = read_published(PUBLISHED)
    return build([*studies, *published])


@pytest.fixture(scope="module")
def address(boards: list[Board], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "index.html"
    _, tables = read_published(PUBLISHED)
    path.write_text(page.render(boards, [Refusal("a/b/" + SCRIPT, SCRIPT)], tables, SCRIPT))
    return path.as_uri()


@pytest.fixture
def shown(address: str, browser: Any) -> Any:
    browser.get_log("browser")
    browser.get(address)
    wait(browser, "return document.querySelectorAll('#figure .trace').length > 0")
    yield browser
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    assert browser.title == "Leaderboard: neural scaling in chemistry"


def wait(browser: Any, condition: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(condition))


def column(browser: Any, name: str) -> list[str]:
    script = """const heads = [...document.querySelectorAll('#board th[data-column]')];
    const place = heads.findIndex((th) => th.dataset.column === arguments[0]);
    return [...document.querySelectorAll('#board tr.study')].map((tr) => tr.cells[place].innerText)"""
    return list(browser.execute_script(script, name))


def choose(browser: Any, name: str, text: str) -> None:
    script = """const select = document.getElementById(arguments[0]);
    select.value = [...select.options].find((option) => option.text === arguments[1]).value;
    select.dispatchEvent(new Event('change'))"""
    browser.execute_script(script, name, text)


def click(browser: Any, selector: str) -> None:
    browser.execute_script("arguments[0].click()", browser.find_element("css selector", selector))


def test_sorting(shown: Any) -> None:
    assert column(shown, "value") == ["1", "2", "3"]
    assert column(shown, "name")[0] == "chemgpt\nBetter"
    head = "#board th[data-column=loss] button"
    click(shown, head)
    ascending = [float(re.split(r"[\s\[]", text)[0]) for text in column(shown, "loss")]
    assert ascending == sorted(ascending)
    click(shown, head)
    assert [float(re.split(r"[\s\[]", text)[0]) for text in column(shown, "loss")] == ascending[::-1]
    assert shown.find_element("css selector", "#board th[data-column=loss]").get_attribute("aria-sort") == "descending"
    assert shown.switch_to.active_element.text.startswith("loss"), "the keyboard stays where it was"


def test_what_is_missing_comes_last_either_way(shown: Any) -> None:
    for _ in range(2):
        click(shown, "#board th[data-column=energy] button")
        values = column(shown, "energy")
        assert values[0] not in values[1:]
        assert values[1] == values[2] == DASH


def test_budget_and_filter(shown: Any) -> None:
    before = column(shown, "loss")
    choose(shown, "budget", "30,000 tokens")
    assert column(shown, "loss") != before
    shown.find_element("id", "filter").send_keys("h100")
    assert [name.split("\n")[1] for name in column(shown, "name")] == ["Better"]


def test_toggles_of_the_figure(shown: Any) -> None:
    traces = "return document.getElementById('figure').data.filter((t) => t.showlegend !== false).length"
    assert shown.execute_script(traces) == 3
    click(shown, "#models input")
    wait(shown, traces.replace("return ", "return 3 > "))
    remaining = shown.execute_script(traces)
    for axis, title in (
        ("flops", "training FLOPs"),
        ("energy", "energy of training (kJ)"),
        ("data", "training tokens"),
    ):
        click(shown, f"#axis input[value={axis}]")
        wait(shown, f"return document.getElementById('figure').layout.xaxis.title.text === '{title}'")
    assert remaining in (1, 2)
    click(shown, "#models input")
    wait(shown, traces.replace("return ", "return 3 === "))


def test_details_open_by_keyboard_and_hostile_texts_stay_texts(shown: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    for row in range(3):
        button = shown.find_elements("css selector", "#board tr.study button")[row]
        button.send_keys(Keys.ENTER)
        assert shown.switch_to.active_element.get_attribute("aria-expanded") == "true"
    text = shown.find_element("id", "board").text
    for part in ("settings", "software", "run", "your experiment " + SCRIPT):
        assert part in text
    assert SCRIPT in shown.find_element("id", "refused").text
    assert SCRIPT in shown.find_element("id", "made").text
    assert (
        shown.execute_script(
            "return document.querySelectorAll('main script, main img, main a[href^=javascript]').length"
        )
        == 0
    )
    assert not shown.find_elements("css selector", "a[href*='script']")


def test_papers_are_marked(shown: Any) -> None:
    choose(shown, "task", "rmd17-ff@aspirin")
    assert "MACE" in column(shown, "name")[0]
    assert set(column(shown, "level")) == {"published"}
    heads = "return [...document.querySelectorAll('#board th[data-column]')].map((th) => th.dataset.column)"
    assert shown.execute_script(heads) == ["value", "name", "loss", "level", "device"], "empty columns are hidden"
    assert "ROGI-XD" in shown.find_element("id", "elsewhere").text


def molecules(browser: Any, name: str, table: str = "molecules") -> list[str]:
    script = """const heads = [...document.querySelectorAll(`#${arguments[1]}-table thead th`)];
    const place = heads.findIndex((th) => th.innerText === arguments[0]);
    return [...document.querySelectorAll(`#${arguments[1]}-table tbody tr`)].map((tr) => tr.cells[place].innerText)"""
    return list(browser.execute_script(script, name, table))


def test_an_interval_without_an_upper_end_says_so(boards: list[Board], browser: Any, tmp_path: Path) -> None:
    board = copy.deepcopy(next(board for board in boards if board.task == "embedded-lm"))
    for row in board.rows:
        row.laws = row.laws._replace(predicted=Estimate(0.9, 0.67, math.inf))
    (tmp_path / "index.html").write_text(page.render([board]))
    browser.get((tmp_path / "index.html").as_uri())
    wait(browser, "return document.querySelectorAll('#figure .trace').length > 0")
    assert set(column(browser, "predicted")) == {"0.9000\n[0.6700, no upper bound]"}
    assert "no upper bound: its runs tell none" in browser.find_element("id", "legend").text
    before = browser.get_window_size()
    browser.set_window_size(900, 700)
    wait(browser, "return document.querySelector('#figure .svg-container').style.height !== '460px'")  # drawn anew
    ends = """return ['#figure .main-svg', '#figure-note']
    .map((what) => document.querySelector(what).getBoundingClientRect())"""
    figure, note = browser.execute_script(ends)
    browser.set_window_size(before["width"], before["height"])
    assert figure["bottom"] <= note["top"] < note["bottom"], "the figure does not cover its note"


def test_molecules_stand_beside_published_ones(shown: Any) -> None:
    distances = [float(text) for text in molecules(shown, "FCD, test")]
    assert len(distances) == 3 * 18
    assert distances == sorted(distances)
    assert set(molecules(shown, "level")) == {"consistent", "yours"}
    assert SCRIPT in "".join(molecules(shown, "model")), "texts of strangers stay texts"
    wait(shown, "return document.getElementById('molecules-figure').data?.length === 3 * 6")
    choose(shown, "task", "moses-lm")
    assert molecules(shown, "model")[0] == "CharRNN\nPolykovskiy et al. 2020"
    assert molecules(shown, "FCD, scaffolds")[0] == "0.520"
    assert set(molecules(shown, "level")) == {"published"}
    assert not shown.find_element("id", "molecules-figure").is_displayed(), "there is nothing of ours to draw"
    choose(shown, "task", "rmd17-ff@aspirin")
    assert not shown.find_element("id", "molecules").is_displayed()


def test_features_stand_beside_those_of_the_untrained_network(shown: Any) -> None:
    assert len(molecules(shown, "model", "features")) == 18
    assert set(molecules(shown, "level", "features")) == {"consistent"}
    errors, losses = (molecules(shown, name, "features") for name in ("ESOL, RMSE", "loss"))
    assert [float(text) for text in losses] == sorted(float(text) for text in losses)
    assert list(map(float, errors)) == pytest.approx(list(map(float, losses)), abs=0.001)  # as planted
    assert set(molecules(shown, "ESOL, untrained", "features")) == {"0.900"}
    heads = shown.find_element("id", "features-table").text
    assert "BBBP, ROC-AUC" in heads
    assert "BACE" not in heads, "empty columns are hidden"
    choose(shown, "task", "moses-lm")
    assert not shown.find_element("id", "features").is_displayed()


def test_motion_stands_under_force_fields(shown: Any) -> None:
    assert not shown.find_element("id", "motion").is_displayed()
    choose(shown, "task", "embedded-ff@ethanol")
    assert molecules(shown, "model", "motion") == ["painn\nEmmy; 4 replicas of 2 ps"] * 9
    errors, drifts = (molecules(shown, name, "motion") for name in ("force MAE meV / Å", "drift, 500 K"))
    assert [float(text) for text in errors] == sorted(float(text) for text in errors)
    planted = [float(text) / 10 for text in errors]
    assert [float(text.removesuffix(" ± 1.5")) for text in drifts] == pytest.approx(planted, abs=0.1)
    assert set(molecules(shown, "held, 500 K", "motion")) == {"2.00"}
    assert all(1.5 < float(text) < 2 for text in molecules(shown, "NVE, 1200 K", "motion"))


def test_no_scroll_sideways_on_a_phone(address: str, browser: Any) -> None:
    browser.set_window_size(500, 900)
    try:
        browser.get(address)
        wait(browser, "return document.querySelectorAll('#figure .trace').length > 0")
        click(browser, "#board tr.study button")
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        cut = """return [...document.querySelectorAll('table th, table td, table button, .more .inside')]
        .filter((cell) => cell.getBoundingClientRect().right > window.innerWidth).map((cell) => cell.outerHTML)"""
        assert browser.execute_script(cut) == [], "a row that is too wide for the screen stands below itself"
        heads = "return [...document.querySelectorAll('#board tr.study:first-child td')].map((td) => td.dataset.head)"
        assert {"#", "loss nats per token", "device"} <= set(browser.execute_script(heads)), "a cell tells what it is"
    finally:
        browser.set_window_size(1400, 1600)


def test_data_cannot_end_their_script_and_nothing_is_loaded(boards: list[Board]) -> None:
    html = page.render(boards, [Refusal("x", "</script><script>alert(1)</script>{{plotly}}")])
    assert html.count("</script>") == 3
    assert "\\u003c/script>\\u003cscript>alert(1)\\u003c/script>{{plotly}}" in html
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", html.split("<script>")[0])
    assert "default-src 'none'" in html


def test_table_has_every_result(boards: list[Board]) -> None:
    table = page.table(boards)
    ours = table[table["name"].str.endswith(".json")]
    assert len(ours) == 9
    assert (ours[ours["submitter"] == "Better"]["rank"] == 1).all()
