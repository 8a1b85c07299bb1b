"""How fast we are: the peaks of data sheets, the ceilings of this machine, and what the speed suites measure.

The suites themselves are in benchmarks/speed; `mlflow run . -e speed` runs them.
"""
