"""Checkpoints that are missing, elsewhere, links, or more than weights; test_submit.py looks inside them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from chemscale_bench.leaderboard.levels import Level
from hostile.attacks import Attack, check_held, link, run

NOWHERE = {"weights_sha256": "a" * 64, "config_sha256": "a" * 64}


def extra(path: Path, name: str) -> None:
    path.with_suffix("").mkdir()
    (path.with_suffix("") / name).write_text("x")


def linked_weights(path: Path) -> None:
    """Give the first run a checkpoint whose weights are a link."""
    folder = path.with_suffix("") / json.loads(path.read_text())["runs"][0]["run"]
    folder.mkdir(parents=True)
    digests = {}
    for key, name, content in (("config", "config.json", b"{}"), ("weights", "model.safetensors", b"x")):
        (folder / name).write_bytes(content)
        digests[f"{key}_sha256"] = hashlib.sha256(content).hexdigest()
    run(path, checkpoint=digests)
    link(folder / "model.safetensors")


REFUSED: dict[str, Attack] = {
    "a file that nobody named": (lambda p: extra(p, "run.py"), "only"),
    "a pickle": (lambda p: extra(p, "pytorch_model.bin"), "only"),
    "folder is a link": (lambda p: p.with_suffix("").symlink_to("/etc"), "links"),
    "checkpoint is missing": (lambda p: run(p, checkpoint=NOWHERE), "beside"),
    "checkpoint elsewhere": (lambda p: run(p, checkpoint={**NOWHERE, "url": "file:///etc/passwd"}), "url"),
    "weights are a link": (linked_weights, "plain"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, honest: Path, tmp_path: Path) -> None:
    check_held(REFUSED[name], Level.REFUSED, honest, tmp_path)
