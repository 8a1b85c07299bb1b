"""What trained models are measured by, beyond their training loss.

`physics.py` checks a force field's symmetries, `dynamics.py` runs it in motion; `ngram.py` is the trigram baseline of
language models, `coordinates.py` checks that activations move alike at every width.

`sampling.py` draws molecules from a language model; `generation.py` has the metrics of MOSES for them, from what
`chemistry.py` measures of each, `similarity.py` of pairs and `chemnet.py` of sets.
"""
