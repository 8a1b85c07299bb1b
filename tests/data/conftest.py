"""Fixtures of the data tests: a cache of their own, real molecules where there are some, a local web server."""

from __future__ import annotations

import lzma
import os
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chemscale_bench.data import prepare
from chemscale_bench.data.codec import warm_up
from chemscale_bench.data.embedded import files
from chemscale_bench.data.layout import find_layout

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    warm_up()


@pytest.fixture(autouse=True)
def cache(chemscale_home: Path) -> Path:
    """An empty cache folder, except that the compiled kernel is there."""
    return chemscale_home


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 256 lines, so that a few thousand molecules have many."""
    monkeypatch.setattr(prepare, "BATCH_LINES", 64)
    monkeypatch.setattr(prepare, "SHARD_BATCHES", 4)


@pytest.fixture(scope="session")
def molecules() -> list[str]:
    """3,000 of the molecules inside RDKit, shuffled."""
    layouts = {file: find_layout(file)[0] for file in files()}
    smiles = [layout.molecule(line) for file, layout in layouts.items() for line in file.read_text().splitlines()]
    return random.Random(0).sample(smiles, 3000)


@pytest.fixture
def smi(tmp_path: Path, molecules: list[str]) -> Path:
    """Those molecules as a file."""
    file = tmp_path / "molecules.smi"
    file.write_text("\n".join(molecules) + "\n")
    return file


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Finds a file of real data, or skips."""

    def find(name: str) -> Path:
        if not (SHARED / name).exists():
            pytest.skip(f"the real data file {name} is not beside this checkout")
        return SHARED / name

    return find


@pytest.fixture(scope="session")
def sample(shared: Callable[[str], Path]) -> Callable[[str, int], list[str]]:
    """Draws lines of a compressed file of real molecules."""

    def draw(name: str, count: int) -> list[str]:
        with lzma.open(shared(name), "rt") as stream:
            lines = stream.read(60 * count * 40).split("\n")[:-1]
        return random.Random(0).sample(lines, count)

    return draw


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder; a file whose name starts with cut- is announced longer than it is."""

    def log_message(self, *_: object) -> None:
        pass

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Content-Length" and os.path.basename(self.path).startswith("cut-"):
            value = str(int(value) + 1000)
        super().send_header(keyword, value)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Url and folder of a web server on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}", folder
        web.shutdown()
