"""Fixtures for all tests: nothing but the compiled kernel reaches the user's cache, and nothing the tracking store."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chemscale_bench.data.cache import home

ROOT = Path(__file__).parents[1]
NUMBA = home() / "numba"
"""Where this process keeps the compiled kernel, whatever cache a test has: compiling it takes half a minute."""

# Tests run side by side, and a run in this process has to be that of one that they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A suite started in the background inherits that Ctrl-C is ignored, and would pass it on to the tools it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real molecules and frames that lies beside the repository on machines that have it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs real data in ../shared/data")
    return folder


def share(home: Path, tmp_path_factory: pytest.TempPathFactory, *names: str) -> None:
    """Make folders of a cache those of all tests that share them."""
    base = tmp_path_factory.getbasetemp()
    for name in names:
        folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared" / name
        folder.mkdir(parents=True, exist_ok=True)
        (home / name).symlink_to(folder)


def make_home(folder: Path) -> Path:
    """A cache with nothing in it but the compiled kernel, so that a process that a test starts compiles none."""
    folder.mkdir()
    NUMBA.mkdir(parents=True, exist_ok=True)
    (folder / "numba").symlink_to(NUMBA)
    return folder


@pytest.fixture(scope="session", autouse=True)
def not_the_users_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache for what fixtures do that live longer than a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHEMSCALE_HOME", str(make_home(tmp_path_factory.mktemp("session") / "home")))
        yield


@pytest.fixture(autouse=True)
def chemscale_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    home = make_home(tmp_path_factory.mktemp("home") / "home")
    monkeypatch.setenv("CHEMSCALE_HOME", str(home))
    return home


@pytest.fixture
def prepared(chemscale_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The cache has the molecules that any such test has prepared; preparing them takes seconds."""
    share(chemscale_home, tmp_path_factory, "lines", "tokens")


@pytest.fixture(scope="module")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the first run of a file of tests fills and the others find filled, molecules those of any file."""
    home = make_home(tmp_path_factory.mktemp("prepared") / "home")
    share(home, tmp_path_factory, "lines", "tokens")
    return home


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without a run; making one takes seconds, so that tests copy it."""
    from chemscale_bench.tracking.store import prepare_store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    prepare_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def tracking_uri(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tracking store without a run, set for this process and those it starts."""
    import mlflow

    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    mlflow.set_tracking_uri(uri)
    yield uri
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One for all tests; they take `browser`."""
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver (apt install chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1600"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """Chromium without a window; a page that is left open would go on drawing, on the cores that other tests need."""
    yield chromium
    chromium.get("about:blank")
