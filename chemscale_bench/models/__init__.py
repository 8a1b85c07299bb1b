"""One file per model: its configuration, its sizes, how it is built, and what a step of it costs.

`registry.py` has the names of both kinds.

- Language models: `language_models.py` says what one declares, `packed.py` what it is called with, and its loss.
  `chemgpt.py`, `llama.py` and `lstm.py` are three. The networks of the first two are in `gpt_neo.py` and
  `llama_network.py`, with `packed_attention.py`, and `key_values.py` for molecules that are written token by token;
  their shapes in `sizes.py`, their initial weights and rates in `parametrization.py`.
- Force fields: `force_fields.py` says what one declares, `potential.py` what all share. `schnet.py`, `painn.py`,
  `mace.py`, `spookynet.py` and `allegro.py` are five.
"""
