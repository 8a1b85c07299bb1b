"""One force-field run: frames of a molecule or of several, a potential, its force and energy errors."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from chemscale_bench import tasks
from chemscale_bench.data.cache import run_folder
from chemscale_bench.data.mixtures import Mixture
from chemscale_bench.data.references import fit_reference
from chemscale_bench.data.rmd17 import official
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.soundness import soundness
from chemscale_bench.models import force_fields
from chemscale_bench.models.force_recipe import rate_factor, recipe_of, warmup_share
from chemscale_bench.models.potential import Potential, check_outputs
from chemscale_bench.models.registry import FORCE_FIELDS
from chemscale_bench.runs import force_start
from chemscale_bench.runs.frames import frames_of
from chemscale_bench.runs.tracked import Judge, TrackedRun
from chemscale_bench.settings.forcefield import ForceFieldSettings
from chemscale_bench.tracking import pyfunc
from chemscale_bench.tracking.figures import error_curve
from chemscale_bench.tracking.lifetime import Stop
from chemscale_bench.training.averaging import RunningAverage
from chemscale_bench.training.contracts import Report
from chemscale_bench.training.devices import check_device
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.forces import ForceErrors, ForceLoss, ForceObjective, OnDevice, measure
from chemscale_bench.training.loop import Diverged, Trainer
from chemscale_bench.training.mixed_frames import baseline_of, on_device
from chemscale_bench.training.schedules import segments

PASS_ATOMS = {"cpu": 4_096, "cuda": 65_536}  # atoms of a forward pass, at first
SHOWN_MOLECULES = 10  # of several, the most frequent ones
FORCE_MAE = "val/force_mae_mev_per_angstrom"


class ForceRun(TrackedRun):
    """A force field trained for a fixed number of steps; the weights that validate best are measured and kept."""

    UNIT, SHORT, VERB = "structures", "frames", "forcefield"
    METRIC = "test/force_mae_mev_per_angstrom"
    SETTINGS, BATCH, VALUE = ForceFieldSettings, "batch_frames", "validation force MAE (meV/Å)"
    THEN = "simulate", "put it in motion"
    MODELS = FORCE_FIELDS

    def __init__(
        self, settings: ForceFieldSettings, fabric: Fabric, run_id: str, stop: Stop, saved: dict[str, Any] | None,
        judge: Judge | None = None,
    ) -> None:  # fmt: skip
        super().__init__(settings, fabric, run_id, stop, saved, judge)
        self.settings, self.dtype = settings, getattr(torch, {"fp32": "float32", "fp64": "float64"}[settings.precision])
        declared = tasks.load_force(settings.task)
        self.task = declared.on(settings.molecule, settings.data)
        self.train_frames = self.task.frames(settings.train_size)
        checkpoint = force_start.of_checkpoint(settings) if settings.init and not saved else None
        known = asdict(checkpoint.config) if checkpoint else (saved or {}).get("network", {})
        recipe = recipe_of(settings)
        self.recipe = recipe._replace(cutoff=known.get("cutoff", recipe.cutoff))
        self.steps = self.task.steps(self.recipe.steps)
        self.budgets = [self.steps * self.recipe.batch_frames]
        with stop.at_once():
            self.frames = frames_of(self.task, settings, self.recipe.cutoff)
        if saved and saved["frames_digest"] != self.frames.digest:
            raise UserError(
                f"resume must find the frames that the run was started with, {self.frames.name} has changed since; "
                "start a new run"
            )
        known = official(self.frames.digest)
        if known and known.data != declared.data:
            raise UserError(f"data are official frames of {known.data}, got task {declared.name}; use {known.data}-ff")
        self.split, self.data = (known.split, known.data) if known else (settings.split, settings.data)
        if known:  # perhaps a user's own copy of the official frames
            self.task = declared.on(known.molecule, declared.data)
        train = self.frames.train
        self.potential, self.config, self.elements = force_start.starting_network(
            settings, self.recipe, self.frames, saved, checkpoint
        )
        with stop.at_once():
            self.reference, note = force_start.starting_reference(self.frames, saved, checkpoint, fabric.device)
        self.frames = self.frames._replace(notes=(*self.frames.notes, *note))
        self.potential.to(self.dtype)
        self.of_labels = fit_reference(train)[0] if settings.init else self.reference
        self.baseline = baseline_of(train, self.frames.test, self.of_labels)
        self.train_split, self.validation = self.on_device("train"), self.on_device("validation")
        self.title = (
            f"{settings.model} {self.potential.non_embedding_params:,} params, {self.config.layers} x "
            f"{self.config.width}, {self.task.name}, {len(train)} frames"
        )
        self.trainer = self.make_trainer()
        self.flops_per_unit = self.count_flops()
        self.best: dict[str, Any] = saved["best"] if saved else {"force_mae": math.inf, "weights": {}}
        self.log.setdefault("validation", [])

    @staticmethod
    def check(settings: ForceFieldSettings) -> None:
        """Refuse settings that can't work, before anything is made or downloaded."""
        FORCE_FIELDS.check(settings.model)
        if settings.seeds > 1:
            FORCE_FIELDS.check_stacked("seeds", settings.seeds, settings.model)
        force_start.check(settings)
        recipe_of(settings)
        tasks.load_force(settings.task).on(settings.molecule, settings.data)
        check_device(settings)

    def on_device(self, split: str) -> OnDevice:
        """A split ready for batches."""
        frames = getattr(self.frames, split)
        return on_device(frames, self.config.cutoff, self.reference, self.fabric.device, self.dtype)

    def make_trainer(self) -> Trainer:
        """The loop with this run's optimizer, objective and schedule."""
        chosen, recipe, fabric, budget = self.settings, self.recipe, self.fabric, self.budgets[-1]
        self.rate_factor = rate_factor(chosen.model, self.config.width, self.steps)
        rate = FORCE_FIELDS.family(chosen.model).PEAK_RATE[0] * self.rate_factor
        self.learning_rate = rate if recipe.learning_rate == "auto" else recipe.learning_rate
        loss = ForceLoss(self.potential, recipe.force_weight, recipe.energy_weight).to(fabric.device)
        train = self.frames.train
        nothing = recipe.force_weight + recipe.energy_weight * float(
            np.square(train.energies - self.of_labels.energies(train)).mean() / np.square(train.forces).mean()
        )
        few = self.train_split.batch(np.arange(min(recipe.batch_frames, len(self.train_split))))
        check_outputs(self.potential, few.graph)
        at_random = float(loss(few).detach()) / len(few.energy_B)  # of some models far above that of no force
        diverged = max(100 * nothing, 10 * at_random)
        objective = ForceObjective(self.train_split, chosen.seed, recipe.batch_frames, diverged)
        decay = chosen.weight_decay
        optimizer = torch.optim.AdamW(loss.parameters(), self.learning_rate, weight_decay=decay, fused=True)
        trainer = Trainer(
            fabric, loss, optimizer, objective, self,
            plan=segments(self.budgets, chosen.decay), clip=chosen.clip,
            warmup=round(warmup_share(chosen, self.steps) * budget),
            report_every=max(budget // 200, min(20 * self.task.validation_frames, budget // 20), 1),
            save_seconds=60 * chosen.checkpoint_minutes, average=RunningAverage(loss, recipe.average),
            pass_limit=PASS_ATOMS[fabric.device.type], captures=self.train_split.uniform and not self.potential.WAITS,
        )  # fmt: skip
        if self.saved:
            trainer.resume(self.saved)
        return trainer

    def count_flops(self) -> float:
        """FLOPs of training on one frame, as torch counts them: matrix products, forward and backward passes.

        Only neighbours count, also where every pair is an edge: a training has the same FLOPs on every device. Of
        several molecules it is the mean over as many frames as go into a pass.
        """
        whole_pass = int(PASS_ATOMS["cpu"] / self.train_split.atoms)
        enough = self.recipe.batch_frames if self.train_split.uniform else whole_pass
        frames = max(1, min(enough, len(self.train_split), whole_pass))
        batch = self.train_split.batch(np.arange(frames), neighbours_only=True)
        with FlopCounterMode(display=False) as counter:
            self.trainer.module(batch).backward()
        self.trainer.optimizer.zero_grad()
        return float(counter.get_total_flops()) / len(batch.energy_B)

    def params(self) -> dict[str, object]:
        """Task, frames and size."""
        return {
            "task_name": self.task.name, "molecule": self.task.molecule, "split": self.split, "data": self.data,
            "train_frames": self.train_frames, **self.recipe.numbers,
            "non_embedding_params": self.potential.non_embedding_params, "layers": self.config.layers,
            "width": self.config.width, "gradient_steps": self.steps, "reference_ev": self.reference.constant_ev,
        } | ({"forces": "predicted"} if self.potential.DIRECT else {})  # fmt: skip

    def tags(self) -> dict[str, object]:
        """Name and digests."""
        frames = self.frames
        return {
            "mlflow.runName": self.called(self.train_frames, self.task.molecule),
            "task_digest": self.task.digest_with(frames.digest, frames.test.digest), "data.digest": frames.digest,
            "data.source": frames.source, "data.source_sha256": frames.source_sha256,
            "data.train_digest": frames.train.digest, "data.validation_digest": frames.validation.digest,
            "data.test_digest": frames.test.digest, "data.notes": "; ".join(frames.notes),
        }  # fmt: skip

    def describe_data(self) -> None:
        """Log the frames, and the errors of zero forces and of the mean energy."""
        frames = self.frames
        self.recorder.dataset(frames.name, frames.source, frames.digest, "training")
        sizes = {"train": len(frames.train), "validation": len(frames.validation), "test": len(frames.test)}
        self.beforehand.append(({f"data/{name}_frames": float(size) for name, size in sizes.items()}, 0))
        self.beforehand.append((self.baseline.baseline_metrics, self.budgets[-1]))

    def remarks(self) -> list[str]:
        """What is unusual about the frames."""
        told = [self.recipe.told(self.steps, self.learning_rate)] if self.recipe.source else []
        direct = ["note: forces are predicted beside the energy, which motion does not conserve"]
        return told + direct * self.potential.DIRECT + [f"note: {note}" for note in self.frames.notes]

    def averaged(self) -> Potential:
        """The network with the averaged weights."""
        assert self.trainer.average is not None
        return self.trainer.average.module.get_submodule("potential")  # type: ignore[return-value]

    def report_metrics(self, report: Report, name: str) -> dict[str, float]:
        """Training loss and validation errors; the best averaged weights so far are kept."""
        errors = measure(self.averaged(), self.validation)
        if not math.isfinite(errors.force_mae):
            raise Diverged(f"validation forces must be finite, got {errors.force_mae}; try a lower learning_rate")
        if errors.force_mae < self.best["force_mae"]:
            weights = {key: value.detach().cpu().clone() for key, value in self.averaged().state_dict().items()}
            self.best = {"force_mae": errors.force_mae, "weights": weights}
        self.log["validation"].append((report.position, errors.force_mae))
        return {f"{name}/loss": report.loss, FORCE_MAE: errors.force_mae, "val/energy_mae_mev": errors.energy_mae}

    def best_potential(self) -> Potential:
        """The network with the averaged weights that validated best."""
        potential = copy.deepcopy(self.averaged())
        potential.load_state_dict(self.best["weights"])
        return potential

    def measure(self, budget: int) -> tuple[dict[str, float], list[str]] | None:
        """Errors of the best weights on the test split, whether they obey physics, and what is odd."""
        if not self.speaks:
            return None
        potential = self.best_potential()
        with self.clocked("test"):
            self.log["errors"] = list(measure(potential, self.on_device("test")))
        with self.clocked("checks"):
            checks, warnings = soundness(potential, self.frames.test)
        return self.errors.metrics("test") | checks | {"cost/flops": self.flops_per_unit * budget}, warnings

    def budget_reached(self, budget: int, measured: tuple[dict[str, float], list[str]]) -> None:
        """Record errors and checks."""
        for warning in [*measured[1], *self.errors.doubts(self.baseline)]:
            self.tell(f"note: {warning}")
        self.recorder.metrics(measured[0], budget)

    def identity(self) -> dict[str, Any]:
        """The network's shape, the frames' digest and the best weights so far."""
        return {
            "network": asdict(self.config), "elements": self.elements, "frames_digest": self.frames.digest,
            "reference": self.reference.record(), "best": self.best,
        }  # fmt: skip

    @property
    def errors(self) -> ForceErrors:
        """Of the best weights on the test split."""
        return ForceErrors(*self.log["errors"])

    def results(self) -> dict[str, float]:
        """Log the curve and the model."""
        errors, nothing = self.errors, self.baseline
        figure = error_curve(self.title, self.log["validation"], errors.force_mae, nothing.force_mae, self.budgets[-1])
        self.recorder.figure(figure, "error_curve.html")
        folder, frames = run_folder(self.run_id) / "model", self.frames
        about = {**self.reference.record(), "task": self.task.name, "data_digest": frames.digest}
        if isinstance(frames.train, Mixture):
            assert isinstance(frames.test, Mixture)
            self.THEN = f"simulate --molecule {frames.test.names[0]}", self.THEN[1]
        else:
            about["numbers"] = frames.train.numbers.tolist()
            if frames.train.charge or frames.train.unpaired:
                about |= {"charge": frames.train.charge, "unpaired": frames.train.unpaired}
        force_fields.save(folder, self.settings.model, self.best_potential(), self.config, self.elements, about)
        (molecule,) = frames.train.molecules(1)
        first = molecule.numbers.tolist(), molecule.positions[0].tolist()
        example = pd.DataFrame([first], columns=["numbers", "positions"])
        self.recorder.tags(pyfunc.describe(folder, self.run_id, example))
        self.recorder.folder(folder, "model")
        return {
            "speed/mean_atoms_per_s": self.log["amount"] / self.trainer.train_seconds * self.train_split.atoms,
            "log10/non_embedding_params": math.log10(self.potential.non_embedding_params),
            "log10/train_frames": math.log10(self.train_frames),
        } | ({"log10/force_mae": math.log10(errors.force_mae)} if frames.test.has_forces else {})  # fmt: skip

    @property
    def reached(self) -> dict[int, float]:
        """Force MAE of the best weights on the test split."""
        measured = "errors" in self.log and self.frames.test.has_forces
        return {self.budgets[-1]: self.errors.force_mae} if measured else {}

    @property
    def final_value(self) -> float:
        """Force MAE on the validation split, in meV/Angstrom: the test split stays unseen by a search."""
        return float(self.best["force_mae"])

    def print_results(self) -> None:
        """Print the errors beside the baseline's: zero forces, the mean energy."""
        errors, of_molecules = self.errors, [*self.errors.force_mae_in.items()]
        print(f"{self.title}, {self.steps:,} steps of {self.recipe.batch_frames}")
        print(f"{'error on the test split':>25} {'this run':>10} {'baseline':>15}")
        for name, ours, zero in (
            ("force MAE, meV/Angstrom", errors.force_mae, self.baseline.force_mae),
            *((name, error, self.baseline.force_mae_in[name]) for name, error in of_molecules[:SHOWN_MOLECULES]),
            ("energy MAE, meV", errors.energy_mae, self.baseline.energy_mae),
        ):
            if not math.isnan(ours):
                print(f"{name:>25} {ours:>10.2f} {zero:>15.1f}")
