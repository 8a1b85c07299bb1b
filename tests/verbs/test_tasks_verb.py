"""The verb `tasks`: everything there is to measure, and what of its data is here."""

from __future__ import annotations

from pathlib import Path

import pytest

from chemscale_bench import tasks
from chemscale_bench.cli import main
from chemscale_bench.data.catalogue import DATA_SETS
from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.sources import WHEELS


def test_every_task_is_listed_and_its_data_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    main(["tasks"])
    listed = capsys.readouterr().out
    for name in tasks.names():
        task = tasks.load(name)
        assert f"{name}: {task.description}" in listed
        assert (task.family, task.data) in DATA_SETS


def test_what_is_here_is_said(chemscale_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["tasks", "--task", "moses-lm"])
    assert "to be downloaded" in capsys.readouterr().out
    folder = chemscale_home / "downloads" / "molsets-0.3.1"
    folder.mkdir(parents=True)
    for name in WHEELS["moses"].members:
        (folder / name).touch()
    main(["tasks", "--task", "moses-lm"])
    assert "; downloaded" in capsys.readouterr().out
    prepare("embedded", train_tokens=1000, validation_molecules=10)
    main(["tasks", "--task", "embedded-lm"])
    assert "training tokens prepared" in capsys.readouterr().out
    (chemscale_home / "frames" / "rmd17").mkdir(parents=True)
    (chemscale_home / "frames" / "rmd17" / "rmd17_ethanol.npz").touch()
    main(["tasks", "--task", "md17-ff"])
    assert "1 of 10 molecules unpacked" in capsys.readouterr().out


def test_a_task_of_your_own_is_shown_as_declared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.yaml"
    text = (tasks.FOLDER / "moses-lm.yaml").read_text()
    path.write_text(text.replace("name: moses-lm", "name: tiny-lm").replace("data: moses", "data: mine.smi"))
    main(["tasks", "--task", str(path)])
    shown = capsys.readouterr().out
    assert "mine.smi: a file of yours" in shown
    assert f"chemscale language --task {path}" in shown
    assert "validation_molecules: 20000" in shown
