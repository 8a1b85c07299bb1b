"""A two-layer LSTM: all that a new language model has to declare, as short as it can be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from chemscale_bench.models.packed import Batch, Growing, LanguageModel
from chemscale_bench.models.registry import check_size

TITLE, MODEL_TYPE, STACKED, OPTIONS = "LSTM", "toy_lstm", False, ()
CONFIG_KEYS = frozenset(("model_type", "width", "vocabulary_size"))


@dataclass(frozen=True)
class Config:
    width: int
    vocabulary_size: int

    @property
    def non_embedding_params(self) -> int:
        return 2 * (8 * self.width**2 + 8 * self.width)

    @property
    def sizes(self) -> dict[str, int]:
        return {"layers": 2, "width": self.width, "heads": 1, "vocabulary_size": self.vocabulary_size}

    def flops_per_token(self, context: float) -> float:
        return 6.0 * (16 * self.width**2 + self.vocabulary_size * self.width)

    def plain(self) -> list[Any]:
        return list(astuple(self))

    @classmethod
    def from_plain(cls, values: list[Any]) -> Config:
        return cls(*values)


class Network(LanguageModel):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.lstm = nn.LSTM(config.width, config.width, num_layers=2, batch_first=True)

    def memory(self, rows: int) -> Tensor:
        return torch.zeros(2, 2, rows, self.config.width)

    def logits(self, batch: Batch | Growing) -> Tensor:
        x_NC = self.embedding(batch.inputs)
        if isinstance(batch, Growing):
            hidden, states = self.lstm(x_NC[:, None], (batch.memory * (batch.positions > 0)[:, None]).unbind())
            batch.memory.copy_(torch.stack(states))
            return hidden[:, 0] @ self.embedding.weight.mT  # type: ignore[no-any-return]
        sizes = [group.molecules * group.longest for group in batch.groups]
        padded = x_NC.new_zeros(sum(sizes), x_NC.shape[1]).index_copy(0, batch.places, x_NC)
        parts = zip(padded.split(sizes), batch.groups, strict=True)
        hidden = [self.lstm(part.view(*group, -1))[0].flatten(0, 1) for part, group in parts]
        logits: Tensor = torch.cat(hidden).index_select(0, batch.places) @ self.embedding.weight.mT
        return logits


def config_for(params: int, vocabulary_size: int) -> Config:
    sizes = [Config(width, vocabulary_size) for width in range(8, 4096, 4)]
    check_size(params, [size.non_embedding_params for size in sizes], TITLE)
    return min(sizes, key=lambda size: abs(size.non_embedding_params - params))


def stated(sizes: Mapping[str, int]) -> Config:
    return Config(sizes["width"], sizes["vocabulary_size"])


def build(config: Config, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(config)


def parameter_groups(
    model: Network, learning_rate: float | Literal["auto"], weight_decay: float, *, optimizer: str
) -> list[dict[str, Any]]:
    rate = 2.0**-7 if learning_rate == "auto" else learning_rate
    return [{"params": list(model.parameters()), "lr": rate, "weight_decay": weight_decay}]


def check_gpu(precision: str) -> None:
    """Everything works there."""


def save_pretrained(model: Network, folder: Path, start_id: int, end_id: int, pad_id: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": MODEL_TYPE} | vars(model.config)))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors")


def load_pretrained(folder: Path) -> Network:
    record = json.loads((folder / "config.json").read_text())
    model = Network(Config(record["width"], record["vocabulary_size"]))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model


def sizes_of(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"layers": 2, "width": record.get("width"), "heads": 1, "vocabulary_size": record.get("vocabulary_size")}


def weight_bytes(config: Config) -> int:
    return 4 * (config.non_embedding_params + config.width * config.vocabulary_size)
