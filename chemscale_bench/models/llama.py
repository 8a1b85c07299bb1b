"""Llama: what a language model is built of today, with its ladder, its rates and its checkpoints.

The network is in llama_network.py; initial weights, rates and multipliers follow the shape as ChemGPT's do
(parametrization.py). Checkpoints are those of `Qwen3ForCausalLM` in `transformers`, which is Llama with a norm of
queries and keys; `to_transformers` and `from_transformers` convert the weights, exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from chemscale_bench.errors import UserError, first_line
from chemscale_bench.models import attention
from chemscale_bench.models import parametrization as scaling
from chemscale_bench.models.hub import save_generation_config
from chemscale_bench.models.llama_network import EPS, ROTARY_BASE, Llama, LlamaConfig, non_embedding_params
from chemscale_bench.models.parametrization import Optimizer, Parametrization
from chemscale_bench.models.sizes import Shape, balanced, heads_for

TITLE = "Llama"
STACKED = True
OPTIMIZER = "muon"
LEAST_PARAMS = 60_000  # smaller ones have two layers, and lie off the curve of larger ones: benchmarks/shapes.md
OPTIONS = ("parametrization",)
MODEL_TYPE = "qwen3"
Config, Network = LlamaConfig, Llama

LEARNING_RATE = {"mutransfer": 2.0**-9, "standard": 2.0**-9}
"""Of the base shape, by parametrization; found by measurement, docs/guide/language-models.md has rates."""
ATTENTION_FACTOR = {"mutransfer": 1.0, "standard": 1.0}
"""Of attention logits, times D^-1/2: they start with a mean square of 1, since queries and keys are normalised."""
POSITIONS = 2048  # stated on export; rotary positions have no table


@cache
def shapes() -> list[Shape]:
    """Every shape of the ladder: heads have an even number of channels, which rotary positions turn in pairs."""
    widths = [*range(16, 96, 4), *range(96, 512, 32), *range(512, 8193, 64)]
    pairs = [(width, heads_for(width, even=True)) for width in widths]
    fair = [(width, heads) for width, heads in pairs if 0.5 <= width / heads / (2 * width) ** 0.5 <= 2]
    return [Shape(layers, width, heads) for width, heads in fair for layers in range(2, 97)]


def config_for(
    params: int, vocabulary_size: int, *, parametrization: Parametrization = "mutransfer"
) -> LlamaConfig:  # fmt: skip
    """The config whose non-embedding parameters are within 5 % of `params`.

    Raises:
        UserError: if the ladder has no such size; the message names the nearest ones.
    """
    shape = balanced(params, shapes(), [non_embedding_params(shape) for shape in shapes()], TITLE)
    return config_of(shape, vocabulary_size, parametrization)


def config_of(shape: Shape, vocabulary_size: int, parametrization: Parametrization) -> LlamaConfig:
    """The config of any shape, with the factors of its parametrization."""
    output_factor = scaling.multipliers(shape, parametrization)[1]
    attention_factor = ATTENTION_FACTOR[parametrization] * (shape.width // shape.heads) ** -0.5
    return LlamaConfig(shape, vocabulary_size, attention_factor, output_factor)


def stated(sizes: Mapping[str, int]) -> LlamaConfig:
    """The config of what an entry states as its network: `Config.sizes`."""
    return plain_config(Shape(sizes["layers"], sizes["width"], sizes["heads"]), sizes["vocabulary_size"])


def plain_config(shape: Shape, vocabulary_size: int) -> LlamaConfig:
    """The config of Qwen3's own factors."""
    return LlamaConfig(shape, vocabulary_size, (shape.width // max(1, shape.heads)) ** -0.5)


def build(config: LlamaConfig, seed: int, *, parametrization: Parametrization = "mutransfer") -> Llama:
    """A fresh model with initial weights drawn from `seed`, the same on every device."""
    model = Llama(config)
    scaling.initialize(model, config.shape, parametrization, seed)
    return model


def untrained(config: LlamaConfig, seed: int, *, parametrization: Parametrization = "mutransfer") -> Llama:
    """A fresh model of a checkpoint's sizes."""
    fresh = config_of(config.shape, config.vocabulary_size, parametrization)
    return build(fresh, seed, parametrization=parametrization)


def parameter_groups(
    model: Llama, learning_rate: float | Literal["auto"], weight_decay: float, *,
    optimizer: Optimizer = "adamw", parametrization: Parametrization = "mutransfer",
) -> list[dict[str, Any]]:  # fmt: skip
    """The optimizer's parameter groups; `learning_rate` is that of the base shape, `auto` one found by measurement."""
    fused = {layer: len(parts) for layer, parts in FUSED_NAMES.items()}
    return scaling.parameter_groups(
        model, model.config.shape, parametrization, learning_rate, weight_decay,
        optimizer=optimizer, auto=LEARNING_RATE[parametrization], fused=fused,
    )  # fmt: skip


def check_gpu(precision: str) -> None:
    """Refuse what can't be trained on a GPU.

    Raises:
        UserError: for an arithmetic that the attention kernel lacks, or if there is no kernel.
    """
    attention.check(precision, TITLE)


BLOCK_NAMES = {
    "input_layernorm": "norm_attention",
    "self_attn.q_norm": "attention_input.norm_query",
    "self_attn.k_norm": "attention_input.norm_key",
    "self_attn.o_proj": "attention_out",
    "post_attention_layernorm": "norm_mlp",
    "mlp.down_proj": "mlp_out",
}  # Hugging Face's name of a part: ours
FUSED_NAMES = {
    "query_key_value": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "mlp_in": ("mlp.gate_proj", "mlp.up_proj"),
}  # our name: Hugging Face's parts


def to_transformers(model: Llama) -> dict[str, Tensor]:
    """The weights under Qwen3's names, with both scales folded in, so that plain Qwen3 gives the same logits."""
    state = {name: value.detach().float().cpu() for name, value in model.state_dict().items()}
    config = model.config
    out = {
        "model.embed_tokens.weight": state["token_embedding.weight"],
        "model.norm.weight": state["norm_out.weight"] * config.output_scale,
    }
    for layer in range(config.shape.layers):
        ours, theirs = f"blocks.{layer}", f"model.layers.{layer}"
        for part_theirs, part_ours in BLOCK_NAMES.items():
            out[f"{theirs}.{part_theirs}.weight"] = state[f"{ours}.{part_ours}.weight"]
        out[f"{theirs}.self_attn.q_norm.weight"] = (
            state[f"{ours}.attention_input.norm_query.weight"] * config.attention_scale * config.head_channels**0.5
        )
        for part_ours, parts in FUSED_NAMES.items():
            for part, weight in zip(parts, state[f"{ours}.{part_ours}.weight"].chunk(len(parts)), strict=True):
                out[f"{theirs}.{part}.weight"] = weight.clone()
    return out


def from_transformers(state: dict[str, Tensor], config: LlamaConfig) -> dict[str, Tensor]:
    """Qwen3 weights under our names, with both scales taken out: the inverse of `to_transformers`."""
    out = {
        "token_embedding.weight": state["model.embed_tokens.weight"],
        "norm_out.weight": state["model.norm.weight"] / config.output_scale,
    }
    for layer in range(config.shape.layers):
        ours, theirs = f"blocks.{layer}", f"model.layers.{layer}"
        for part_theirs, part_ours in BLOCK_NAMES.items():
            out[f"{ours}.{part_ours}.weight"] = state[f"{theirs}.{part_theirs}.weight"]
        out[f"{ours}.attention_input.norm_query.weight"] = state[f"{theirs}.self_attn.q_norm.weight"] / (
            config.attention_scale * config.head_channels**0.5
        )
        for part_ours, parts in FUSED_NAMES.items():
            out[f"{ours}.{part_ours}.weight"] = torch.cat([state[f"{theirs}.{part}.weight"] for part in parts])
    return out


def trainable(model: Llama, *, parametrization: Parametrization = "mutransfer") -> Llama:
    """A loaded model with the factors of a parametrization beside its weights, where its rates expect them."""
    same = Llama(config_of(model.config.shape, model.config.vocabulary_size, parametrization))
    same.load_state_dict(from_transformers(to_transformers(model), same.config))
    return same


def record_of(config: LlamaConfig) -> dict[str, Any]:
    """What config.json says of the network, for `transformers`."""
    layers, width, heads = config.shape
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": MODEL_TYPE,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": config.head_channels,
        "hidden_act": "silu",
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": config.hidden_channels,
        "max_position_embeddings": POSITIONS,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": heads,
        "rms_norm_eps": EPS,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROTARY_BASE},
        "rope_theta": ROTARY_BASE,  # where transformers before 5 looks for it
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_sliding_window": False,
        "vocab_size": config.vocabulary_size,
    }


def save_pretrained(model: Llama, folder: Path, start_id: int, end_id: int, pad_id: int) -> None:
    """Write `config.json` and `model.safetensors`, loadable with `AutoModelForCausalLM.from_pretrained(folder)`."""
    tokens = {"bos_token_id": start_id, "eos_token_id": end_id, "pad_token_id": pad_id}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(record_of(model.config) | tokens, indent=2) + "\n")
    save_file(to_transformers(model), folder / "model.safetensors", metadata={"format": "pt"})
    save_generation_config(folder, start_id, end_id, pad_id)


CONFIG_KEYS = frozenset(record_of(plain_config(Shape(1, 8, 1), 1))) | {"bos_token_id", "eos_token_id", "pad_token_id"}
"""What the config.json of our checkpoints holds; a key beyond, such as auto_map, asks for more than weights."""


def sizes_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint's config.json says of its network, by the names of `Config.sizes`; nothing is checked."""
    keys = {"layers": "num_hidden_layers", "width": "hidden_size", "heads": "num_attention_heads"}
    return {name: record.get(key) for name, key in keys.items()} | {"vocabulary_size": record.get("vocab_size")}


def weight_bytes(config: LlamaConfig) -> int:
    """Bytes of the weights of a checkpoint."""
    return 4 * (config.non_embedding_params + config.shape.width * config.vocabulary_size)


def load_pretrained(folder: Path) -> Llama:
    """Load a Qwen3 checkpoint of this kind from a folder: `config.json` and `model.safetensors`.

    Raises:
        UserError: if the files are missing, or the network is another one.
    """
    try:
        record = json.loads((folder / "config.json").read_text())
        weights = load_file(folder / "model.safetensors")
        layers, width, heads, vocabulary_size = (int(size) for size in sizes_of(record).values())
        config = plain_config(Shape(layers, width, heads), vocabulary_size)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = first_line(error)
        raise UserError(
            f"init must be a checkpoint with config.json and model.safetensors, got {folder} ({reason}); "
            "write one with transformers' save_pretrained"
        ) from None
    rotary = record.get("rope_parameters")
    base = rotary.get("rope_theta") if isinstance(rotary, dict) else record.get("rope_theta")
    expected = record_of(config)
    names = ("model_type", "hidden_act", "head_dim", "intermediate_size", "num_key_value_heads", "rms_norm_eps")
    for key, value in {name: expected[name] for name in (*names, "tie_word_embeddings")}.items():
        if record.get(key) != value:
            raise UserError(f"init must have {key}={value!r} as {TITLE} has, got {record.get(key)!r} in {folder}")
    if base != ROTARY_BASE:
        raise UserError(f"init must have rope_theta={ROTARY_BASE!r} as {TITLE} has, got {base!r} in {folder}")
    model = Llama(config)
    try:
        model.load_state_dict(from_transformers(weights, config))
    except (KeyError, RuntimeError) as error:
        raise UserError(f"init must hold every Qwen3 weight of its config.json, got {folder} ({error})") from None
    return model
