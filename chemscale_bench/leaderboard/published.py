"""What papers report: studies of our tasks, in the form that the board ranks, and tables of other metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chemscale_bench import tasks
from chemscale_bench.leaderboard.collect import Study
from chemscale_bench.leaderboard.entry import Family


def read_published(folder: Path) -> tuple[list[Study], list[dict[str, Any]]]:
    """The results of papers: studies of our tasks, and tables of other metrics."""
    studies: list[Study] = []
    tables: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.json")):
        paper = json.loads(path.read_text())
        if "rows" in paper:
            tables.append(paper)
            continue
        if "generated" in paper:
            for row in paper["generated"]:
                model, source, link = (row.pop(name, paper.get(name)) for name in ("model", "source", "link"))
                studies.append(
                    Study(
                        "published", source, "language_model", paper["task"], "", model, source, link=link,
                        note=paper["note"], generated=row,
                    )
                )  # fmt: skip
            continue
        family: Family = "force_field" if tasks.load(paper["task"]).family == "force_field" else "language_model"
        for result in paper["results"]:
            task = "@".join(filter(None, (paper["task"], result.get("molecule"))))
            metrics = {f"test/{name}": value for name, value in result.items() if "_mae_" in name}
            exponent = (
                (result["params_exponent"], result["params_exponent_error"]) if "params_exponent" in result else None
            )
            studies.append(
                Study(
                    "published", paper["source"], family, task, "", result["model"], paper["source"],
                    link=paper["link"], note=paper["note"],
                    published={paper["budget"]: metrics} if metrics else {}, published_exponent=exponent,
                )
            )  # fmt: skip
    return studies, tables
