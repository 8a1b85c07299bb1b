"""Simulations with trained force fields, tracked as one MLflow run: found, moved, measured, shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from ase import Atoms
from ase.io import write
from plotly.graph_objects import Figure

from chemscale_bench import tasks
from chemscale_bench.data.opening import user_path
from chemscale_bench.data.rmd17 import LABELS, official
from chemscale_bench.data.structures import Frames
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import motion_report
from chemscale_bench.evaluation.distances import ReferenceFrames, of_one_isomer
from chemscale_bench.evaluation.motion import steps_of
from chemscale_bench.evaluation.simulated import LANGEVIN, NVE, Simulated, metrics, place_of, rows
from chemscale_bench.evaluation.simulating import Subject, moved
from chemscale_bench.models import force_fields
from chemscale_bench.models.logged import fetch_model
from chemscale_bench.runs.frames import frames_of
from chemscale_bench.runs.kinds import OWN_FRAMES
from chemscale_bench.runs.result import Result, Told
from chemscale_bench.runs.trained import check_one_task, trained_models
from chemscale_bench.scaling.table import describe
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.settings.simulate import SimulateSettings
from chemscale_bench.tracking.housekeeping import housekeeping_run
from chemscale_bench.tracking.looking import look_at
from chemscale_bench.tracking.provenance import code_tags, environment_tags
from chemscale_bench.tracking.reader import LoggedRun
from chemscale_bench.tracking.recorder import Recorder
from chemscale_bench.tracking.store import open_store
from chemscale_bench.training.devices import evaluation_device

FORCE_MAE = "test/force_mae_mev_per_angstrom"
ONE_SPLIT = ("embedded", "ani1x")
"""Named data with no other split than that of their task."""


def simulate(settings: SimulateSettings, prints: bool = True) -> Result:
    """Simulate with every force field that is named; log and print how they hold.

    Raises:
        UserError: if there is no such force field, its frames are not to be had, or the run is too short.
    """
    device, told = evaluation_device(settings.device), Told(prints)
    steps_of(settings.picoseconds, settings.timestep_fs)
    open_store()
    with TemporaryDirectory() as temporary:
        subjects, left_out = find(settings.run, settings.molecule, Path(temporary))
        with housekeeping_run("simulate", settings.experiment) as run_id:
            recorder = Recorder(run_id)
            about = {"model": " ".join(sorted({subject.name.split()[0] for subject in subjects}))}
            recorder.params(settings.model_dump() | about)
            name = {"mlflow.runName": f"simulate-{subjects[0].name if len(subjects) == 1 else settings.run}"}
            source = {"source_run": subjects[0].run_id or settings.run} if len(subjects) == 1 else {}
            recorder.tags(name | source | code_tags() | environment_tags(device))
            numbers, figures, alone = dict[str, float](), dict[str, Figure](), len(subjects) == 1
            tables = []
            for subject in subjects:
                rows_of_one, found, drawn = one_model(recorder, settings, subject, device, alone, told)
                tables.append(rows_of_one)
                numbers, figures = numbers | found, figures | drawn
            table = pd.concat(tables)
            recorder.client.log_text(run_id, table.to_csv(index=False), "motion.csv")
            if len(subjects) > 1:
                figures = {"stability": motion_report.comparison_figure(table, settings.picoseconds)} | figures
                recorder.figure(figures["stability"], "figures/stability.html")
                told(f"\n{motion_report.comparison_text(table)}")
            if left_out:
                told(f"of the runs: {describe(left_out)}")
            recorder.deliver()
            files = "motion.csv, figures, trajectory.extxyz"
            told(f"logged to MLflow run {run_id}: {files}; look at it with: {look_at(run_id)}")
    return Result(table.reset_index(drop=True), told, numbers, figures, run_id)


def one_model(
    recorder: Recorder, settings: SimulateSettings, subject: Subject, device: torch.device, alone: bool, told: Told
) -> tuple[pd.DataFrame, dict[str, float], dict[str, Figure]]:
    """Simulate with one force field, log and tell it; gives its rows, metrics and figure."""
    test, place = subject.test, "" if alone else place_of(subject.name)
    reference = ReferenceFrames.of(test.numbers, test.positions)
    found = moved(settings, subject, reference, device)
    table = pd.DataFrame(rows(found, reference))
    numbers = {f"{place}{name}": value for name, value in metrics(found, reference).items()}
    recorder.metrics(numbers, 0)
    title = f"{subject.name}, {test.formula}: {settings.replicas} replicas of {settings.picoseconds:g} ps"
    figure = motion_report.figure(found, reference, title)
    recorder.figure(figure, f"{place}figures/motion.html")
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / "trajectory.extxyz"
        write(path, list(trajectories(found, test.numbers)), format="extxyz")
        recorder.client.log_artifact(recorder.run_id, str(path), place.rstrip("/") or None)
    told(f"{title}\n{motion_report.text(found, table, reference)}")
    if found.stretched.warning:
        print(f"note: {found.stretched.warning}", file=sys.stderr)
    return table, numbers, {f"{place}motion": figure}


def trajectories(found: Simulated, numbers: np.ndarray) -> Iterator[Atoms]:
    """The frames of one replica of each temperature and ensemble, of one that breaks if any does."""
    for kelvin, thermostat in found.conditions():
        replicas = found.chosen(kelvin, thermostat)
        shown = replicas[np.argmin(found.motion.stable_ps_R[replicas])]
        for time_ps, positions_A3 in zip(found.motion.frame_ps_K, found.motion.frames_RKA3[shown], strict=True):
            if np.isfinite(positions_A3).all():
                about = {
                    "temperature_K": kelvin, "ensemble": LANGEVIN if thermostat else NVE, "time_ps": float(time_ps),
                    "replica": int(shown - replicas[0]), "intact": bool(found.motion.intact_R[shown]),
                }  # fmt: skip
                yield Atoms(numbers, positions_A3, info=about)


def find(run: str, molecule: str, temporary: Path) -> tuple[list[Subject], dict[str, int]]:
    """The force fields that a run, a folder or an experiment names, and what was left out.

    Raises:
        UserError: if there is none, its test frames are not to be had, or they are of several molecules and `molecule`
            is none of them.
    """
    if run and user_path(run).is_dir():
        return [of_folder(user_path(run), molecule)], {}
    chosen, left_out = trained_models(run, "force field")
    check_one_task(chosen, run)
    return [of_run(each, molecule, temporary, len(chosen) > 1) for each in chosen], left_out


def of_run(run: LoggedRun, molecule: str, temporary: Path, one_of_many: bool) -> Subject:
    """The force field of a finished run."""
    folder = fetch_model(run.run_id, temporary / run.run_id)
    fields = {name: value for name, value in run.params.items() if name in ForceFieldSettings.model_fields}
    if run.params["data"] in LABELS and run.params.get("test_data"):  # copies of official frames
        fields |= copies(run)
    settings = ForceFieldSettings.model_validate(fields)
    test = test_frames(settings, record_of(folder), run.run_id, molecule)
    name = f"{run.params['model']} {int(run.params['non_embedding_params']):.2g}"
    if one_of_many:
        name += f" {run.run_id[:6]}"
    error = run.metrics.get(f"{FORCE_MAE}/{molecule}" if molecule else FORCE_MAE, float("nan"))
    return Subject(name, run.run_id, error, folder, test)


def copies(run: LoggedRun) -> dict[str, str]:
    """Where the official frames of a run are that was given copies of them: there or, if they are gone, the archive."""
    test = user_path(run.params["test_data"])
    own = Path(run.tags["data.source"].removesuffix(f" {test}"))
    if own.is_file() and test.is_file():
        return {"data": str(own), "split": "1"}  # of files; which official split they are was found
    return dict.fromkeys(OWN_FRAMES, "")


def of_folder(folder: Path, molecule: str) -> Subject:
    """The force field in a folder, trained on frames that the package knows by their digest."""
    folder = folder / "model" if (folder / "model" / "config.json").is_file() else folder
    potential, record = force_fields.load(folder)
    name, _, of_task = str(record.get("task", "")).partition("@")
    known = official(str(record.get("data_digest", "")))
    try:
        task = tasks.load_force(name) if name else None
    except UserError:
        task = None
    joint = task is not None and task.joint and not of_task
    if task is None or not (known or (task.data in ONE_SPLIT and (joint or of_task in task.molecules))):
        raise UserError(
            f"run must be a folder whose frames are those of a task, {folder} was trained on {record.get('task')!r}, "
            "which nobody here has; give the id of its run"
        )
    frames = {"molecule": known.molecule, "split": known.split} if known else {"molecule": of_task or "auto"}
    settings = ForceFieldSettings.model_validate({"task": name, **frames})
    params = f"{record['model']} {potential.non_embedding_params:.2g}"
    return Subject(params, "", float("nan"), folder, test_frames(settings, record, str(folder), molecule))


def test_frames(settings: ForceFieldSettings, record: Mapping[str, Any], origin: str, molecule: str) -> Frames:
    """The test frames of a model's task, found to be those that it was trained beside; of several molecules one's.

    Raises:
        UserError: if they have changed since, or `molecule` is none of several, or stated of one.
    """
    split = frames_of(tasks.load_force(settings.task).on(settings.molecule, settings.data), settings)
    if record.get("data_digest") != split.digest:
        raise UserError(
            f"run must find the frames that it was trained on, {split.name} of {origin} has changed since; give the "
            "file as it was"
        )
    if isinstance(split.test, Frames):
        if molecule:
            raise UserError(f"molecule is for a force field of several, {origin} knows one; leave out {molecule!r}")
        return split.test
    known = {split.test.names[frames[0]]: frames for frames in reversed(split.test.alike)}
    if molecule not in known:
        raise UserError(
            f"molecule must be one of several that {origin} was trained on, {', '.join([*known][::-1][:20])}, got "
            f"{molecule!r}; choose one"
        )
    return of_one_isomer(split.test.molecule(known[molecule]))


def record_of(folder: Path) -> dict[str, Any]:
    """The config.json of a model."""
    return dict(json.loads((folder / "config.json").read_text()))
