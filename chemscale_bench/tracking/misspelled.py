"""A misspelled call of `mlflow run` of this project, told in a line: MLflow itself would print a traceback.

Loaded in the process of `mlflow run`, as plugins.py is: nothing heavy at the top.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from chemscale_bench.tracking.plugins import names_this_project


def complaint(arguments: Sequence[str]) -> str:
    """What is wrong with the entry point or the names of parameters of a call of `mlflow run`; nothing if nothing is.

    Args:
        arguments: the command line, the program's name left out. What an address holds is not known yet.
    """
    import yaml

    given, points, names = list(arguments), ["main"], list[str]()
    folders = [Path(text.removeprefix("file://")) for text in given if names_this_project(text)]
    declarations = [folder / "MLproject" for folder in folders if (folder / "MLproject").is_file()]
    if not declarations:
        return ""
    for place, text in enumerate(given):
        following = given[place + 1] if place + 1 < len(given) else ""
        if text in ("-e", "--entry-point"):
            points.append(following)
        elif text.startswith("--entry-point="):
            points.append(text.partition("=")[2])
        elif text in ("-P", "--param-list"):
            names.append(following.partition("=")[0])
        elif text.startswith("--param-list="):
            names.append(text.split("=")[1])
    declared = yaml.safe_load(declarations[0].read_text())["entry_points"]
    point = points[-1]
    if point not in declared:
        meant = "; did you mean main, which is the demo?" if point == "demo" else _nearest(point, declared)
        return f"the entry point must be one of {', '.join(declared)}, got {point!r}{meant}"
    verb, known = "demo" if point == "main" else point, declared[point].get("parameters", {})
    wrong = [name for name in names if name and name.replace("-", "_") not in known]
    if wrong:
        meant = _nearest(wrong[0].replace("-", "_"), known)
        cure = f"{meant or ';'} `chemscale {verb} --help` lists them"
        return f"-P must name a parameter of {point}, got {wrong[0]!r}{cure}"
    return ""


def _nearest(typed: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(typed, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
