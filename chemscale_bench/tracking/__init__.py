"""What goes to MLflow, and how a run there lives and ends.

`recorder.py` is the only module that logs metrics, `reader.py` the only one that reads them back. `store.py` finds the
tracking store and its experiments, `adoption.py` takes over the run that `mlflow run` has made, `lifetime.py` and
`ending.py` see that a run that dies is told from one that lives, `housekeeping.py` keeps runs that train nothing apart.
`pyfunc.py` makes a run's model one that MLflow loads.
"""
