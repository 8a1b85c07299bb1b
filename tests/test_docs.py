"""The documentation, unbuilt: its pages and links are there, its notebooks are without outputs and compile."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
NOTEBOOKS = sorted((DOCS / "tutorials").glob("*.ipynb"))
README_LINKS = re.findall(r"\]\((?!https?:)([^)\s#]+)", (ROOT / "README.md").read_text())


def name_of(path: Path) -> str:
    return str(path.relative_to(DOCS))


def markdown(path: Path) -> str:
    """The text of a page, or of the Markdown cells of a notebook."""
    if path.suffix == ".md":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    text = markdown(path)
    for link in re.findall(r"\]\((?!https?:|#)([^)\s#]+)", text):
        assert (path.parent / link).exists(), link
    for included in re.findall(r"^```{include} (\S+)", text, re.MULTILINE):
        assert (path.parent / included).is_file(), included


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = set()
    for path in PAGES:
        for block in re.findall(r"^```{toctree}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
            listed |= {path.parent / line for line in block.splitlines() if line and not line.startswith(":")}
    assert {path.with_suffix("") for path in [*PAGES, *NOTEBOOKS]} - {DOCS / "index"} == listed


@pytest.mark.parametrize("link", README_LINKS)
def test_what_the_readme_links_is_there(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_a_notebook_is_kept_without_outputs_and_compiles(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    for cell in cells:
        assert not cell["outputs"]
        assert cell["execution_count"] is None
        first, _, rest = "".join(cell["source"]).partition("\n")
        if not first.startswith("%%writefile"):
            compile(f"{first}\n{rest}", f"{path.name}, {cell['id']}", "exec")
        elif first.endswith(".py"):
            compile(rest, first, "exec")


def test_a_notebook_may_not_drift_from_the_model_that_is_tested() -> None:
    (written,) = [
        "".join(cell["source"]).partition("\n")[2]
        for cell in json.loads((DOCS / "tutorials/own_model.ipynb").read_text())["cells"]
        if "".join(cell["source"]).startswith("%%writefile pairs.py")
    ]
    tested = (ROOT / "tests/models/toy_pairs.py").read_text()
    assert written.partition('"""\n')[2].strip() == tested.partition('"""\n')[2].strip()
