"""Every verb's parameters, declared once, in a file of the verb's name.

`--help`, MLproject and the validation all follow from these classes: the docstring of a class is the help of its verb,
that of a field the help of its parameter. `training.py` has what all trainings take, `runs.py` what all verbs take that
read finished runs, `base.py` how values are read and how a broken rule is told.
"""
