"""ChemGPT: GPT-Neo as Frey et al. (2023) trained it, computed without any work on padding.

Legend: N tokens of all molecules of a batch, one after another; B molecules; T tokens of the longest molecule;
H heads; D channels per head; C = H D width; V vocabulary. Models that are trained as a stack (training/stacked.py) have
their members in front: (K, N, C), with the B molecules of all of them.

Everything but attention runs on the packed tokens (N, C). Attention keeps every molecule by itself: on a GPU in one
kernel (models/attention.py), on a CPU by gathering into (B, H, T, D) and back. The maths is that of
`GPTNeoForCausalLM`: learned positions, attention logits that are not divided by sqrt(D), every second layer local with
a window of 256, tanh GELU, tied head. `to_transformers` and `from_transformers` convert the weights exactly.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from chemscale_bench.errors import UserError
from chemscale_bench.models.attention import molecule_attention
from chemscale_bench.models.sizes import Shape

POSITIONS = 2048
WINDOW = 256


@dataclass(frozen=True)
class ChemGPTConfig:
    """What fixes the network."""

    shape: Shape
    """Layers, width and heads."""
    vocabulary_size: int
    """Rows of the embedding V."""
    attention_scale: float = 1.0
    """Factor on attention logits; 1 is GPT-Neo (folded into the query weights on export)."""
    output_scale: float = 1.0
    """Factor on the logits; 1 is GPT-Neo (folded into the last layer norm on export)."""

    def flops_per_token(self, context: float) -> float:
        """Training FLOPs per token, forward and backward: 6 per weight in a matrix product, and attention.

        Args:
            context: mean number of tokens that a token attends to, itself included.
        """
        layers, width, _ = self.shape
        return 6 * (12 * layers * width**2 + self.vocabulary_size * width) + 12 * layers * width * context


class Group(NamedTuple):
    """Molecules of similar length, for attention on a CPU."""

    molecules: int  # B
    longest: int  # T: each of them is padded to it


class Batch(NamedTuple):
    """Molecules packed one after another; the start token is an input and never a target."""

    inputs: Tensor  # (N,) int64: start, symbols
    targets: Tensor  # (N,) int64: symbols, end; NOTHING where a batch is filled up to a given size
    positions: Tensor  # (N,) int64: 0, 1, ... within each molecule
    offsets: Tensor  # (B + 1,) int32: first row of every molecule
    groups: tuple[Group, ...]  # on a CPU, the shortest molecules first
    places: Tensor  # (N,) int64: where each row lies in the padded layout, (B T) of one group after another


NOTHING = -100  # a target that is none, as `functional.cross_entropy` has it
SHORT = 128  # tokens of a molecule up to which, on a CPU, two batched products take less time than torch's attention


class Block(nn.Module):
    """One pre-norm transformer layer of GPT-Neo."""

    def __init__(self, shape: Shape, local: bool, attention_scale: float) -> None:
        super().__init__()
        width = shape.width
        self.heads, self.local, self.attention_scale = shape.heads, local, attention_scale
        self.norm_attention = nn.LayerNorm(width, eps=1e-5)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width, eps=1e-5)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, x_NC: Tensor, batch: Batch) -> Tensor:
        """Attention and MLP, each added to the residual stream (N, C)."""
        qkv = self.query_key_value(self.norm_attention(x_NC))
        x_NC = x_NC + self.attention_out(self.attend(qkv.reshape(-1, qkv.shape[-1]), batch).view(x_NC.shape))
        hidden = functional.gelu(self.mlp_in(self.norm_mlp(x_NC)), approximate="tanh")
        x_NC = x_NC + self.mlp_out(hidden)
        return x_NC

    def attend(self, qkv: Tensor, batch: Batch) -> Tensor:
        """Causal attention inside each molecule: (N, 3 C) to (N, C)."""
        if qkv.is_cuda:
            window = WINDOW if self.local else None
            return molecule_attention(qkv, batch.offsets, self.heads, self.attention_scale, window)
        sizes = [group.molecules * group.longest for group in batch.groups]
        padded = qkv.new_zeros(sum(sizes), qkv.shape[1]).index_copy(0, batch.places, qkv)
        parts = zip(padded.split(sizes), batch.groups, strict=True)
        return torch.cat([self.attend_group(part, *group) for part, group in parts]).index_select(0, batch.places)

    def attend_group(self, padded: Tensor, molecules: int, longest: int) -> Tensor:
        """Attention of a group's padded rows (B T, 3 C): (B T, C)."""
        q, k, v = padded.view(molecules, longest, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
        if longest <= SHORT:
            q, k, v = (part.flatten(0, 1) for part in (q, k, v))
            future = q.new_full((longest, longest), -math.inf).triu(1)
            shares = torch.baddbmm(future, q, k.mT, alpha=self.attention_scale).softmax(-1)
            y = torch.bmm(shares, v).view(molecules, self.heads, longest, -1)
        else:
            mask = torch.ones(longest, longest, dtype=torch.bool).tril().triu(1 - WINDOW) if self.local else None
            y = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None, scale=self.attention_scale
            )
        return y.transpose(1, 2).reshape(len(padded), -1)


class ChemGPT(nn.Module):
    """The language model; called with a `Batch`, gives the summed cross-entropy in nats."""

    def __init__(self, config: ChemGPTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.shape.width
        self.token_embedding = nn.Embedding(config.vocabulary_size, width)
        self.position_embedding = nn.Embedding(POSITIONS, width)
        self.blocks = nn.ModuleList(
            Block(config.shape, local=layer % 2 == 1, attention_scale=config.attention_scale)
            for layer in range(config.shape.layers)
        )
        self.norm_out = nn.LayerNorm(width, eps=1e-5)

    def logits(self, batch: Batch) -> Tensor:
        """Logits (N, V) of the next token at every packed position."""
        x_NC = self.token_embedding(batch.inputs) + self.position_embedding(batch.positions)
        for block in self.blocks:
            x_NC = block(x_NC, batch)
        logits: Tensor = self.norm_out(x_NC) @ self.token_embedding.weight.mT
        return self.config.output_scale * logits

    def token_losses(self, batch: Batch) -> Tensor:
        """Cross-entropy (N,) in nats of every predicted token."""
        logits = self.logits(batch).float()
        losses = functional.cross_entropy(logits.flatten(0, -2), batch.targets.flatten(), reduction="none")
        return losses.view(batch.targets.shape)

    def forward(self, batch: Batch) -> Tensor:
        """Cross-entropy in nats, summed over the predicted tokens: one number, or one of each member of a stack."""
        return self.token_losses(batch).sum(-1)


BLOCK_NAMES = {
    "ln_1": "norm_attention",
    "attn.attention.out_proj": "attention_out",
    "ln_2": "norm_mlp",
    "mlp.c_fc": "mlp_in",
    "mlp.c_proj": "mlp_out",
}  # Hugging Face's name of a part: ours


def to_transformers(model: ChemGPT) -> dict[str, Tensor]:
    """The weights under GPT-Neo's names, with both scales folded in, so that plain GPT-Neo gives the same logits."""
    state = {name: value.detach().float().cpu() for name, value in model.state_dict().items()}
    out = {
        "transformer.wte.weight": state["token_embedding.weight"],
        "transformer.wpe.weight": state["position_embedding.weight"],
        "transformer.ln_f.weight": state["norm_out.weight"] * model.config.output_scale,
        "transformer.ln_f.bias": state["norm_out.bias"] * model.config.output_scale,
    }
    for layer in range(model.config.shape.layers):
        ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
        query, key, value = state[f"{ours}.query_key_value.weight"].chunk(3)
        out[f"{theirs}.attn.attention.q_proj.weight"] = query * model.config.attention_scale
        out[f"{theirs}.attn.attention.k_proj.weight"] = key.clone()
        out[f"{theirs}.attn.attention.v_proj.weight"] = value.clone()
        for part_theirs, part_ours in BLOCK_NAMES.items():
            for kind in ("weight", "bias"):
                out[f"{theirs}.{part_theirs}.{kind}"] = state[f"{ours}.{part_ours}.{kind}"]
    return out


def from_transformers(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """GPT-Neo weights under our names (for both scales equal to 1)."""
    out = {
        "token_embedding.weight": state["transformer.wte.weight"],
        "position_embedding.weight": state["transformer.wpe.weight"],
        "norm_out.weight": state["transformer.ln_f.weight"],
        "norm_out.bias": state["transformer.ln_f.bias"],
    }
    for layer in range(layers):
        ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
        projections = [state[f"{theirs}.attn.attention.{part}_proj.weight"] for part in "qkv"]
        out[f"{ours}.query_key_value.weight"] = torch.cat(projections)
        for part_theirs, part_ours in BLOCK_NAMES.items():
            for kind in ("weight", "bias"):
                out[f"{ours}.{part_ours}.{kind}"] = state[f"{theirs}.{part_theirs}.{kind}"]
    return out


def save_pretrained(model: ChemGPT, folder: Path, start_id: int, end_id: int, pad_id: int) -> None:
    """Write `config.json` and `model.safetensors`, loadable with `AutoModelForCausalLM.from_pretrained(folder)`."""
    layers, width, heads = model.config.shape
    config = {
        "architectures": ["GPTNeoForCausalLM"],
        "model_type": "gpt_neo",
        "activation_function": "gelu_new",
        "attention_dropout": 0.0,
        "attention_layers": ["local" if layer % 2 else "global" for layer in range(layers)],
        "attention_types": [[["global", "local"], layers // 2]] + [[["global"], 1]] * (layers % 2),
        "bos_token_id": start_id,
        "embed_dropout": 0.0,
        "eos_token_id": end_id,
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": None,
        "layer_norm_epsilon": 1e-5,
        "max_position_embeddings": POSITIONS,
        "num_heads": heads,
        "num_layers": layers,
        "pad_token_id": pad_id,
        "resid_dropout": 0.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "vocab_size": model.config.vocabulary_size,
        "window_size": WINDOW,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(to_transformers(model), folder / "model.safetensors", metadata={"format": "pt"})


def checkpoint_folder(source: str) -> Path:
    """The folder of a checkpoint that is given by its path or by its name on the Hugging Face hub."""
    return Path(source) if Path(source).is_dir() else download_checkpoint(source)


def symbols_of(folder: Path) -> list[str] | None:
    """The vocabulary of a checkpoint's tokenizer.json in the order of its ids, None without one."""
    try:
        vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        return sorted(vocabulary, key=vocabulary.__getitem__)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def load_pretrained(folder: Path) -> ChemGPT:
    """Load a GPT-Neo checkpoint of ChemGPT's kind from a folder.

    Read are `config.json` and `model.safetensors` or, for checkpoints of 2022, `pytorch_model.bin` through torch's
    restricted loader, which builds tensors and runs nothing.

    Raises:
        UserError: if the files are missing, or the network is not the GPT-Neo that ChemGPT is.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
        if (folder / "model.safetensors").exists():
            weights = load_file(folder / "model.safetensors")
        else:
            weights = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
        layers, width, heads = (int(config[key]) for key in ("num_layers", "hidden_size", "num_heads"))
        vocabulary_size = int(config["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"init must be a checkpoint with config.json and model.safetensors, got {folder} ({reason}); "
            "write one with transformers' save_pretrained"
        ) from None
    expected = {"model_type": "gpt_neo", "activation_function": "gelu_new", "window_size": WINDOW,
                "max_position_embeddings": POSITIONS}  # fmt: skip
    optional = {
        "tie_word_embeddings": True,
        "attention_layers": ["local" if layer % 2 else "global" for layer in range(layers)],
    }
    for key, value in (expected | optional).items():
        if config.get(key, optional.get(key)) != value:
            raise UserError(f"init must have {key}={value!r} as ChemGPT has, got {config.get(key)!r} in {folder}")
    model = ChemGPT(ChemGPTConfig(Shape(layers, width, heads), vocabulary_size))
    try:
        model.load_state_dict(from_transformers(weights, layers))
    except (KeyError, RuntimeError) as error:
        raise UserError(f"init must hold every GPT-Neo weight of its config.json, got {folder} ({error})") from None
    return model


def download_checkpoint(name: str) -> Path:
    """Fetch a checkpoint's configuration and weights from the Hugging Face hub."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["config.json", "model.safetensors", "pytorch_model.bin"]))
    except Exception as error:  # the hub client raises many kinds, all of which mean "not to be had"
        reason = str(error).splitlines()[0]
        raise UserError(
            f"init must be a folder or a name on the Hugging Face hub, got {name!r} ({reason}); check the name and "
            "the network, or download the folder elsewhere and give its path"
        ) from None
