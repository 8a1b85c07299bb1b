"""One language-model run: data, model, training and tracking; the whole story on a page."""

from __future__ import annotations

import math
import shutil
import sys
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from tqdm import tqdm

from chemscale_bench import tasks
from chemscale_bench.data.cache import home
from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.store import TokenStore
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation.ngram import Trigram
from chemscale_bench.models import chemgpt
from chemscale_bench.models.parametrization import LEARNING_RATE, build, parameter_groups
from chemscale_bench.models.sizes import Shape, shape_for
from chemscale_bench.settings import ChemGPTSettings
from chemscale_bench.tracking.ending import Interrupted
from chemscale_bench.tracking.energy import EnergyMeter
from chemscale_bench.tracking.figures import loss_curve
from chemscale_bench.tracking.lifetime import Stop
from chemscale_bench.tracking.provenance import code_tags, device_name, environment_tags
from chemscale_bench.tracking.recorder import Recorder
from chemscale_bench.training import checkpoints
from chemscale_bench.training.language import LanguageObjective, validate
from chemscale_bench.training.loop import Report, Trainer
from chemscale_bench.training.schedules import segments
from chemscale_bench.training.speed import peak_flops, peak_memory_gib

REPORTS = 400  # points of a training curve
PASS_TOKENS = {"cpu": 4_096, "cuda": 131_072}  # padded tokens of a forward pass, at first


def run_folder(run_id: str) -> Path:
    """Where a run keeps its resume state while it is not finished."""
    return home() / "runs" / run_id


class LanguageRun:
    """A language model trained to the budgets of its task; told by the loop what happens, tells MLflow."""

    def __init__(
        self, settings: ChemGPTSettings, fabric: Fabric, run_id: str, stop: Stop, saved: dict[str, Any] | None
    ) -> None:
        self.settings, self.fabric, self.run_id, self.stop, self.saved = settings, fabric, run_id, stop, saved
        self.speaks = fabric.is_global_zero  # one process validates, records and keeps the state
        self.task = tasks.load_language(settings.task).with_data(settings.data, settings.vocabulary)
        self.budgets = self.task.budgets_up_to(settings.tokens)
        with stop.at_once():
            self.store = self.prepare_data()
        self.model = self.make_model()
        shape, device = self.model.config.shape, device_name(fabric.device)
        lengths = self.store.train.lengths.astype(np.int64)
        self.flops_per_token = self.model.config.flops_per_token(
            float((lengths * (lengths + 1) / 2).sum() / lengths.sum())
        )
        self.peak = peak_flops(device) * fabric.world_size if fabric.device.type == "cuda" else math.nan
        self.title = f"ChemGPT {shape.non_embedding_params:,} params, {shape.layers} x {shape.width}, {self.task.name}"
        log = {"curve": [], "loss": {}, "trigram": {}, "energy_kj": 0.0, "tokens": 0}
        self.log: dict[str, Any] = saved["log"] if saved else log
        self.energy = EnergyMeter(fabric.device)
        self.trainer = self.make_trainer()

    def prepare_data(self) -> TokenStore:
        """The packed molecules that the largest budget needs."""
        wanted = {"train_tokens": self.budgets[-1], "validation_molecules": self.task.validation_molecules}
        store = prepare(self.task.data, vocabulary=self.task.vocabulary, **wanted)
        if self.saved and self.saved["train_digest"] != store.train.digest:
            raise UserError(
                f"resume must find the data that the run was started with, {self.task.data} has changed since; "
                "start a new run"
            )
        return store

    def make_model(self) -> chemgpt.ChemGPT:
        """A fresh model of the wanted size, the checkpoint to start from, or the network of the run to carry on."""
        if self.saved:
            shape, *rest = self.saved["network"]
            return chemgpt.ChemGPT(chemgpt.ChemGPTConfig(Shape(*shape), *rest))
        if not self.settings.init:
            shape = shape_for(self.settings.params, self.settings.ladder)
            return build(shape, self.store.vocabulary.size, self.settings.parametrization, self.settings.seed)
        folder = chemgpt.checkpoint_folder(self.settings.init)
        model = chemgpt.load_pretrained(folder)
        known = chemgpt.symbols_of(folder) if self.settings.vocabulary == "dataset" else None
        if known is not None and known != list(self.store.vocabulary.symbols):
            raise UserError(
                f"init must have the vocabulary of the data, the tokenizer.json of {self.settings.init} has another; "
                "start from a checkpoint that was trained on these data"
            )
        if model.config.vocabulary_size != self.store.vocabulary.size:
            raise UserError(
                f"init must have the vocabulary of the data, {self.store.vocabulary.size} symbols, got "
                f"{model.config.vocabulary_size}; for a released ChemGPT use vocabulary=chemgpt"
            )
        return model

    def make_trainer(self) -> Trainer:
        """The loop with this run's optimizer, objective and schedule."""
        chosen, fabric = self.settings, self.fabric
        rate = LEARNING_RATE[chosen.parametrization] if chosen.learning_rate == "auto" else chosen.learning_rate
        groups = parameter_groups(self.model, chosen.parametrization, rate, chosen.weight_decay)
        batch = None if chosen.batch_tokens == "auto" else chosen.batch_tokens
        vocabulary = self.store.vocabulary
        self.objective = LanguageObjective(
            self.store.train, vocabulary.start_id, vocabulary.size, chosen.seed, batch, fabric.device
        )
        trainer = Trainer(
            fabric, self.model, torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True), self.objective, self,
            plan=segments(self.budgets, chosen.decay), warmup=round(chosen.warmup * self.budgets[0]), clip=chosen.clip,
            report_every=max(1, self.budgets[-1] // REPORTS), save_seconds=60 * chosen.checkpoint_minutes,
            pass_limit=PASS_TOKENS[fabric.device.type],
        )  # fmt: skip
        if self.saved:
            trainer.resume(self.saved)
        return trainer

    # -- the run -------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Train, record, save the model; raises `Interrupted` if asked to stop on the way."""
        total = self.budgets[-1] + round(self.settings.decay * sum(self.budgets[:-1]))
        done = self.log["tokens"]
        with ExitStack() as stack:
            bar = tqdm(total=total, initial=done, unit="tok", unit_scale=True, desc="training", disable=not self.speaks)
            self.bar = stack.enter_context(bar)
            if self.speaks:
                unsent = self.saved["unsent"] if self.saved else ()
                self.recorder = stack.enter_context(Recorder(self.run_id, unsent, resumed=bool(self.saved)))
                if not self.saved:
                    self.describe()
            self.save(self.trainer.state())
            reason = self.trainer.run()
            self.save(self.trainer.state())
            if self.speaks:
                self.deliver()
            if reason:
                raise Interrupted(reason)
            if self.speaks:
                self.finish()

    def deliver(self) -> None:
        """Send what is still buffered.

        Raises:
            UserError: if the store does not take it; the resume state has it all.
        """
        if not self.recorder.deliver():
            raise UserError(
                f"the tracking store must take the run, it does not ({self.recorder.problem}); nothing is lost: once "
                f"it is back, the same command with resume={self.run_id} delivers the rest"
            )

    def describe(self) -> None:
        """Log what is about to be trained, on what, by what."""
        shape, store, recorder = self.model.config.shape, self.store, self.recorder
        recorder.params(
            {
                "task_name": self.task.name, "model": "chemgpt", "non_embedding_params": shape.non_embedding_params,
                "layers": shape.layers, "width": shape.width, "heads": shape.heads,
                "vocabulary_size": store.vocabulary.size, "budgets_tokens": " ".join(map(str, self.budgets)),
                "peak_learning_rate": self.trainer.peak_rates[0], "arithmetic": self.fabric._precision.precision,
            }
            | self.settings.model_dump()
        )  # fmt: skip
        recorder.tags(
            {
                "mlflow.runName": f"chemgpt-{shape.non_embedding_params:.2g}-seed{self.settings.seed}",
                "task_digest": self.task.digest_with(store.digest, store.validation.digest),
                "data.digest": store.digest, "data.source": store.source, "data.source_sha256": store.source_sha256,
                "data.train_digest": store.train.digest, "data.validation_digest": store.validation.digest,
                "vocabulary.fingerprint": store.vocabulary.fingerprint,
                "energy.source": self.energy.source,
            }
            | code_tags() | environment_tags(self.fabric.device)
        )  # fmt: skip
        recorder.dataset(store.name, store.source, store.digest, "training")
        counts = {f"data/{reason}": float(count) for reason, count in store.counts.items()}
        sizes = {"data/train_molecules": len(store.train), "data/validation_molecules": len(store.validation)}
        epochs = self.budgets[-1] / len(store.train.tokens)
        recorder.metrics(counts | sizes | {"data/train_tokens": len(store.train.tokens), "data/epochs": epochs}, 0)
        tqdm.write(f"{self.title}: run {self.run_id}", file=sys.stderr)
        if epochs > 4:
            tqdm.write(
                f"note: {self.budgets[-1]:,} tokens are {epochs:.1f} passes over {len(store.train.tokens):,}; "
                "beyond 4, repeated data teach less than new (Muennighoff et al. 2023)", file=sys.stderr,
            )  # fmt: skip

    def finish(self) -> None:
        """Log cost, figure and model, and print the run's row of the grid."""
        last = self.budgets[-1]
        seconds, tokens = self.trainer.train_seconds, self.log["tokens"]
        flops = self.flops_per_token * tokens
        on_gpu = self.fabric.device.type == "cuda"
        self.recorder.metrics(
            {
                "cost/train_seconds": seconds, "cost/gpu_seconds": seconds * self.fabric.world_size * on_gpu,
                "cost/energy_kj": self.log["energy_kj"],
                "cost/flops_total": flops, "speed/mean_tokens_per_s": tokens / seconds,
                "speed/mfu": flops / seconds / self.peak, "memory/peak_gib": peak_memory_gib(self.fabric.device),
                "log10/non_embedding_params": math.log10(self.model.config.shape.non_embedding_params),
                "log10/tokens": math.log10(last), "log10/flops": math.log10(self.flops_per_token * last),
            },
            last,
        )  # fmt: skip
        loss, trigram = self.log["loss"], self.log["trigram"]
        self.recorder.figure(loss_curve(self.title, self.log["curve"], loss, trigram, "nats/token"), "loss_curve.html")
        folder = run_folder(self.run_id)
        vocabulary = self.store.vocabulary
        chemgpt.save_pretrained(self.model, folder / "model", vocabulary.start_id, vocabulary.end_id, vocabulary.pad_id)
        vocabulary.save_pretrained(folder / "model")
        self.recorder.folder(folder / "model", "model")
        self.deliver()
        shutil.rmtree(folder)
        self.bar.close()
        print(f"{'tokens':>14} {'val nats/token':>15} {'trigram':>9}")
        for budget in self.budgets:
            print(f"{budget:>14,} {loss[budget]:>15.4f} {trigram[budget]:>9.4f}")
        print(f"run {self.run_id} is in the tracking store; look at it with: mlflow ui")

    # -- what the loop tells -------------------------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """A stretch of training is done."""
        if not self.speaks:
            return
        self.log["curve"].append((report.kind, report.position, report.loss))
        self.log["tokens"] += report.amount
        name = "train" if report.kind == "trunk" else "decay"
        speed = report.amount / report.seconds
        values = {
            f"{name}/loss_nats_per_token": report.loss,
            f"{name}/learning_rate": report.learning_rate,
            f"{name}/gradient_norm": report.gradient_norm,
            f"speed/{name}_tokens_per_s": speed,
        }
        self.recorder.metrics(values, report.position)
        self.bar.set_postfix_str(f"loss {report.loss:.3f} {report.kind}")
        self.bar.update(report.amount)

    def budget_reached(self, budget: int) -> None:
        """Validate, and put the trigram model of the same tokens beside it."""
        if not self.speaks:
            return
        store, fabric = self.store, self.fabric
        with fabric.autocast():
            result = validate(self.model, store.validation, store.vocabulary.start_id, fabric.device)
        self.log["loss"][budget] = result.metrics["val/loss_nats_per_token"]
        trigram = Trigram(store.vocabulary.size, store.vocabulary.start_id).fit(self.objective.first(budget))
        self.log["trigram"][budget] = trigram.nats_per_token(store.validation.sequences())
        cost = {
            "cost/flops": self.flops_per_token * budget,
            "baseline/trigram_nats_per_token": self.log["trigram"][budget],
        }
        self.recorder.metrics(result.metrics | cost, budget)

    def save(self, state: dict[str, Any]) -> None:
        """Keep everything that the run needs to go on."""
        used = self.fabric.all_reduce(torch.tensor(self.energy.kilojoules_since_last_call()), reduce_op="sum")
        self.log["energy_kj"] += torch.as_tensor(used).item()
        if self.speaks:
            rest = {
                "settings": self.settings.model_dump(exclude={"resume"}),
                "network": [list(self.model.config.shape), *astuple(self.model.config)[1:]],
                "train_digest": self.store.train.digest,
                "log": self.log,
                "unsent": self.recorder.unsent(),
            }
            checkpoints.save_state(state | rest, run_folder(self.run_id) / "state.pt")

    def stop_requested(self) -> str | None:
        """Whether this process, or any of its peers, was asked to stop."""
        reason = self.stop.requested
        if self.fabric.world_size > 1:
            asked = torch.tensor(float(reason is not None), device=self.fabric.device)
            if torch.as_tensor(self.fabric.all_reduce(asked, reduce_op="sum")).item():
                return reason or "another process was asked to stop"
        return reason
