"""What a language model declares in its one file of models/; models/registry.py has their names.

- `TITLE`, its name as people write it; `STACKED`, whether many can be trained as one (training/stacked.py);
- `OPTIONS`, those settings of its verb that `config_for`, `build` and `parameter_groups` take by name; what only other
  models take is refused;
- `Config`, a frozen dataclass with `non_embedding_params`, `sizes` (layers, width, heads, vocabulary_size),
  `flops_per_token(context)`, `plain()` and `from_plain(values)`; `Network(config)`, a `packed.LanguageModel`;
- `config_for(params, vocabulary_size, **options)`, its ladder; `stated(sizes)`, the config of what an entry states;
- `build(config, seed, **options)`, a fresh model; `parameter_groups(model, learning_rate, weight_decay, **options)`;
- `check_gpu(precision)`, which refuses what can't be trained on one;
- `save_pretrained(model, folder, start_id, end_id, pad_id)` and `load_pretrained(folder)`; and for verifying a
  checkpoint before anything of it is built `CONFIG_KEYS`, `sizes_of(record)` and `weight_bytes(config)`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chemscale_bench.errors import UserError
from chemscale_bench.models.packed import LanguageModel
from chemscale_bench.models.registry import LANGUAGE_MODELS


def options_of(model: str, settings: Any) -> dict[str, Any]:
    """Those of a verb's settings that a model's family takes by name.

    Raises:
        UserError: for one that only other families take, if it was set.
    """
    taken = {name: LANGUAGE_MODELS.family(name).OPTIONS for name in LANGUAGE_MODELS.modules}
    for option in sorted({option for options in taken.values() for option in options} - set(taken[model])):
        value = getattr(settings, option)
        if value != type(settings).model_fields[option].default:
            having = " or ".join(name for name, options in taken.items() if option in options)
            raise UserError(
                f"{option} must be left out with model={model}, which has no such option, got {value!r}; leave it out, "
                f"or choose {having}"
            )
    return {option: getattr(settings, option) for option in taken[model]}


def load(folder: Path) -> LanguageModel:
    """The network of a checkpoint that a run has saved: of the family whose `CONFIG_KEYS` its config.json has.

    Raises:
        UserError: if it is of none, or the files are damaged.
    """
    try:
        keys = set(json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"a language model must have a config.json, {folder} has none ({error}); give another"
        ) from None
    for name in LANGUAGE_MODELS.modules:
        if keys == LANGUAGE_MODELS.family(name).CONFIG_KEYS:
            network: LanguageModel = LANGUAGE_MODELS.family(name).load_pretrained(folder)
            return network
    raise UserError(
        f"a language model must be one of {', '.join(LANGUAGE_MODELS.modules)} as runs save them, the config.json in "
        f"{folder} is of none; take the `model` artifact of a run"
    )
