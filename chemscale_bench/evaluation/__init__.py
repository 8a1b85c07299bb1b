"""What trained models are measured by, beyond their training loss.

`physics.py` checks a force field's symmetries, `dynamics.py` runs it in motion; `ngram.py` is the trigram baseline of
language models, `coordinates.py` checks that activations move alike at every width. `loaded.py` is a trained model by
itself, from the folder that its run has logged.
"""
