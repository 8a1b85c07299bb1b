"""ChemGPT: GPT-Neo as Frey et al. (2023) trained it, its ladder, its initial weights, its checkpoints.

models/language_models.py says what a language model has to declare. `to_transformers` and `from_transformers` convert
the weights to those of `GPTNeoForCausalLM` and back, exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from chemscale_bench.errors import UserError, first_line
from chemscale_bench.models import attention
from chemscale_bench.models import parametrization as scaling
from chemscale_bench.models.gpt_neo import POSITIONS, WINDOW, GPTNeo, GPTNeoConfig
from chemscale_bench.models.hub import save_generation_config
from chemscale_bench.models.parametrization import Optimizer, Parametrization
from chemscale_bench.models.sizes import Ladder, Shape, shape_for

TITLE = "ChemGPT"
STACKED = True
OPTIONS = ("ladder", "parametrization")
MODEL_TYPE = "gpt_neo"
RATE_WARMUP = 9_000  # tokens after which LEARNING_RATE is best; benchmarks/batch_rule.md
Config, Network = GPTNeoConfig, GPTNeo


def config_for(
    params: int, vocabulary_size: int, *, ladder: Ladder = "balanced", parametrization: Parametrization = "mutransfer"
) -> GPTNeoConfig:
    """The config whose non-embedding parameters are within 5 % of `params`.

    Raises:
        UserError: if the ladder has no such size; the message names the nearest ones.
    """
    return config_of(shape_for(params, ladder), vocabulary_size, parametrization)


def config_of(shape: Shape, vocabulary_size: int, parametrization: Parametrization) -> GPTNeoConfig:
    """The config of any shape, with the factors of its parametrization."""
    return GPTNeoConfig(shape, vocabulary_size, *scaling.multipliers(shape, parametrization))


def stated(sizes: Mapping[str, int]) -> GPTNeoConfig:
    """The config of what an entry states as its network: `Config.sizes`."""
    return GPTNeoConfig(Shape(sizes["layers"], sizes["width"], sizes["heads"]), sizes["vocabulary_size"])


def build(
    config: GPTNeoConfig, seed: int, *, ladder: Ladder = "balanced", parametrization: Parametrization = "mutransfer"
) -> GPTNeo:
    """A fresh model with initial weights drawn from `seed`, the same on every device."""
    model = GPTNeo(config)
    scaling.initialize(model, config.shape, parametrization, seed)
    return model


def build_shape(shape: Shape, vocabulary_size: int, parametrization: Parametrization, seed: int) -> GPTNeo:
    """A fresh model of any shape, on a ladder or not."""
    return build(config_of(shape, vocabulary_size, parametrization), seed, parametrization=parametrization)


def untrained(
    config: GPTNeoConfig, seed: int, *, ladder: Ladder = "balanced", parametrization: Parametrization = "mutransfer"
) -> GPTNeo:
    """A fresh model of a checkpoint's sizes."""
    return build_shape(config.shape, config.vocabulary_size, parametrization, seed)


def parameter_groups(
    model: GPTNeo, learning_rate: float | Literal["auto"], weight_decay: float, *,
    optimizer: Optimizer = "adamw", ladder: Ladder = "balanced", parametrization: Parametrization = "mutransfer",
) -> list[dict[str, Any]]:  # fmt: skip
    """The optimizer's parameter groups; `learning_rate` is that of the base shape, `auto` one found by measurement."""
    return scaling.parameter_groups(
        model, model.config.shape, parametrization, learning_rate, weight_decay,
        optimizer=optimizer, auto=scaling.LEARNING_RATE[parametrization], fused={"query_key_value": 3},
    )  # fmt: skip


def check_gpu(precision: str) -> None:
    """Refuse what can't be trained on a GPU.

    Raises:
        UserError: for an arithmetic that the attention kernel lacks, or if there is no kernel.
    """
    attention.check(precision, TITLE)


BLOCK_NAMES = {
    "ln_1": "norm_attention",
    "attn.attention.out_proj": "attention_out",
    "ln_2": "norm_mlp",
    "mlp.c_fc": "mlp_in",
    "mlp.c_proj": "mlp_out",
}  # Hugging Face's name of a part: ours


def to_transformers(model: GPTNeo) -> dict[str, Tensor]:
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


def from_transformers(state: dict[str, Tensor], config: GPTNeoConfig) -> dict[str, Tensor]:
    """GPT-Neo weights under our names, with both scales taken out: the inverse of `to_transformers`."""
    out = {
        "token_embedding.weight": state["transformer.wte.weight"],
        "position_embedding.weight": state["transformer.wpe.weight"],
        "norm_out.weight": state["transformer.ln_f.weight"] / config.output_scale,
        "norm_out.bias": state["transformer.ln_f.bias"] / config.output_scale,
    }
    for layer in range(config.shape.layers):
        ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
        query, key, value = (state[f"{theirs}.attn.attention.{part}_proj.weight"] for part in "qkv")
        out[f"{ours}.query_key_value.weight"] = torch.cat([query / config.attention_scale, key, value])
        for part_theirs, part_ours in BLOCK_NAMES.items():
            for kind in ("weight", "bias"):
                out[f"{ours}.{part_ours}.{kind}"] = state[f"{theirs}.{part_theirs}.{kind}"]
    return out


def trainable(
    model: GPTNeo, *, ladder: Ladder = "balanced", parametrization: Parametrization = "mutransfer"
) -> GPTNeo:  # fmt: skip
    """A loaded model with the factors of a parametrization beside its weights, where its rates expect them."""
    same = GPTNeo(config_of(model.config.shape, model.config.vocabulary_size, parametrization))
    same.load_state_dict(from_transformers(to_transformers(model), same.config))
    return same


def record_of(config: GPTNeoConfig, start_id: int, end_id: int, pad_id: int) -> dict[str, Any]:
    """What config.json says of the network, for `transformers`."""
    layers, width, heads = config.shape
    return {
        "architectures": ["GPTNeoForCausalLM"],
        "model_type": MODEL_TYPE,
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
        "vocab_size": config.vocabulary_size,
        "window_size": WINDOW,
    }


def save_pretrained(model: GPTNeo, folder: Path, start_id: int, end_id: int, pad_id: int) -> None:
    """Write `config.json` and `model.safetensors`, loadable with `AutoModelForCausalLM.from_pretrained(folder)`."""
    config = record_of(model.config, start_id, end_id, pad_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(to_transformers(model), folder / "model.safetensors", metadata={"format": "pt"})
    save_generation_config(folder, start_id, end_id, pad_id)


CONFIG_KEYS = frozenset(record_of(GPTNeoConfig(Shape(1, 8, 1), 1), 0, 0, 0))
"""What the config.json of our checkpoints holds; a key beyond, such as auto_map, asks for more than weights."""


def sizes_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint's config.json says of its network, by the names of `Config.sizes`; nothing is checked."""
    keys = {"layers": "num_layers", "width": "hidden_size", "heads": "num_heads", "vocabulary_size": "vocab_size"}
    return {name: record.get(key) for name, key in keys.items()}


def weight_bytes(config: GPTNeoConfig) -> int:
    """Bytes of the weights of a checkpoint."""
    return 4 * (config.non_embedding_params + config.shape.width * (config.vocabulary_size + POSITIONS))


def load_pretrained(folder: Path) -> GPTNeo:
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
        reason = first_line(error)
        raise UserError(
            f"init must be a checkpoint with config.json and model.safetensors, got {folder} ({reason}); "
            "write one with transformers' save_pretrained"
        ) from None
    expected = {"model_type": MODEL_TYPE, "activation_function": "gelu_new", "window_size": WINDOW,
                "max_position_embeddings": POSITIONS}  # fmt: skip
    optional = {
        "tie_word_embeddings": True,
        "attention_layers": ["local" if layer % 2 else "global" for layer in range(layers)],
    }
    for key, value in (expected | optional).items():
        if config.get(key, optional.get(key)) != value:
            raise UserError(f"init must have {key}={value!r} as ChemGPT has, got {config.get(key)!r} in {folder}")
    model = GPTNeo(GPTNeoConfig(Shape(layers, width, heads), vocabulary_size))
    try:
        model.load_state_dict(from_transformers(weights, model.config))
    except (KeyError, RuntimeError) as error:
        raise UserError(f"init must hold every GPT-Neo weight of its config.json, got {folder} ({error})") from None
    return model
