"""What a language model declares in its one file of models/; models/registry.py has their names.

- `TITLE`, its name as people write it; `MODEL_TYPE`, what config.json of its checkpoints calls it, that of a package
  by the name of the model; `STACKED`, whether many can be trained as one (training/stacked.py); if its `auto` is not
  adamw, `OPTIMIZER`; if a longer warm-up bears a higher rate, `RATE_WARMUP`, the tokens of that with which AdamW's
  `auto` was found; if smaller ones lie off the curve, `LEAST_PARAMS`, from which on studies choose sizes;
- `OPTIONS`, those settings of its verb that `config_for`, `build` and `parameter_groups` take by name; what only other
  models take is refused;
- `Config`, a frozen dataclass with `non_embedding_params`, `sizes` (layers, width, heads, vocabulary_size),
  `flops_per_token(context)`, `plain()` and `from_plain(values)`; `Network(config)`, a `packed.LanguageModel`,
  whose `logits` takes packed molecules and those that are written token by token, with its `memory` of them;
- `config_for(params, vocabulary_size, **options)`, its ladder; `stated(sizes)`, the config of what an entry states;
- `build(config, seed, **options)`, a fresh model; `untrained(config, seed, **options)`, one of a loaded checkpoint's
  sizes, as it was before training; `parameter_groups(model, learning_rate, weight_decay, optimizer=, **options)`, where
  groups of matrices that Muon changes have `parts` (training/muon.py);
- `check_gpu(precision)`, which refuses what can't be trained on one;
- `save_pretrained(model, folder, start_id, end_id, pad_id)` and `load_pretrained(folder)`, and if what is trained has
  factors that its checkpoints have not, `trainable(model, **options)`, a loaded model with them; and for verifying a
  checkpoint before anything of it is built `CONFIG_KEYS`, `sizes_of(record)` and `weight_bytes(config)`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from chemscale_bench.errors import UserError, first_line
from chemscale_bench.models.packed import LanguageModel
from chemscale_bench.models.parametrization import Optimizer
from chemscale_bench.models.registry import FORCE_FIELDS, LANGUAGE_MODELS


def family_of(folder: Path, parameter: str) -> str:
    """The name of the language model whose checkpoint lies in a folder.

    Args:
        folder: with a config.json.
        parameter: that named it, for errors.

    Raises:
        UserError: if there is no checkpoint, or one of something else.
    """
    ours = {module.MODEL_TYPE: name for name, module in LANGUAGE_MODELS.ours().items()}
    families = ours | {name: name for name in LANGUAGE_MODELS.names if name not in LANGUAGE_MODELS.modules}
    try:
        record = json.loads((folder / "config.json").read_text())
        found = record.get("model_type") or record.get("model")
    except (OSError, ValueError, AttributeError) as error:
        reason = first_line(error)
        raise UserError(
            f"{parameter} must have a checkpoint of a language model, got {folder} without a readable config.json "
            f"({reason}); give a finished run of {', '.join(LANGUAGE_MODELS.names)}, or the folder of a checkpoint"
        ) from None
    if isinstance(found, str) and found in FORCE_FIELDS:
        raise UserError(
            f"{parameter} must be of a language model, got the force field {found} in {folder}; give another"
        )
    if not isinstance(found, str) or found not in families:
        raise UserError(
            f"{parameter} must have a checkpoint with model_type {' or '.join(families)} in its config.json, got "
            f"{found!r} in {folder}; give one of {', '.join(LANGUAGE_MODELS.names)}"
        )
    return families[found]


def load_trainable(name: str, folder: Path, **options: Any) -> LanguageModel:
    """The model of a checkpoint, to be trained on as the run was that wrote it."""
    family = LANGUAGE_MODELS.family(name)
    model: LanguageModel = family.load_pretrained(folder)
    if hasattr(family, "trainable"):
        model = family.trainable(model, **options)
    return model


def optimizer_for(model: str, given: Optimizer | Literal["auto"]) -> Optimizer:
    """What changes the weights of a model: what was given, or what the model's family has found better."""
    found: Optimizer = getattr(LANGUAGE_MODELS.family(model), "OPTIMIZER", "adamw")
    return found if given == "auto" else given


def rated_groups(
    name: str, model: LanguageModel, learning_rate: float | Literal["auto"], weight_decay: float, warmup: int,
    optimizer: Optimizer, **options: Any,
) -> tuple[list[dict[str, Any]], float]:  # fmt: skip
    """The optimizer's parameter groups, and the learning rate of the base shape, of a model that is to be trained.

    `auto` grows with the fourth root of the warm-up, up to twofold, where that was measured: with AdamW and muTransfer
    (benchmarks/batch_rule.md).

    Args:
        name: of the model.
        model: what it is to train.
        learning_rate: peak, of the base shape.
        weight_decay: at the base shape.
        warmup: tokens.
        optimizer: by name.
        options: what else the family's `parameter_groups` takes.
    """
    family = LANGUAGE_MODELS.family(name)
    given: dict[str, Any] = {"weight_decay": weight_decay, "optimizer": optimizer, **options}
    groups, of_1 = (family.parameter_groups(model, rate, **given) for rate in (learning_rate, 1.0))
    found_with = getattr(family, "RATE_WARMUP", 0)
    if found_with and learning_rate == "auto" and optimizer == "adamw" and options.get("parametrization") != "standard":
        growth = min(2.0, max(1.0, (warmup / found_with) ** 0.25))
        groups = [group | {"lr": group["lr"] * growth} for group in groups]
    return groups, groups[0]["lr"] / of_1[0]["lr"]


def options_of(model: str, settings: Any) -> dict[str, Any]:
    """Those of a verb's settings that a model's family takes by name.

    Raises:
        UserError: for one that only other families take, if it was set, or that is no setting.
    """
    families = LANGUAGE_MODELS.ours() | {model: LANGUAGE_MODELS.family(model)}
    taken = {name: family.OPTIONS for name, family in families.items()}
    if unknown := sorted(set(taken[model]) - set(type(settings).model_fields)):
        raise UserError(
            f"OPTIONS of a model must be settings of its verb, {model} has {', '.join(unknown)} besides; put it into "
            "Config"
        )
    for option in sorted({option for options in taken.values() for option in options} - set(taken[model])):
        value = getattr(settings, option)
        if value != type(settings).model_fields[option].default:
            having = " or ".join(name for name, options in taken.items() if option in options)
            raise UserError(
                f"{option} must be left out with model={model}, which has no such option, got {value!r}; leave it out, "
                f"or choose {having}"
            )
    return {option: getattr(settings, option) for option in taken[model]}
