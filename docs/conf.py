"""How Sphinx builds the documentation: `make docs`."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from plotly.offline import get_plotlyjs, get_plotlyjs_version

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))  # commands.py
import tomllib  # noqa: E402

PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]

project, release = PROJECT["name"], PROJECT["version"]
version = release
copyright = "the chemscale-bench developers, MIT licence"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb", "sphinx_copybutton", "commands"]
exclude_patterns = ["_build"]
default_role = "code"  # of docstrings, whose names stand in single backticks
smartquotes_action = "D"  # dashes

html_theme = "furo"
html_title = "chemscale-bench"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_math_renderer = "mathml"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

# Notebooks are kept without outputs and executed here, in a folder of their own; one that fails fails the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # progress bars
os.environ["PLOTLY_RENDERER"] = "sphinx_gallery"
os.environ["MLFLOW_LOGGING_LEVEL"] = "WARNING"
KEPT = tempfile.TemporaryDirectory()  # a study of an earlier build would want the runs of that build
os.environ["CHEMSCALE_HOME"] = KEPT.name
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])

autodoc_typehints = "none"  # docstrings say it in words
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
copybutton_exclude = ".linenos, .gp, .go"


OF_SCIKIT_LEARN = ("set_fit_request", "set_predict_request", "set_score_request", "get_metadata_routing")


def skip(app: Any, kind: str, name: str, member: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out methods that estimators inherit; scikit-learn documents them."""
    return True if name in OF_SCIKIT_LEARN else None


def plotly_of_our_own(app: Any, error: Exception | None) -> None:
    """Have figures load plotly.js from the site itself, so that it works without a network."""
    if error or app.builder.name != "html":
        return
    (Path(app.outdir) / "_static" / "plotly.min.js").write_text(get_plotlyjs())
    elsewhere = re.compile(rf'<script[^>]*src="https://cdn\.plot\.ly/plotly-{re.escape(get_plotlyjs_version())}[^>]*>')
    for page in (Path(app.outdir) / "tutorials").glob("*.html"):
        text = elsewhere.sub('<script src="../_static/plotly.min.js">', page.read_text())
        page.write_text(text)


def inline_formula(translator: Any, node: nodes.math) -> None:
    """A formula as MathML, which browsers show without any script."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def formula(translator: Any, node: nodes.math_block) -> None:
    """A formula on lines of its own."""
    translator.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline_formula, None), (formula, None))
    app.connect("autodoc-skip-member", skip)
    app.connect("build-finished", plotly_of_our_own)
