"""From finished runs to the files of an entry, wholly or not at all."""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chemscale_bench.data.download import file_sha256
from chemscale_bench.data.opening import output_folder
from chemscale_bench.errors import UserError
from chemscale_bench.leaderboard import files
from chemscale_bench.leaderboard.collect import Measured, describe_task, measure, record
from chemscale_bench.leaderboard.entry import CURVES, RESULTS, Entry, Family
from chemscale_bench.leaderboard.forecasts import check as check_forecast
from chemscale_bench.leaderboard.forecasts import read_foretold, say_left_out
from chemscale_bench.leaderboard.generated import read_generations
from chemscale_bench.leaderboard.levels import Level, judge
from chemscale_bench.leaderboard.probed import read_probes
from chemscale_bench.leaderboard.simulated import read_motions
from chemscale_bench.leaderboard.sources import runs_named
from chemscale_bench.settings.submit import SubmitSettings
from chemscale_bench.tracking.reader import read_curves

SELECTS = ("task", "model", "task_digest")
"""Parameters that choose among the runs of an experiment."""


def study(settings: SubmitSettings) -> tuple[list[Measured], dict[str, int]]:
    """The finished runs that the settings name, all of one task and model, and how many were left out."""
    found = runs_named(settings.run, "run")
    wanted = {"task_name": settings.task, "model": settings.model}
    found = [run for run in found if all(run.params.get(key) == value for key, value in wanted.items() if value)]
    if settings.task_digest:
        found = [run for run in found if run.tags.get("task_digest") == settings.task_digest]
    # Only training runs have a task: that of this very submission, say, has none.
    going = [run.run_id for run in found if run.status in ("RUNNING", "SCHEDULED") and "task_name" in run.params]
    if going:
        raise UserError(f"runs must have ended, {len(going)} have not, such as {going[0]}; wait for them or stop them")
    if len(found) == 1 and found[0].status != "FINISHED":
        raise UserError(f"a run must be FINISHED, {found[0].run_id} is {found[0].status}; run it again")
    primary = [(family, names[0]) for family, names in RESULTS.items()]
    kinds = {
        (run.params.get("task_name"), run.params.get("model"), run.tags.get("task_digest"))
        for run in found
        if run.status == "FINISHED"
        and "non_embedding_params" in run.params  # or else a parent of several
        and any(name in run.metrics for _, name in primary)
    }
    if not kinds:
        asked = "".join(f" with {name}={value}" for name in SELECTS if (value := getattr(settings, name)))
        raise UserError(
            f"an entry needs a finished run with a result, {settings.run!r} has none{asked}; train one first"
        )
    if len(kinds) > 1:
        listed = "; ".join(" ".join(map(str, kind)) for kind in sorted(kinds, key=str)[:4])
        raise UserError(
            f"an entry is of one task, model and task digest, got {listed} in {settings.run!r}; "
            f"select with {', '.join(f'{name}=' for name in SELECTS)}"
        )
    metric = next(metric for _, metric in primary if any(metric in run.metrics for run in found))
    return measure(found, metric)


def write(settings: SubmitSettings, runs: list[Measured]) -> Path:
    """Write the entry of a study below `settings.out`."""
    root = output_folder(settings.out)
    draft = Path(tempfile.mkdtemp(prefix=".submit-", dir=root))
    try:
        path = stage(settings, runs, draft)
        verdict = judge(path, Level.CONSISTENT)
        if verdict.level < Level.CONSISTENT:
            raise UserError(f"the runs would not make a consistent entry: {verdict.why_not_next}")
        final = root / path.relative_to(draft)
        if final.exists() or final.with_suffix("").exists():
            raise UserError(f"an entry may be written once, {final} is there already; remove it to write it again")
        final.parent.mkdir(parents=True, exist_ok=True)
        # The .json comes last: without it the rest is no entry.
        for kind in ("", ".parquet", ".json"):
            if path.with_suffix(kind).exists():
                os.replace(path.with_suffix(kind), final.with_suffix(kind))
    finally:
        shutil.rmtree(draft)
    return final


def stage(settings: SubmitSettings, runs: list[Measured], draft: Path) -> Path:
    """Write the files of the entry into a folder of their own."""
    first = runs[0].run
    family: Family = "language_model" if RESULTS["language_model"][0] in first.metrics else "force_field"
    try:
        about = describe_task(first, family) | {
            "version": 1,
            "family": family,
            "submitter": settings.submitter,
            "date": datetime.date.today(),
            "description": settings.description,
            "link": settings.link or None,
        }
        ids = [kept.run.run_id for kept in runs]
        curves = read_curves(ids, CURVES[family])
        best = min(runs, key=lambda kept: kept.by_budget[max(kept.by_budget)]).run.run_id
        chosen = {"best": [best], "all": ids, "none": []}[settings.checkpoint]
        folder = draft / "checkpoints"
        checkpoints = {run_id: fetch_checkpoint(run_id, folder, settings) for run_id in chosen}
        language, force = (ids if family == each else [] for each in RESULTS)
        drawn, probed, moved = read_generations(language), read_probes(language), read_motions(force)
        records = [
            record(kept, family, part, checkpoints.get(kept.run.run_id), drawn, probed, moved)
            for kept, (_, part) in zip(runs, curves.groupby("run", observed=True), strict=True)
        ]
        files.write_curves(curves, draft / "curves")
        digest = hashlib.sha256((draft / "curves").read_bytes()).hexdigest()
        entry = with_forecast(Entry.model_validate(about | {"curves_sha256": digest, "runs": tuple(records)}), runs)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise UserError(f"entry: {where}: {problem['msg']}, got {files.shown(problem['input'])}; mend it") from None
    path = draft / f"{entry.identity}.json"
    path.parent.mkdir(parents=True)
    os.replace(draft / "curves", path.with_suffix(".parquet"))
    if folder.exists():
        os.replace(folder, path.with_suffix(""))
    path.write_text(entry.model_dump_json(indent=1, exclude_none=True) + "\n")
    return path


def with_forecast(entry: Entry, runs: list[Measured]) -> Entry:
    """The entry with what its study foretold, unless that does not follow from the smaller runs any more."""
    foretold = read_foretold([kept.run for kept in runs])
    full = entry.model_copy(update={"foretold": foretold})
    try:
        check_forecast(full)
    except UserError as problem:  # one by another version, say
        say_left_out("this study", problem)
        return entry
    return full


def fetch_checkpoint(run_id: str, folder: Path, settings: SubmitSettings) -> dict[str, Any]:
    """Copy a run's checkpoint into `folder`, or only name it if it is published elsewhere."""
    import mlflow
    from mlflow.exceptions import MlflowException

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tempfile.TemporaryDirectory() as temporary:
        try:
            found = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="model", dst_path=temporary))
            about = {
                "weights_sha256": file_sha256(found / "model.safetensors"),
                "config_sha256": file_sha256(found / "config.json"),
            }
        except (MlflowException, OSError) as error:
            where = mlflow.get_run(run_id).info.artifact_uri
            raise UserError(
                f"run {run_id} must have a model, there is none in {where}/model ({error}); if the store was "
                "moved, put its mlruns there; or give checkpoint=none"
            ) from None
        if settings.checkpoint_url:
            return about | {"url": f"{settings.checkpoint_url.rstrip('/')}/{run_id}"}
        size = sum((found / name).stat().st_size for name in ("config.json", "model.safetensors"))
        if size > files.MOST_CHECKPOINT_BYTES:
            raise UserError(
                f"checkpoints in the repository must have at most {files.MOST_CHECKPOINT_BYTES:,} bytes, {run_id} has "
                f"{size:,}; publish it and give checkpoint_url=https://..., or leave it out with checkpoint=none"
            )
        (folder / run_id).mkdir(parents=True)
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(found / name, folder / run_id / name)
        return about
