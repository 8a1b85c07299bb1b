"""The charts that come with an experiment, as MLflow's own page draws them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from servers import free_port, kill, serve

from chemscale_bench.shell import mlflow_ui
from chemscale_bench.tracking import charts
from chemscale_bench.tracking.families import below, describe_family
from chemscale_bench.tracking.housekeeping import housekeeping_run
from chemscale_bench.tracking.looking import look_at
from chemscale_bench.tracking.store import experiment_id


def log_run(client: Any, experiment: str, size: int) -> None:
    from mlflow.entities import Metric, Param

    run = client.create_run(experiment, run_name=f"size {size}").info.run_id
    params = {"model": "chemgpt", "non_embedding_params": size, "peak_learning_rate": 1 / size, "seed": 0}
    points = [Metric(charts.CURVES["training loss over tokens"][0], 5 / step, 0, step) for step in (1000, 2000, 4000)]
    values = {charts.LOSS: 1e5 / size, "log10/non_embedding_params": size, "log10/flops": size, "cost/train_seconds": 1}
    points += [Metric(key, float(value), 0, 4000) for key, value in values.items()]
    client.log_batch(run, metrics=points, params=[Param(key, str(value)) for key, value in params.items()])
    client.set_terminated(run)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[tuple[str, str]]:
    """A store, and the address of MLflow's UI over it; every test has experiments of its own there."""
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('served') / 'mlflow.db')}"
    port = free_port()
    process = serve(uri, port)
    yield uri, f"http://127.0.0.1:{port}/"
    kill(process)


@pytest.fixture
def server(tracking_uri: str, served: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of MLflow's UI over the store that is set."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served[0])
    mlflow.set_tracking_uri(served[0])
    return served[1]


def test_where_to_look_is_an_address_that_shows_the_run_and_the_charts_of_its_experiment(
    browser: Any, served: tuple[str, str], server: str
) -> None:
    from mlflow import MlflowClient
    from selenium.webdriver.support.ui import WebDriverWait

    client = MlflowClient()
    experiment = experiment_id("training")
    for size in (3, 4, 5):
        log_run(client, experiment, size)
    (run,) = client.search_runs([experiment], "attributes.run_name = 'size 3'")
    told = look_at(run.info.run_id)
    assert told.startswith(f"{mlflow_ui()}    # then open http://localhost:5000/#/experiments/{experiment}/runs/")
    mlflow.set_tracking_uri(server)  # as that of a team, which serves the pages itself
    try:
        page, others = look_at(run.info.run_id), look_at(run.info.run_id, beside_others=True)
    finally:
        mlflow.set_tracking_uri(served[0])
    assert page == server + told.partition("5000/")[2]
    assert others == server + charts.address(experiment)
    browser.set_window_size(1800, 2400)
    for address, wanted in ((page, "About this run"), (others, "Curves and scaling")):
        browser.get("about:blank")
        browser.get(address)
        shown = (
            f"return ['size 3', 'Model registry', {wanted!r}].every((text) => document.body.innerText.includes(text))"
        )
        WebDriverWait(browser, 120).until(lambda driver, shown=shown: driver.execute_script(shown))
        assert "Prompts" not in browser.find_element("tag name", "body").text, "the view of applications"
    drawn = "return document.querySelectorAll('.js-plotly-plot').length >= 4 && !!document.querySelector('.parcoords')"
    WebDriverWait(browser, 120).until(lambda driver: driver.execute_script(drawn))
    text = browser.find_element("tag name", "body").text
    for section in ("Curves and scaling", "Settings and results", "these charts"):
        assert section in text
    axes = """return [...document.querySelectorAll('.js-plotly-plot')].map((plot) => plot._fullLayout)
    .filter((layout) => layout.xaxis && layout.xaxis.type === 'log' && layout.yaxis.type === 'log').length"""
    assert browser.execute_script(axes) == 1


def test_only_training_gets_charts(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("CHEMSCALE_LAUNCHED_RUN", "")
    client = MlflowClient()
    tags = client.get_experiment(experiment_id("training")).tags
    assert tags[charts.TAG] == charts.pack(charts.view())
    assert charts.KEY in tags["mlflow.note.content"]
    assert tags["mlflow.note.content"].startswith(
        "Trainings, compared by loss and settings in [these charts](#/experiments/"
    )
    with housekeeping_run("test") as run:
        housekeeping = client.get_experiment(client.get_run(run).info.experiment_id)
    assert charts.TAG not in housekeeping.tags
    assert "nothing is trained here" in housekeeping.tags["mlflow.note.content"]
    assert all(tags.items() >= charts.KIND.items() for tags in (tags, housekeeping.tags)), "shown as one of training"


def test_an_experiment_that_mlflow_run_has_just_made_gets_them_too(tracking_uri: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient()
    for runs in (1, 2):
        made = client.create_experiment(f"with {runs} runs")  # --experiment-name
        for _ in range(runs):
            client.create_run(made)
        charts.share_if_new(client, made)
        tags = client.get_experiment(made).tags
        assert ({charts.TAG, *charts.KIND} <= tags.keys()) is (runs == 1), "one with other runs is somebody else's"


def test_children_of_a_parent_are_compared_by_what_was_searched(browser: Any, server: str) -> None:
    from mlflow import MlflowClient
    from selenium.webdriver.support.ui import WebDriverWait

    client = MlflowClient()
    experiment = experiment_id("search")
    parent = client.create_run(experiment, run_name="the search").info.run_id
    for size in (3, 4, 5):
        log_run(client, experiment, size)
    for run in client.search_runs([experiment], "attributes.run_name != 'the search'"):
        for key, value in below(parent).items():
            client.set_tag(run.info.run_id, key, value)
    describe_family(client, parent, charts.LOSS, "Three sizes.", {4000: 2.5}, ["peak_learning_rate"])
    assert client.get_run(parent).data.metrics[charts.LOSS] == 2.5
    note = client.get_run(parent).data.tags["mlflow.note.content"].splitlines()
    assert note[0] == "Three sizes."
    assert [line.split("]")[0] for line in note if line.startswith("| [")] == ["| [size 5", "| [size 4", "| [size 3"]
    browser.set_window_size(1800, 2400)
    browser.get(f"{server}#/experiments/{experiment}/runs")  # as who clicks on its name
    shown = "return ['the search', 'size 3', 'size 5'].every((name) => document.body.innerText.includes(name))"
    WebDriverWait(browser, 120).until(lambda driver: driver.execute_script(shown), "children are folded")
    browser.get(server + charts.address(experiment))
    drawn = "return !!document.querySelector('.parcoords') && document.querySelectorAll('.js-plotly-plot').length >= 4"
    WebDriverWait(browser, 120).until(lambda driver: driver.execute_script(drawn))
    text = browser.find_element("tag name", "body").text
    assert "No charts in this section" not in text
    assert "size 5" in text  # a child, not folded below its parent
    assert "peak_learning_rate" in browser.find_element("css selector", ".parcoords").get_attribute("textContent")


def test_a_search_has_one_chart_of_its_settings() -> None:
    for metric in (charts.LOSS, charts.FORCES):
        shown = charts.view(["peak_learning_rate"], metric, [metric])["compareRunCharts"]
        (parallel,) = [chart for chart in shown if chart["type"] == "PARALLEL"]  # MLflow gives all of them one title
        assert parallel["selectedMetrics"][-1] == metric
        assert parallel["selectedParams"] == ["peak_learning_rate"]


def test_a_store_that_takes_no_charts_still_takes_runs(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def refuse(*_: object) -> None:
        raise MlflowException("too long")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)
    assert experiment_id("training") == experiment_id("training")
