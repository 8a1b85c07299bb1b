"""Molecules and frames in, packed tokens and splits out.

- Molecules: `sources.py` finds a data set or a file (`layout.py`, `text_lines.py`, `opening.py` read it), `prepare.py`
  puts its lines through `codec.py` (SMILES to SELFIES, in kernel/) into the token store of `store.py`, whose ids are
  those of `vocabulary.py`; `workers.py` spreads that over processes. `wheels.py` takes a data set out of a Python
  package, `held_out.py` samples the test sets that come with one.
- Frames: `rmd17.py` (official archives), `frame_files.py` (the user's own; units by `frame_units.py`, checked by
  `plausible.py`), `structures.py` (what a frame is), `mixtures.py` (frames of several molecules), `references.py` (what
  is subtracted from energies), `frames.py` (splits, checked by `frame_checks.py`).

All that is derived lies in the folder of `cache.py`, by digest.
"""
