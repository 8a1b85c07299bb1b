"""CharRNN: the recurrent baseline of MOSES (Polykovskiy et al. 2020, arXiv 1811.12823, `moses/char_rnn`).

Three LSTM layers (Hochreiter and Schmidhuber 1997) and a linear layer. MOSES has 768 channels and a dropout of 0.2;
here the width is the ladder, symbols are embedded into as many channels, and nothing is dropped out, since few
molecules are seen twice. Rates follow the width as muTransfer has it for Adam (Yang et al. 2022, arXiv 2203.03466,
Table 8), see `parameter_groups`.

Legend: N tokens of all molecules of a batch, one after another; B molecules; T tokens of the longest one; C channels;
V vocabulary.

Every molecule is a sequence of its own: on a CPU molecules of similar length are padded to the longest of them, behind
their ends, where nothing comes after. On a GPU all are padded to the longest of the batch; recurrences stay in fp32.
Models are not stacked: `nn.LSTM` is one call of a compiled library for all layers of one model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from chemscale_bench.errors import UserError, first_line
from chemscale_bench.models.packed import Batch, Growing, LanguageModel
from chemscale_bench.models.parametrization import Optimizer
from chemscale_bench.models.registry import check_size

TITLE = "CharRNN"
STACKED = False
OPTIONS = ()
MODEL_TYPE = "chemscale_char_rnn"

LAYERS = 3
BASE_WIDTH = 128
LEARNING_RATE = 2.0**-7
"""Of the base width; found by measurement, see the README."""
MUON_RATE = 2.0**-5
GATES = 4  # input, forget, cell, output, whose matrices lie in the rows of one
EMBEDDING_STD = 1.0
HIDDEN_STD, HEAD_STD = 3.0, 0.5  # times the width to the power -1/2
FORGET_BIAS = 1.0  # so that a cell keeps what it has at first (Jozefowicz et al. 2015)


@dataclass(frozen=True)
class CharRNNConfig:
    """What fixes the network."""

    width: int
    """Channels C of every layer, and of the embedding."""
    vocabulary_size: int
    """Rows of the embedding V, and logits."""

    @property
    def non_embedding_params(self) -> int:
        """Parameters outside the embedding and the linear layer that makes logits: 3 (8 C^2 + 8 C)."""
        return LAYERS * (8 * self.width**2 + 8 * self.width)

    @property
    def sizes(self) -> dict[str, int]:
        """What a run logs of the network, and an entry states."""
        return {"layers": LAYERS, "width": self.width, "heads": 1, "vocabulary_size": self.vocabulary_size}

    def flops_per_token(self, context: float) -> float:
        """Training FLOPs per token, forward and backward: 6 per weight in a matrix product.

        Args:
            context: mean number of tokens that a token may know of; a recurrent network's cost does not depend on it.
        """
        return 6.0 * (LAYERS * 8 * self.width**2 + self.vocabulary_size * self.width)

    def plain(self) -> list[Any]:
        """As plain values, for a resume state."""
        return list(astuple(self))

    @classmethod
    def from_plain(cls, values: list[Any]) -> Self:
        """From what `plain` gave."""
        return cls(*values)


class States(NamedTuple):
    """Of growing molecules, after their last token."""

    hidden: Tensor  # (L, B, C)
    cells: Tensor  # (L, B, C)


class CharRNN(LanguageModel):
    """The language model."""

    config: CharRNNConfig
    captures = False  # on a GPU, the longest molecule of a batch has to be known before it is padded

    def __init__(self, config: CharRNNConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.lstm = nn.LSTM(config.width, config.width, num_layers=LAYERS, batch_first=True)
        self.head = nn.Linear(config.width, config.vocabulary_size)

    def logits(self, batch: Batch | Growing) -> Tensor:
        """Logits (N, V) of the next token at every packed position."""
        x_NC = self.embedding(batch.inputs)
        if isinstance(batch, Growing):
            with torch.autocast(x_NC.device.type, enabled=False):
                hidden = self.next_states(x_NC, batch)
        else:
            hidden = self.run(self.lstm, x_NC, batch)
        logits: Tensor = self.head(hidden)
        return logits

    def memory(self, rows: int) -> States:
        """The states, at first zero."""
        weight = self.head.weight
        return States(*weight.new_zeros(2, LAYERS, rows, self.config.width))

    def next_states(self, x_BC: Tensor, batch: Growing) -> Tensor:
        """The last layer's states (B, C) after one more token; a molecule that begins forgets what was there."""
        states = [state * (batch.positions > 0).unsqueeze(-1) for state in batch.memory]
        hidden_B1C, after = self.lstm(x_BC.unsqueeze(1), tuple(states))
        for state, new in zip(batch.memory, after, strict=True):
            state.copy_(new)
        return hidden_B1C.squeeze(1)  # type: ignore[no-any-return]

    def states(self, batch: Batch) -> Iterator[Tensor]:
        """States (N, C) behind the embedding and behind each layer."""
        x_NC = self.embedding(batch.inputs)
        for layer in range(LAYERS):
            yield x_NC
            x_NC = self.run(self.layer(layer), x_NC, batch)
        yield x_NC

    def layer(self, number: int) -> nn.LSTM:
        """One of the layers by itself, with the same weights."""
        one = nn.LSTM(self.config.width, self.config.width, batch_first=True, device="meta")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(one, f"{name}_l0", getattr(self.lstm, f"{name}_l{number}"))
        return one

    def run(self, lstm: nn.LSTM, x_NC: Tensor, batch: Batch) -> Tensor:
        """What an LSTM makes of packed inputs (N, C): its last layer's states (N, C)."""
        with torch.autocast(x_NC.device.type, enabled=False):
            return self.grouped(lstm, x_NC, batch) if batch.groups else self.padded(lstm, x_NC, batch)

    def grouped(self, lstm: nn.LSTM, x_NC: Tensor, batch: Batch) -> Tensor:
        """The last layer's states (N, C), computed for groups of molecules of similar length."""
        sizes = [group.molecules * group.longest for group in batch.groups]
        padded = x_NC.new_zeros(sum(sizes), x_NC.shape[1]).index_copy(0, batch.places, x_NC)
        parts = zip(padded.split(sizes), batch.groups, strict=True)
        hidden = [lstm(part.view(*group, -1))[0].flatten(0, 1) for part, group in parts]
        return torch.cat(hidden).index_select(0, batch.places)

    def padded(self, lstm: nn.LSTM, x_NC: Tensor, batch: Batch) -> Tensor:
        """The last layer's states (N, C), computed for all molecules at once."""
        lengths_B = batch.offsets.diff().long()
        lengths_B = lengths_B[lengths_B > 0]  # empty ones would be padded to the longest, too
        longest = int(lengths_B.max())
        molecule_N = torch.repeat_interleave(lengths_B, output_size=len(x_NC))
        padded_BTC = x_NC.new_zeros(len(lengths_B), longest, x_NC.shape[1])
        states_BTC, _ = lstm(padded_BTC.index_put((molecule_N, batch.positions), x_NC))
        states_NC: Tensor = states_BTC[molecule_N, batch.positions]
        return states_NC


Config, Network = CharRNNConfig, CharRNN


def config_for(params: int, vocabulary_size: int) -> CharRNNConfig:
    """The config whose non-embedding parameters are within 5 % of `params`.

    Raises:
        UserError: if there is no such width; the message names the nearest sizes.
    """
    sizes = [CharRNNConfig(width, vocabulary_size) for width in [*range(16, 128), *range(128, 32_769, 8)]]
    check_size(params, [size.non_embedding_params for size in sizes], TITLE)
    return min(sizes, key=lambda size: abs(size.non_embedding_params - params))


def stated(sizes: Mapping[str, int]) -> CharRNNConfig:
    """The config of what an entry states as its network: `Config.sizes`."""
    return CharRNNConfig(sizes["width"], sizes["vocabulary_size"])


def build(config: CharRNNConfig, seed: int) -> CharRNN:
    """A fresh model with initial weights drawn from `seed`, the same on every device.

    Matrices start with a standard deviation that falls as C^-1/2, biases at zero but for those of the forget gates.
    """
    model = CharRNN(config)
    generator = torch.Generator().manual_seed(seed)
    stds = {"embedding": EMBEDDING_STD, "lstm": HIDDEN_STD * config.width**-0.5, "head": HEAD_STD * config.width**-0.5}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=stds[name.partition(".")[0]], generator=generator)
            else:
                parameter.zero_()
            if name.startswith("lstm.bias_ih"):
                parameter.chunk(GATES)[1].fill_(FORGET_BIAS)
    return model


def untrained(config: CharRNNConfig, seed: int) -> CharRNN:
    """A fresh model of a checkpoint's sizes."""
    return build(config, seed)


def parameter_groups(
    model: CharRNN, learning_rate: float | Literal["auto"], weight_decay: float, *, optimizer: Optimizer = "adamw"
) -> list[dict[str, Any]]:
    """The optimizer's parameter groups; `learning_rate` is that of the base width, `auto` one found by measurement.

    Under AdamW matrices that read C channels learn at 128 / C times the rate, embeddings and biases at the rate itself.
    Under Muon the rate is that of the LSTM's matrices, gate by gate, and all else keeps AdamW's rate beside it. Weight
    decay acts on the LSTM's matrices only; the product with their rate, which is what is applied, is that of the base.
    """
    found = {"adamw": LEARNING_RATE, "muon": MUON_RATE}[optimizer]
    rate = found if learning_rate == "auto" else learning_rate
    factor, others = BASE_WIDTH / model.config.width, rate / found * LEARNING_RATE
    named = list(model.named_parameters())
    recurrent = [parameter for name, parameter in named if name.startswith("lstm.weight")]
    rest = [parameter for name, parameter in named if name.startswith("embedding.") or parameter.ndim == 1]
    hidden = {"lr": rate, "weight_decay": weight_decay, "parts": GATES}
    if optimizer == "adamw":
        hidden = {"lr": rate * factor, "weight_decay": weight_decay / factor}
    return [
        {"params": recurrent} | hidden,
        {"params": [model.head.weight], "lr": others * factor, "weight_decay": 0.0},
        {"params": rest, "lr": others, "weight_decay": 0.0},
    ]


def check_gpu(precision: str) -> None:
    """Everything works there; the recurrence is in fp32 where the rest is in bf16."""


CONFIG_KEYS = frozenset(("model_type", "width", "vocabulary_size", "start_id", "end_id", "pad_id"))
"""What the config.json of our checkpoints holds."""


def save_pretrained(model: CharRNN, folder: Path, start_id: int, end_id: int, pad_id: int) -> None:
    """Write `config.json` and `model.safetensors`, for `load_pretrained`: `transformers` has no such network."""
    record = {"model_type": MODEL_TYPE} | asdict(model.config)
    record |= {"start_id": start_id, "end_id": end_id, "pad_id": pad_id}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(record, indent=2) + "\n")
    state = {name: value.detach().float().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def sizes_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint's config.json says of its network, by the names of `Config.sizes`; nothing is checked."""
    found = {key: record.get(key) for key in ("width", "vocabulary_size")}
    return {"layers": LAYERS, "heads": 1} | found


def weight_bytes(config: CharRNNConfig) -> int:
    """Bytes of the weights of a checkpoint."""
    tables = config.vocabulary_size * (2 * config.width + 1)
    return 4 * (config.non_embedding_params + tables)


def load_pretrained(folder: Path) -> CharRNN:
    """Load what `save_pretrained` has written.

    Raises:
        UserError: if the files are missing, or of another network.
    """
    try:
        record = json.loads((folder / "config.json").read_text())
        kind, config = record["model_type"], CharRNNConfig(int(record["width"]), int(record["vocabulary_size"]))
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = first_line(error)
        raise UserError(
            f"init must be a checkpoint with config.json and model.safetensors, got {folder} ({reason}); "
            f"take the model artifact of a run of {TITLE}"
        ) from None
    if kind != MODEL_TYPE:
        raise UserError(f"init must have model_type={MODEL_TYPE!r} as {TITLE} has, got {kind!r} in {folder}")
    model = CharRNN(config)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"init must hold every weight of its config.json, got {folder} ({reason})") from None
    return model
