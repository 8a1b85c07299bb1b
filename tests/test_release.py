"""What stands beside the code says the same as the code."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["references"][0]["doi"] in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/workflows/*.yml")), ids=lambda path: path.stem)
def test_workflows_call_what_is_there_on_a_python_that_is_tested(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    text = path.read_text()
    for found in re.findall(r"(?:tests|tools|leaderboard|\.ci)/[\w/.-]*\w", text):
        assert (ROOT / found).exists(), found
    assert set(re.findall(r'"(3\.\d+)"', text)) <= {"3.11", "3.12", "3.13"}


def test_links_between_pages_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "leaderboard/README.md"):
        page = ROOT / name
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{target} in {name}"


def test_the_container_for_development_is_made_by_a_target_that_exists() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    target = container["postCreateCommand"].removeprefix("make ")
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
