"""What the README shows in Python runs as it stands there."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import selfies

from chemscale_bench.data.vocabulary import Vocabulary
from chemscale_bench.models import llama

README = (Path(__file__).parents[1] / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def checkpoint(folder: Path) -> str:
    """A language model that can read what the snippets name, in place of a run."""
    vocabulary = Vocabulary.build(
        dict.fromkeys(("[C]", "[=C]", "[O]", "[Ring1]", "[=Branch1]"), 1), selfies.__version__
    )
    model = llama.build(llama.config_for(10_000, vocabulary.size), seed=0)
    llama.save_pretrained(model, folder, vocabulary.start_id, vocabulary.end_id, vocabulary.pad_id)
    vocabulary.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[re.findall(r"import (\w+)", snippet)[-1] for snippet in SNIPPETS])
def test_a_snippet_runs(snippet: str, tmp_path: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params, tokens = np.repeat(np.geomspace(1e7, 1e9, 4), 4), np.tile(np.geomspace(1e9, 1e11, 4), 4)
    loss = 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37
    pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}).to_csv("runs.csv", index=False)
    run_id = checkpoint(tmp_path / "model") if "RUN_ID" in snippet else ""
    exec(snippet, {"params": params, "tokens": tokens, "loss": loss, "RUN_ID": run_id})
