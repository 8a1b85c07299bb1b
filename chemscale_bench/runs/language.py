"""One language-model run: molecules, a model, losses at every budget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chemscale_bench import tasks
from chemscale_bench.data.cache import run_folder
from chemscale_bench.data.held_out import held_out
from chemscale_bench.data.prepare import prepare
from chemscale_bench.data.sources import NAMES, check_source, official_name
from chemscale_bench.data.store import TokenStore
from chemscale_bench.errors import UserError
from chemscale_bench.evaluation import ngram
from chemscale_bench.models import hub
from chemscale_bench.models.language_models import load_trainable, optimizer_for, options_of, rated_groups
from chemscale_bench.models.packed import LanguageModel
from chemscale_bench.models.registry import LANGUAGE_MODELS
from chemscale_bench.runs import molecules
from chemscale_bench.runs.tracked import Judge, TrackedRun
from chemscale_bench.settings.chemgpt import ChemGPTSettings
from chemscale_bench.settings.language import LanguageSettings
from chemscale_bench.settings.training import TrainingSettings
from chemscale_bench.tracking import pyfunc
from chemscale_bench.tracking.figures import loss_curve
from chemscale_bench.tracking.lifetime import Stop
from chemscale_bench.training import sharding
from chemscale_bench.training.contracts import Report
from chemscale_bench.training.devices import check_device
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.language import COMPILED_FLOPS, LanguageObjective, validate
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.muon import optimizer_of
from chemscale_bench.training.schedules import segments

REPORTS = 400  # points of a training curve
PASS_TOKENS = {"cpu": 4_096, "cuda": 131_072}  # padded tokens of a forward pass, at first


class LanguageRun(TrackedRun):
    """A language model trained to the budgets of its task."""

    UNIT, SHORT, VERB = "tokens", "tok", "language"
    METRIC = "val/loss_nats_per_token"
    SETTINGS: type[TrainingSettings] = LanguageSettings
    BATCH, VALUE = "batch_tokens", "loss (nats/token)"
    THEN = "generate", "draw molecules from it"
    MODELS = LANGUAGE_MODELS

    def __init__(
        self, settings: LanguageSettings | ChemGPTSettings, fabric: Fabric, run_id: str, stop: Stop,
        saved: dict[str, Any] | None, judge: Judge | None = None,
    ) -> None:  # fmt: skip
        self.optimizer = optimizer_for(settings.model, settings.optimizer)
        settings = settings.model_copy(update={"optimizer": self.optimizer})
        super().__init__(settings, fabric, run_id, stop, saved, judge)
        self.settings, self.family = settings, LANGUAGE_MODELS.family(settings.model)
        self.options = options_of(settings.model, settings)
        self.loss: dict[int, float] = self.log.setdefault("loss", {})
        self.trigram: dict[int, float] = self.log.setdefault("trigram", {})
        self.data = official_name(settings.data)  # the file of a named data set, given by hand, is that data set
        self.task = tasks.load_language(settings.task).with_data(self.data, settings.vocabulary)
        self.budgets = self.task.budgets_up_to(settings.tokens)[0 if settings.smaller_budgets else -1 :]
        with stop.at_once(), self.clocked("data"):
            self.store = self.prepare_data()
            sample = self.task.data, self.store.vocabulary, self.task.validation_molecules
            self.test_sets = {name: held_out(name, *sample) for name in (self.task.test_sets if self.speaks else ())}
        self.model = self.make_model()
        lengths = self.store.train.lengths.astype(np.int64)
        attended = float((lengths * (lengths + 1) / 2).sum() / lengths.sum())
        self.config = self.model.config
        self.flops_per_unit = self.config.flops_per_token(attended)
        if fabric.device.type == "cuda" and self.flops_per_unit * self.budgets[-1] > COMPILED_FLOPS:
            for layer in self.model.layers_to_compile():
                layer.compile(dynamic=True)
        self.title = (
            f"{self.family.TITLE} {self.config.non_embedding_params:,} params, {self.config.sizes['layers']} x "
            f"{self.config.sizes['width']}, {self.about}"
        )
        if sharding.is_needed(settings.sharding, self.model, fabric):
            if self.optimizer == "muon":
                raise UserError("a sharded model must have optimizer=adamw, got muon (llama's `auto`); give it")
            sharding.spread(self.model, self.model.layers_to_compile(), fabric)
        self.trainer = self.make_trainer()

    @staticmethod
    def check(settings: LanguageSettings | ChemGPTSettings) -> None:
        """Refuse settings that can't work, before anything is made or downloaded."""
        task = tasks.load_language(settings.task)
        check_source(task.data if settings.data == "auto" else settings.data, settings.column)
        family, options = LANGUAGE_MODELS.family(settings.model), options_of(settings.model, settings)
        if settings.seeds > 1:
            LANGUAGE_MODELS.check_stacked("seeds", settings.seeds, settings.model)
        if not settings.init:
            family.config_for(settings.params, 1, **options)
        check_device(settings)
        if settings.device != "cpu" and torch.cuda.is_available():
            family.check_gpu(settings.precision)

    def prepare_data(self) -> TokenStore:
        """The packed molecules that the largest budget needs."""
        wanted = {"train_tokens": self.budgets[-1], "validation_molecules": self.task.validation_molecules}
        data = self.task.data if self.settings.data == "auto" else self.settings.data
        store = prepare(data, vocabulary=self.task.vocabulary, column=self.settings.column, **wanted)
        if self.saved and self.saved["train_digest"] != store.train.digest:
            raise UserError(
                f"resume must find the data that the run was started with, {data} has changed since; start a new run"
            )
        return store

    def make_model(self) -> LanguageModel:
        """A fresh model of the wanted size, the checkpoint to start from, or the network of the run to carry on."""
        if self.saved:
            network: LanguageModel = self.family.Network(self.family.Config.from_plain(self.saved["network"]))
            return network
        if not self.settings.init:
            config = self.family.config_for(self.settings.params, self.store.vocabulary.size, **self.options)
            fresh: LanguageModel = self.family.build(config, self.settings.seed, **self.options)
            return fresh
        folder = hub.checkpoint_folder(self.settings.init)
        model = load_trainable(self.settings.model, folder, **self.options)
        known = hub.symbols_of(folder) if self.settings.vocabulary != "chemgpt" else None
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
        warmup = round(chosen.warmup * self.task.budgets_up_to(chosen.tokens)[0])
        groups, self.learning_rate = rated_groups(
            chosen.model, self.model, chosen.learning_rate, chosen.weight_decay, warmup, self.optimizer, **self.options
        )
        batch, vocabulary = None if chosen.batch_tokens == "auto" else chosen.batch_tokens, self.store.vocabulary
        self.objective = LanguageObjective(
            self.store.train, vocabulary.start_id, vocabulary.size, chosen.seed, batch, fabric.device
        )
        trainer = Trainer(
            fabric, self.model, optimizer_of(self.optimizer, groups), self.objective, self,
            plan=segments(self.budgets, chosen.decay), clip=chosen.clip, warmup=warmup,
            report_every=max(1, self.budgets[-1] // REPORTS), save_seconds=60 * chosen.checkpoint_minutes,
            pass_limit=PASS_TOKENS[fabric.device.type], captures=self.model.captures,
        )  # fmt: skip
        if self.saved:
            trainer.resume(self.saved)
        return trainer

    def params(self) -> dict[str, object]:
        """Task, size and vocabulary."""
        return {
            "task_name": self.task.name, "model": self.settings.model,
            "non_embedding_params": self.config.non_embedding_params,
            "budgets_tokens": " ".join(map(str, self.budgets)), "data": official_name(self.settings.data),
            **self.config.sizes,
        }  # fmt: skip

    def tags(self) -> dict[str, object]:
        """Name and digests."""
        store = self.store
        string = "" if self.settings.vocabulary == "dataset" else self.settings.vocabulary
        return {
            "mlflow.runName": self.called(string, self.own),
            "task_digest": self.task.digest_with(store.digest, store.validation.digest),
            "data.digest": store.digest, "data.source": store.source, "data.source_sha256": store.source_sha256,
            "data.train_digest": store.train.digest, "data.validation_digest": store.validation.digest,
            "vocabulary.fingerprint": store.vocabulary.fingerprint,
        }  # fmt: skip

    @property
    def own(self) -> str:
        """The name of the user's own data, if any."""
        return "" if self.data == "auto" or self.data in NAMES else Path(self.data).stem

    @property
    def about(self) -> str:
        """The task in words."""
        own = f"own data {Path(self.settings.data).name} with the budgets of {self.settings.task}"
        return own if self.own else self.task.name

    def describe_data(self) -> None:
        """Log how many molecules there are, and how many could not be read, by reason."""
        self.recorder.dataset(self.store.name, self.store.source, self.store.digest, "training")
        self.beforehand.append((molecules.numbers(self.store, self.budgets[-1]), 0))

    def remarks(self) -> Iterator[str]:
        """How the user's file is read, what became of its lines, and what makes these data too few."""
        return molecules.notes(self.store, self.budgets[-1], self.own and self.settings.data, self.settings.column)

    def report_metrics(self, report: Report, name: str) -> dict[str, float]:
        """The training loss."""
        return {f"{name}/loss_nats_per_token": report.loss}

    def measure(self, budget: int) -> tuple[LanguageModel, dict[str, float]] | None:
        """Losses on the validation split, and at the end on the test sets, and the model that has them."""
        if not (model := self.whole_model()):
            return None
        splits = {"val": self.store.validation} | (self.test_sets if budget == self.budgets[-1] else {})
        found: dict[str, float] = {}
        with self.fabric.autocast(), self.clocked("validation"):
            for name, split in splits.items():
                losses = validate(model, split, self.store.vocabulary.start_id, self.fabric.device)
                found |= losses.metrics(name)
        return model, found

    def budget_reached(self, budget: int, measured: tuple[LanguageModel, dict[str, float]]) -> None:
        """Record the losses beside that of the trigram model of the same tokens, and keep the model."""
        model, found = measured
        self.loss[budget] = found["val/loss_nats_per_token"]
        if budget < self.budgets[-1]:
            self.save_model(model, run_folder(self.run_id) / "models" / str(budget))
        with self.clocked("baseline"):
            self.trigram[budget] = ngram.validation_loss(self.store, budget)
        cost = {"cost/flops": self.flops_per_unit * budget, "baseline/trigram_nats_per_token": self.trigram[budget]}
        self.recorder.metrics(found | cost, budget)

    def save_model(self, model: LanguageModel, folder: Path) -> None:
        """Keep weights and tokenizer."""
        vocabulary = self.store.vocabulary
        self.family.save_pretrained(model, folder, vocabulary.start_id, vocabulary.end_id, vocabulary.pad_id)
        vocabulary.save_pretrained(folder)

    def whole_model(self) -> LanguageModel | None:
        """The model in the process that validates and records, None in the others; all have to call it."""
        if not sharding.is_spread(self.model):
            return self.model if self.speaks else None
        empty: LanguageModel = self.family.Network(self.config)
        return sharding.whole(self.model, empty, self.fabric)

    def gather(self) -> None:
        """Have the trained model whole."""
        self.trained = self.whole_model()

    def identity(self) -> dict[str, Any]:
        """The network's shape and the data's digest."""
        return {"network": self.config.plain(), "train_digest": self.store.train.digest}

    def results(self) -> dict[str, float]:
        """Log the loss curve and a checkpoint."""
        figure = loss_curve(self.title, self.log["curve"], self.loss, self.trigram, "nats/token")
        self.recorder.figure(figure, "loss_curve.html")
        assert self.trained is not None
        folder = run_folder(self.run_id) / "model"
        self.save_model(self.trained, folder)
        self.recorder.tags(pyfunc.describe(folder, self.run_id))
        self.recorder.folder(folder, "model")
        if (earlier := folder.with_name("models")).exists():
            self.recorder.folder(earlier, "models")
        params, tokens = self.config.non_embedding_params, self.budgets[-1]
        return {"log10/non_embedding_params": math.log10(params), "log10/tokens": math.log10(tokens)}

    @property
    def reached(self) -> dict[int, float]:
        """Validation losses."""
        return self.loss

    @property
    def final_value(self) -> float:
        """Validation loss in nats per token."""
        return self.loss[self.budgets[-1]]

    def print_results(self) -> None:
        """Print the run's row of the grid."""
        explained = "(lower is better; trigram: counts of three tokens in a row of the same data)"
        print(f"{'tokens':>14} {'val nats/token':>15} {'trigram':>9}  {explained}")
        for budget in self.budgets:
            print(f"{budget:>14,} {self.loss[budget]:>15.4f} {self.trigram[budget]:>9.4f}")


class ChemGPTRun(LanguageRun):
    """What the verb `chemgpt` trains."""

    VERB, SETTINGS = "chemgpt", ChemGPTSettings
