"""One file per verb of the tool, with one function of its name: settings in, work called, results printed.

`cli.py` reads `chemscale VERB --name value` into the settings of settings/VERB.py and calls verbs/VERB.py. A new verb
is a class there, a file here, and a line in `cli.VERBS`; `python tools/mlproject.py > MLproject` makes it an entry
point.
"""
