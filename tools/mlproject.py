"""Write MLproject from the settings of every verb: `python tools/mlproject.py > MLproject`; a test compares."""

from __future__ import annotations

import json

from chemscale_bench.cli import VERBS

HEADER = """\
# Written by tools/mlproject.py from chemscale_bench/settings/; `chemscale VERB --help` explains each parameter.
name: chemscale-bench

# With no environment named, MLflow wants pyenv; with one named, it rebuilds it by its own lights. A project marked as a
# Databricks job is run by `mlflow run .` in the calling environment as it is (in MLflow 3.17, env_type is then unset in
# projects/_project_spec.py and no manager is picked in backend/local.py): an accident that a test guards. It rules out
# parameters of type `path`. tools/launch then finds or builds the environment. What other backends want instead, and
# what to do there, is in docs/how-to/mlflow_backends.md.
databricks_spark_job: {}

entry_points:
"""


def entry_point(name: str) -> str:
    """One verb: its parameters with their defaults, and the one command. A bare {name} is what MLflow quotes safely."""
    fields = VERBS[name].model_fields
    lines = [f"  {'main' if name == 'demo' else name}:", "    parameters:"]
    lines += [f"      {key}: {{type: string, default: {json.dumps(str(of.default))}}}" for key, of in fields.items()]
    lines += ["    command: >-", f"      sh tools/launch {name}", *(f"      --{key} {{{key}}}" for key in fields)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(HEADER + "\n".join(entry_point(name) for name in VERBS), end="")
