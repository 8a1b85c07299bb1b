"""Entries drawn from a known law, whose every number agrees: for tests and benchmarks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chemscale_bench import tasks
from chemscale_bench.leaderboard.entry import Entry, slug
from chemscale_bench.leaderboard.files import write_curves
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.speed.peaks import peak_flops

Points = list[tuple[str, str, int, float]]
DATA, SPLIT = hashlib.sha256(b"data").hexdigest(), hashlib.sha256(b"split").hexdigest()
VOCABULARY, TOKENS_PER_MOLECULE, CONTEXT = 102, 34.0, 20.0
MODEL = next(iter(LANGUAGE_MODELS.modules))
GPU, MFU = "NVIDIA H100 80GB HBM3", 0.4


def true_loss(params: float, tokens: float) -> float:
    """The law of language models, nats per token."""
    return float(0.6 + 8 * params**-0.25 + 60 * tokens**-0.4)


def true_error(params: float, frames: float) -> float:
    """The law of force fields, meV/Angstrom."""
    return float(2000 * params**-0.25 * frames**-0.4)


def plant(
    root: Path, submitter: str = "Ada Lovelace", *, family: str = "language_model",
    sizes: Sequence[int] = (30_000, 100_000, 300_000),
    budgets: Sequence[int] = (30_000, 100_000, 300_000), seeds: int = 2, factor: float = 1.0, gpu: bool = False,
    molecules: int = 0, probed: bool = False, moved: bool = False, vocabulary: str = "dataset",
) -> Path:  # fmt: skip
    """Write one entry below `root`.

    Args:
        root: folder of entries.
        submitter: whose entry.
        family: of the task.
        sizes: non-embedding parameters, about.
        budgets: training tokens, or frames.
        seeds: per size.
        factor: on the losses.
        gpu: trained on one GPU.
        molecules: that every language model drew.
        probed: whether the features of every language model were.
        moved: whether the molecule of every force field was simulated.
        vocabulary: of a language model's task.

    Returns:
        Path of the JSON file.
    """
    random = np.random.default_rng(int(hashlib.sha256(submitter.encode()).hexdigest()[:8], 16))
    points: Points = []
    if family == "language_model":
        task: tasks.Task = tasks.load_language("embedded-lm").with_data("auto", vocabulary)
        runs = [
            _language_run(f"{slug(submitter)[:20]}-{size}-{seed}", size, seed, budgets, factor, gpu, random, points)
            for size in sizes for seed in range(seeds)
        ]  # fmt: skip
        for result in (result for run in runs for result in run["results"]):
            loss = result["metrics"]["val/loss_nats_per_token"]
            result["generation"] = _generation(molecules, loss) if molecules else None
            result["probes"] = {"esol": _probe(loss), "bbbp": _probe(loss / 4)} if probed else None
        kind: dict[str, Any] = {"model": MODEL, "vocabulary": vocabulary}
    else:
        task = tasks.load_force("embedded-ff").on("ethanol", "auto")
        runs = [
            _force_run(f"{slug(submitter)[:20]}-{size}-{frames}-{seed}", size, seed, frames, factor, random, points)
            for size in sizes for frames in budgets for seed in range(seeds)
        ]  # fmt: skip
        for result in (result for run in runs for result in run["results"] if moved):
            result["motion"] = _motion(result["metrics"]["test/force_mae_mev_per_angstrom"])
        kind = {"model": "painn", "molecule": "ethanol"}
    curves = pd.DataFrame(points, columns=["run", "metric", "step", "value"])
    about = kind | {
        "version": 1, "family": family, "task": task.name, "task_digest": task.digest_with(DATA, SPLIT),
        "data": task.data, "data_digest": DATA, "split_digest": SPLIT, "submitter": submitter, "date": "2026-11-22",
        "curves_sha256": "", "runs": runs,
    }  # fmt: skip
    path: Path = root / about["task"] / about["model"] / f"{slug(submitter)}-{about['date']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_curves(curves, path.with_suffix(".parquet"))
    about["curves_sha256"] = hashlib.sha256(path.with_suffix(".parquet").read_bytes()).hexdigest()
    path.write_text(Entry.model_validate_json(json.dumps(about)).model_dump_json(indent=1, exclude_none=True))
    return path


def _language_run(
    name: str, size: int, seed: int, budgets: Sequence[int], factor: float, gpu: bool, random: np.random.Generator,
    points: Points,
) -> dict[str, Any]:  # fmt: skip
    config = LANGUAGE_MODELS.family(MODEL).config_for(size, VOCABULARY)
    params = config.non_embedding_params
    flops_per_token = config.flops_per_token(CONTEXT)
    speed = MFU * peak_flops(GPU) / flops_per_token if gpu else 20_000.0
    losses = [factor * true_loss(params, budget) * float(np.exp(0.003 * random.normal())) for budget in budgets]
    starts = [budget - round(0.2 * budget) for budget in budgets]
    trunk = sorted({*np.linspace(0, starts[-1], 31).astype(int)[1:].tolist(), *starts})
    decay = [step for start, end in zip(starts, budgets, strict=True)
             for step in np.linspace(start, end, 7).astype(int)[1:].tolist()]  # fmt: skip
    for kind, steps in (("train", trunk), ("decay", decay)):
        training = [1.02 * factor * true_loss(params, step) for step in steps]
        points += [(name, f"{kind}/loss_nats_per_token", *point) for point in zip(steps, training, strict=True)]
        points += [(name, f"speed/{kind}_tokens_per_s", step, speed) for step in steps]
    results: list[dict[str, Any]] = []
    for budget, loss in zip(budgets, losses, strict=True):
        metrics = {
            "val/loss_nats_per_token": loss, "val/nats_per_molecule": loss * TOKENS_PER_MOLECULE,
            "val/bits_per_heavy_atom": loss * 2.3357, "baseline/trigram_nats_per_token": 1.5,
        }  # fmt: skip
        results.append({"budget": budget, "metrics": metrics})
    for metric in results[0]["metrics"]:
        points += [(name, metric, result["budget"], result["metrics"][metric]) for result in results]
    units = starts[-1] + sum(end - start for start, end in zip(starts, budgets, strict=True))
    return _common(name, seed, params) | {
        "network": config.sizes,
        "results": results, "units_trained": units, "train_seconds": units / speed, "units_per_s": speed,
        "flops_total": flops_per_token * units, "mfu": MFU if gpu else None, "device": GPU if gpu else "AMD EPYC",
        "gpus": int(gpu), "energy_kj": units / speed * 0.5 if gpu else None,
        "energy_source": "nvml" if gpu else "unavailable", "settings": {"decay": "0.2", "parametrization": "standard"},
    }  # fmt: skip


def _generation(molecules: int, loss: float) -> dict[str, Any]:
    """Molecules that are the better the lower the loss: of ten one is not novel."""
    valid, known = molecules - molecules // 50, molecules // 10
    metrics = {
        "valid": valid / molecules, "raw_valid": valid // 2 / molecules, "unique_at_1k": 1.0, "unique_at_10k": 1.0,
        "novelty": (valid - known) / valid, "internal_diversity_1": 0.86, "internal_diversity_2": 0.85, "filters": 1.0,
        "fcd_test": 30 * loss - 16, "snn_test": 0.5, "fragments_test": 0.99, "scaffolds_test": 0.5,
        "wasserstein_logp_test": 0.1, "wasserstein_sa_test": 0.1, "wasserstein_qed_test": 0.01,
        "wasserstein_weight_test": 5.0,
    }  # fmt: skip
    return {
        "molecules": molecules, "seed": 0, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "reference_digest": SPLIT,
        "chemnet": True, "metrics": metrics,
    }  # fmt: skip


def _probe(error: float) -> dict[str, Any]:
    return {
        "molecules": 1_128, "linear": error, "linear_untrained": 0.9, "neighbours": error / 2, "rogi_xd": error / 4,
    }  # fmt: skip


def _motion(error: float) -> dict[str, Any]:
    """Of four replicas one breaks when it is hot, the later the lower the error."""
    hot = (3 * 2.0 + 2 / (1 + error / 100)) / 4
    drift = {"drift_mev_per_atom_ns": error / 10, "drift_error_mev_per_atom_ns": 1.5}
    conditions = [
        {"temperature_k": kelvin, "ensemble": ensemble, "intact": intact, "stability_ps": held} | more
        for kelvin, intact, held in ((500.0, 4, 2.0), (1200.0, 3, hot))
        for ensemble, more in (("Langevin", {"hr_mae": error / 1000}), ("NVE", drift))
    ]
    return {
        "replicas": 4, "picoseconds": 2.0, "timestep_fs": 0.5, "seed": 0, "bond_break_ev": 4.2,
        "conditions": conditions,
    }  # fmt: skip


def _force_run(
    name: str, size: int, seed: int, frames: int, factor: float, random: np.random.Generator, points: Points
) -> dict[str, Any]:
    error = factor * true_error(size, frames) * float(np.exp(0.01 * random.normal()))
    steps, batch = 20_000, 10
    seen = steps * batch
    metrics = {
        "test/force_mae_mev_per_angstrom": error, "test/energy_mae_mev": error / 4,
        "baseline/zero_force_mae_mev_per_angstrom": 737.0, "baseline/mean_energy_mae_mev": 130.0,
    }  # fmt: skip
    grid = np.linspace(0, seen, 21).astype(int)[1:].tolist()
    seconds = seen * size / 1e8
    for kind, part in (("train", grid[:10]), ("decay", grid[10:])):
        points += [(name, f"{kind}/loss", step, 1e-4 * (1 + seen / step / 20)) for step in part]
        points += [(name, f"speed/{kind}_structures_per_s", step, seen / seconds) for step in part]
    points += [(name, "val/force_mae_mev_per_angstrom", step, error * (1 + seen / step / 40)) for step in grid]
    points += [(name, metric, seen, value) for metric, value in metrics.items()]
    settings = {"decay": "0.5", "train_frames": str(frames), "gradient_steps": str(steps), "batch_frames": str(batch)}
    return _common(name, seed, size) | {
        "results": [{"budget": frames, "metrics": metrics}], "units_trained": seen, "train_seconds": seconds,
        "units_per_s": seen / seconds, "flops_total": 40.0 * size * seen, "device": "AMD EPYC", "gpus": 0,
        "settings": settings,
    }  # fmt: skip


def _common(name: str, seed: int, params: int) -> dict[str, Any]:
    return {
        "run": name, "seed": seed, "non_embedding_params": params, "cpus": 2, "arithmetic": "32-true",
        "code_commit": "a" * 40, "code_dirty": False, "software": {"torch": "2.13.0"},
    }  # fmt: skip
