"""A state is one file, whole or as it was."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
import torch

from chemscale_bench.errors import UserError
from chemscale_bench.training import checkpoints
from chemscale_bench.training.checkpoints import size_of


def test_the_bytes_of_all_tensors_count() -> None:
    state = {"a": torch.zeros(3), "b": [torch.zeros(2, dtype=torch.float64), (torch.zeros(1),)], "c": 5, "d": None}
    assert size_of(state) == 12 + 16 + 4
    assert size_of({}) == size_of("text") == 0


def test_a_state_is_written_wholly_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.pt"
    checkpoints.save_state({"position": 1}, path)
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Exception, match=r"\(No space left on device\).*CHEMSCALE_HOME"):
        checkpoints.save_state({"position": 2}, path)
    assert checkpoints.load_state(path) == {"position": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_with_code_in_it_is_not_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"position": Evil()}, tmp_path / "state.pt")
    with pytest.raises(Exception, match=r"[Ww]eights"):
        checkpoints.load_state(tmp_path / "state.pt")
    assert not (tmp_path / "executed").exists()


def test_a_full_disk_is_told_in_one_line_and_the_last_state_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs" / "a1b2" / "state.pt"
    state = {"weights": torch.zeros(300_000)}
    checkpoints.save_state(state, path)
    before = path.read_bytes()

    def full(state: object, file: IO[bytes]) -> None:
        file.write(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 2118976 vs 2118864")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RuntimeError, match="unexpected pos"):  # there is room: something else is wrong
        checkpoints.save_state(state, path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(
        UserError, match=r"about 1\.1 MiB must be written to .*MiB are free \(\[enforce.*resume=a1b2"
    ) as caught:
        checkpoints.save_state(state, path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["state.pt"]
