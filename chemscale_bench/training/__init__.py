"""The training loop and what it is made of.

`loop.py` trains one trunk and a decay to every budget; it knows no model and no tracker. `contracts.py` says what it
needs: an objective, which hands out batches (`language.py`, `forces.py`, `mixed_frames.py`), and somebody who is told.
`schedules.py` has learning rates, batch sizes and segments, `averaging.py` the running average, `checkpoints.py` the
resume state, `devices.py` where it runs. `sharding.py` spreads one model over processes, `stacked.py` trains many
models as one, `captured.py` records steps as CUDA graphs.
"""
