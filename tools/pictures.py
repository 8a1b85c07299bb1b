"""Make the README's pictures from logged runs: `python tools/pictures.py EXPERIMENT [TASK] [FOLDER]`.

The page shows the entries of leaderboard/, its board of TASK in front; the charts are those of EXPERIMENT in MLflow's
UI, from the store of MLFLOW_TRACKING_URI. `python tools/pictures.py --views EXPERIMENT FOLDER [FILE.html ...]` takes
every view, to be looked at, light and dark: MLflow's of that experiment, and the board's page and the files as wide as
a laptop and as a phone. Needs chromium and chromedriver (apt install chromium-driver), selenium and Pillow;
everything stays on this machine.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient, get_tracking_uri
from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from servers import free_port, kill, serve

from chemscale_bench.settings.leaderboard import LeaderboardSettings
from chemscale_bench.tracking.charts import address, page, share
from chemscale_bench.verbs.leaderboard import make

SECONDS = 120
PAGE = (1280, 1483)
CHARTS = (1500, 838)
WIDTHS, TALLEST = (1280, 390), 6000
TRAINING = "workflowType=machine_learning"
COLOURS = 128
"""Of a picture's palette: half the bytes, and nothing that the eye would miss."""
# What would fill the picture with a list of all models, or stand half cut off.
CROP = """document.querySelector('.scroll').style.maxHeight = '19rem';
document.getElementById('models').style.display = 'none';
document.documentElement.style.scrollbarWidth = 'none';
document.activeElement.blur()"""
TIDY = """document.querySelectorAll('button[aria-label="Close"]').forEach((button) => button.click());
const style = document.createElement('style');
style.textContent = '.modebar, [role=alert] { display: none !important }';
document.head.append(style)"""
CHOOSE = """const select = document.getElementById('task');
select.value = [...select.options].find((option) => option.text === arguments[0]).value;
select.dispatchEvent(new Event('change'))"""


@contextmanager
def browser(size: tuple[int, int]) -> Iterator[Any]:
    """Chromium without a window, of a laptop's size."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size={},{}".format(*size)):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def wait(driver: Any, condition: str) -> None:
    """Wait until a condition in the page holds, and for what is drawn then to settle."""
    WebDriverWait(driver, SECONDS).until(lambda page: page.execute_script("return " + condition))
    time.sleep(2)


def save(driver: Any, path: Path) -> None:
    """Save what the window shows, as a picture of few bytes."""
    picture = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    picture.quantize(COLOURS).save(path, optimize=True)
    print(f"{path}: {picture.width} x {picture.height}, {path.stat().st_size / 1000:.0f} kB")


def picture_of_the_page(task: str, path: Path) -> None:
    """The leaderboard with one task in front."""
    with tempfile.TemporaryDirectory() as folder, browser(PAGE) as driver:
        out = Path(folder) / "index.html"
        make(LeaderboardSettings(out=str(out), log=False))
        driver.get(out.as_uri())
        wait(driver, "document.querySelectorAll('#figure .trace').length > 0")
        driver.execute_script(CHOOSE, task)
        wait(driver, "document.querySelectorAll('#figure .trace').length > 0")
        for selector in ("#board th[data-column=level] button", "#axis input[value=data]"):  # our own studies first
            driver.execute_script("document.querySelector(arguments[0]).click()", selector)
        driver.execute_script(CROP)
        time.sleep(2)
        save(driver, path)


@contextmanager
def mlflow_server() -> Iterator[str]:
    """The address of MLflow's UI over the store of MLFLOW_TRACKING_URI."""
    port = free_port()
    server = serve(get_tracking_uri(), port)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        kill(server)


def picture_of_the_charts(experiment: str, path: Path) -> None:
    """The charts with which MLflow's UI opens an experiment of this suite."""
    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    share(client, found.experiment_id)  # the charts of today, whenever the experiment was begun
    with mlflow_server() as server, browser(CHARTS) as driver:
        driver.get(server + address(found.experiment_id))
        wait(driver, "document.querySelectorAll('.js-plotly-plot .main-svg').length > 1")
        driver.execute_script(TIDY)
        time.sleep(3)
        save(driver, path)


def pictures_of_all_views(experiment: str, folder: Path, files: list[Path]) -> None:
    """Every view that a user comes to, at both widths, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    found = MlflowClient().get_experiment_by_name(experiment)
    runs = MlflowClient().search_runs([found.experiment_id], "attributes.status = 'FINISHED'")
    run = next(run for run in runs if "non_embedding_params" in run.data.params)
    about = f"#/experiments/{found.experiment_id}"
    ids = json.dumps([each.info.run_id for each in runs[:4]]).replace(" ", "")
    make(LeaderboardSettings(out=str(folder / "board.html"), log=False))
    with mlflow_server() as server, browser(CHARTS) as driver:
        views = {
            "charts": server + address(found.experiment_id), "runs": f"{server}{about}/runs?{TRAINING}",
            "clicked": server + about,  # as who has not turned MLflow's switch
            "run": server + page(found.experiment_id, run.info.run_id),
            "compare": f'{server}#/compare-runs?runs={ids}&experiments=["{found.experiment_id}"]&{TRAINING}',
            **{file.stem: file.absolute().as_uri() for file in (folder / "board.html", *files)},
        }  # fmt: skip
        for theme in ("light", "dark"):
            feature = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
            for name, url in views.items():
                for width in WIDTHS if url.startswith("file") else WIDTHS[:1]:  # MLflow has no layout for a phone
                    show(driver, url, width, theme)
                    save(driver, folder / f"{name}-{width}-{theme}.png")


def show(driver: Any, url: str, width: int, theme: str) -> None:
    """Open a view as wide as a screen, and as tall as it is."""
    own = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", own)
    driver.get("about:blank")  # a change behind the # alone would not load the page anew
    driver.get(url)
    if url.startswith("http"):  # MLflow's own switch
        driver.execute_script(
            f"localStorage.setItem('_mlflow_dark_mode_toggle_enabled', '{str(theme == 'dark').lower()}')"
        )
        driver.get("about:blank")
        driver.get(url)
        time.sleep(20)  # until charts are drawn, or there are none
        driver.execute_script(TIDY)
    time.sleep(8)
    tall = driver.execute_script("return document.documentElement.scrollHeight")
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", own | {"height": min(TALLEST, max(900, tall))})
    beyond = driver.execute_script("return document.documentElement.scrollWidth") - width
    if beyond > 0:
        print(f"{url}: {beyond} px wider than the screen of {width}")
    time.sleep(1)


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    if given[1] == "--views":
        pictures_of_all_views(given[2], Path(given[3]), [Path(name) for name in sys.argv[4:]])
        sys.exit()
    target = Path(given.get(3, "leaderboard"))
    picture_of_the_charts(given[1], target / "charts.png")
    picture_of_the_page(given.get(2, "rmd17-ff@ethanol"), target / "page.png")
