"""The leaderboard: from logged runs to entries, from entries to trust, and from trust to a ranked page.

- runs to an entry: `collect.py` (what counts of a run), `submission.py` (its files, written and read by `files.py`),
  `entry.py`, `motion.py` and `record.py` (the schema), `generated.py`, `probed.py` and `simulated.py` (what was drawn
  from their models, what features are worth, how molecules move);
- how far it can be trusted, `levels.py`: the schema, then `consistent.py` (every number follows from the curves) and
  `molecules.py` (those of drawn molecules), then `reproduce.py` (its checkpoint gives the stated result),
  `regenerate.py` (and draws such molecules), `reprobe.py` (and has such features) and `resimulate.py` (and moves so);
  `pull_request.py` is what a pull request may touch;
- the ranking: `laws.py` (fits of a study), `published.py` (what papers report), `board.py` (rows and ranks), `page.py`
  (the static page);
- `sources.py` hands runs to `fit` and `plan`; `planted.py` makes entries from a known law.

Entry files are hostile input: nothing of them is executed, and no number of them is believed.
"""
