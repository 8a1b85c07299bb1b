"""A run's model as a repository of the Hugging Face hub: weights, tokenizer, a card with results, its origin."""

from __future__ import annotations

import json
import math
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chemscale_bench.data.opening import output_folder
from chemscale_bench.errors import UserError, first_line
from chemscale_bench.models.registry import FORCE_FIELDS
from chemscale_bench.shell import unquoted
from chemscale_bench.tracking.store import download_model, open_store

if TYPE_CHECKING:
    from mlflow.entities import Run

OF_MLFLOW = ("MLmodel", "input_example.json", "serving_input_example.json")
"""Files of a run's model that mean nothing on the hub."""
ORIGIN = ("task_digest", "data.", "vocabulary.", "code.", "version.", "machine.device")
"""Beginnings of the tags that say where a model comes from."""
LOADED_AS = {"chemgpt": "AutoModelForCausalLM", "llama": "AutoModelForCausalLM"}


def finished_run(run_id: str) -> Run:
    """The run to publish.

    Raises:
        UserError: if it is no finished training.
    """
    from mlflow.exceptions import MlflowException

    client = open_store()
    try:
        run = client.get_run(run_id)
    except MlflowException:
        raise UserError(f"run must be the id of a run of this store, got {run_id!r}; `mlflow ui` shows it") from None
    if run.info.status != "FINISHED" or "non_embedding_params" not in run.data.params:
        raise UserError(
            f"run must be a training that has finished, {run_id} is {run.info.status} and "
            f"{'no' if 'model' not in run.data.params else 'a'} training; give one with a model"
        )
    return run


def check_repo(name: str) -> None:
    """Refuse what the hub takes for no name.

    Raises:
        UserError: with its rule.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
        if "/" not in name:
            raise HFValidationError("it has no owner")
    except HFValidationError as error:
        reason = first_line(error)
        raise UserError(f"repo must be OWNER/NAME, got {name!r} ({reason}); give repo=me/chemgpt-1e7") from None


def write(run: Run, repo: str, licence: str, folder: Path) -> Path:
    """Write the repository.

    Args:
        run: that trained the model.
        repo: its name, OWNER/NAME.
        licence: of the weights.
        folder: new or empty.

    Raises:
        UserError: if the folder is neither, or the run has no model.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"out must be a new or empty folder, got {str(folder)!r}; name another")
    output_folder(str(folder))
    model = download_model(run.info.run_id)
    shutil.copytree(model, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*OF_MLFLOW))
    (folder / "provenance.json").write_text(json.dumps(provenance(run), indent=1) + "\n")
    (folder / "README.md").write_text(card(run, repo, licence))
    return folder


def results(run: Run) -> dict[str, float]:
    """What the run measured on molecules or frames that it was not trained on, and its baselines."""
    kept = ("test/", "baseline/") if run.data.params["model"] in FORCE_FIELDS else ("val/", "baseline/")
    return {
        name: value
        for name, value in sorted(run.data.metrics.items())
        if name.startswith(kept) and math.isfinite(value)
    }


def provenance(run: Run) -> dict[str, Any]:
    """Where a model comes from: parameters, data, code, versions, cost; no name of a machine or a user."""
    tags = {
        name: Path(value).name if Path(value).is_absolute() else value  # of a file of one's own
        for name, value in sorted(run.data.tags.items())
        if name.startswith(ORIGIN)
    }
    cost = {
        name: value for name, value in run.data.metrics.items() if name.startswith("cost/") and math.isfinite(value)
    }
    # Paths and names of whoever trained it.
    own = {"data", "test_data", "register_as", "resume", "experiment"}
    params = {name: value for name, value in sorted(unquoted(run.data.params).items()) if name not in own}
    params["init"] = Path(params.get("init", "")).name  # whose weights it began with has to be told
    params |= {"task": run.data.params["task_name"]}
    return {"run_id": run.info.run_id, "parameters": params, "origin": tags, "results": results(run), "cost": cost}


def card(run: Run, repo: str, licence: str) -> str:
    """The model card, whose front matter the hub reads: licence, library, results."""
    from huggingface_hub import EvalResult, ModelCardData

    params, found = run.data.params, results(run)
    kind, task = params["model"], params["task_name"]
    is_force_field = kind in FORCE_FIELDS
    about = ModelCardData(
        license=licence, tags=["chemistry", "chemscale-bench", kind], model_name=repo.rpartition("/")[2],
        library_name="chemscale-bench" if kind not in LOADED_AS else "transformers",
        pipeline_tag=None if is_force_field else "text-generation",
        eval_results=[
            EvalResult(
                task_type="other" if is_force_field else "text-generation", dataset_type=task, dataset_name=task,
                metric_type=name, metric_name=name, metric_value=value,
            )
            for name, value in found.items() if not name.startswith("baseline/")
        ],
    )  # fmt: skip
    data = (
        f"{params['train_frames']} frames"
        if is_force_field
        else f"{int(params['budgets_tokens'].split()[-1]):,} tokens"
    )
    string = "SMILES" if params.get("vocabulary") == "smiles" else "SELFIES"
    table = "\n".join(f"| `{name}` | {value:.6g} |" for name, value in found.items())
    return f"""---
{about.to_yaml()}
---

# {about.model_name}

A {"force field" if is_force_field else "language model of molecules, written as " + string}: `{kind}` with
{int(params["non_embedding_params"]):,} parameters besides embeddings, trained on {data} of the task
`{task}` of chemscale-bench (digest
`{run.data.tags["task_digest"]}`).

## Use

```python
import chemscale_bench as cs
from huggingface_hub import snapshot_download

model = cs.load(snapshot_download("{repo}"))
{FORCES if is_force_field else MOLECULES}
```
{TRANSFORMERS.format(repo=repo, tokenizer=TOKENIZERS[string].format(repo=repo)) if kind in LOADED_AS else ""}
## Results

On {"test frames" if is_force_field else "validation molecules"} that it was not trained on; `baseline/` is what
{"no force and the mean energy" if is_force_field else "a trigram model of the same tokens"} would reach.

| metric | value |
|---|---|
{table}

## Where it comes from

[provenance.json](provenance.json) has all parameters, digests of the data, the commit of the code, versions and cost.
"""


MOLECULES = """model.loss(["CCO", "c1ccccc1"])  # nats per molecule
model.sample(10)"""
FORCES = "atoms.calc = model.calculator()  # of ASE"
TRANSFORMERS = """
It is a plain checkpoint of `transformers`, too: `AutoModelForCausalLM.from_pretrained("{repo}")`. Its tokenizer takes
{tokenizer}
"""
TOKENIZERS = {
    "SELFIES": """SELFIES; `AutoTokenizer.from_pretrained("{repo}", trust_remote_code=True)` takes SMILES, converted by
`smiles_tokenizer.py` (needs `selfies` and `rdkit`).""",
    "SMILES": "canonical SMILES as RDKit writes them.",
}


def push(folder: Path, repo: str, private: bool) -> str:
    """Send the repository to the hub; gives its address.

    Raises:
        UserError: if the hub does not take it.
    """
    from huggingface_hub import HfApi

    try:
        hub = HfApi()
        address = hub.create_repo(repo, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repo, folder_path=folder, commit_message="Published by chemscale-bench")
    except Exception as error:  # the hub client raises many kinds, all of which mean that it was not taken
        reason = first_line(error)
        raise UserError(
            f"the hub must take {repo}, it says: {reason}; check the name, run `hf auth login`, then "
            f"`hf upload {repo} {shlex.quote(str(folder))}`"
        ) from None
    return str(address)
