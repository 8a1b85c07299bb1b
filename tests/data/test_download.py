"""Downloads against a web server on this machine: what arrives whole is kept, what does not leaves no file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from chemscale_bench.data import sources
from chemscale_bench.data.download import fetch
from chemscale_bench.data.sources import Download, open_source
from chemscale_bench.errors import UserError

CONTENT = b"CCO\nCC\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_a_file_is_downloaded_once(server: tuple[str, Path], cache: Path) -> None:
    url, folder = server
    (folder / "a.smi").write_bytes(CONTENT)
    file = fetch("a.smi", (f"{url}/missing", f"{url}/a.smi"), SHA256, "do without")
    assert file.read_bytes() == CONTENT
    (folder / "a.smi").unlink()
    assert fetch("a.smi", (f"{url}/a.smi",), SHA256, "do without") == file
    assert [path.name for path in (cache / "downloads").iterdir()] == ["a.smi"]


def test_a_mirror_goes_first_and_trust_is_spoken_of(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, folder = server
    (folder / "a.smi").write_bytes(CONTENT)
    monkeypatch.setenv("CHEMSCALE_MIRROR", url + "/")
    assert fetch("a.smi", ("http://127.0.0.1:1/a.smi",), None, "do without").read_bytes() == CONTENT
    assert f"no published checksum; what arrived has the sha256 {SHA256}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("served", "sha256", "words"),
    [
        ("a.smi", "0" * 64, "sha256 differs"),
        ("missing.smi", SHA256, "server answered 404"),
        ("cut-a.smi", None, "broke off"),
    ],
)
def test_a_failed_download_names_the_cure_and_leaves_nothing(
    served: str, sha256: str | None, words: str, server: tuple[str, Path], cache: Path
) -> None:
    url, folder = server
    for name in ("a.smi", "cut-a.smi"):
        (folder / name).write_bytes(CONTENT)
    with pytest.raises(UserError, match=words) as caught:
        fetch("a.smi", (f"{url}/{served}",), sha256, "do without")
    assert f"put it at {cache / 'downloads' / 'a.smi'}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((cache / "downloads").iterdir())


def test_no_network_is_one_line_with_the_offline_way(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline = Download("pubchem_10m.txt.zip", ("http://127.0.0.1:1/pubchem_10m.txt.zip",), None)
    monkeypatch.setitem(sources.DOWNLOADS, "pubchem10m", offline)
    with pytest.raises(UserError, match=r"no connection.*put it at .*pubchem_10m\.txt\.zip.*data=embedded") as caught:
        open_source("pubchem10m")
    assert "\n" not in str(caught.value)


def test_a_damaged_file_in_the_cache_is_refused(cache: Path) -> None:
    (cache / "downloads").mkdir()
    (cache / "downloads" / "a.smi").write_bytes(b"other")
    with pytest.raises(UserError, match="delete it"):
        fetch("a.smi", (), SHA256, "do without")


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHEMSCALE_HOME", str(tmp_path / "file" / "below"))
    with pytest.raises(UserError, match="set CHEMSCALE_HOME"):
        fetch("a.smi", ("http://127.0.0.1:1/a.smi",), None, "do without")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="pubchem10m, pubchem, moses, embedded or an existing file, got pubchen"):
        open_source("pubchen")


@pytest.mark.parametrize("name", ["pubchem10m", "pubchem"])
def test_a_downloaded_set_put_in_place_by_hand_is_used(name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = {"pubchem10m": "CCO\nCC\n", "pubchem": "1\tCCO\n2\tCC\n"}[name]
    entry = sources.DOWNLOADS[name]
    unchecked = Download(entry.file_name, entry.urls, None, entry.layout)
    monkeypatch.setitem(sources.DOWNLOADS, name, unchecked)
    (cache / "downloads").mkdir()
    (cache / "downloads" / entry.file_name).write_text(text)
    (lines,) = open_source(name).in_random_order(10, 0, lambda _: None)
    assert sorted(lines.molecules) == ["CC", "CCO"]
