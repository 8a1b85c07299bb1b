"""A run's model as a repository of the Hugging Face hub: its card is read by the hub's own reader, its model loads."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from commands import call
from huggingface_hub import ModelCard

import chemscale_bench as cs


@pytest.fixture(scope="module")
def store(empty_store: Path, prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """A tracking store with a language model and a force field: its address and the ids of their runs."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    alcohols = [f"{'C' * left}C(O){'C' * right}" for left in range(1, 16) for right in range(1, 16)]
    pd.DataFrame({"smiles": alcohols}).to_csv(folder / "alcohols.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("CHEMSCALE_HOME", str(prepared_home))
        patch.chdir(folder)
        mlflow.set_tracking_uri(uri)
        small = {"params": 1e4, "tokens": 3000, "device": "cpu", "data": str(folder / "alcohols.csv")}
        language = cs.train("llama", task="embedded-lm", **small)
        force = cs.train("schnet", task="embedded-ff", train_size=20, steps=5, params=1e4, device="cpu")
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    return uri, language.run_id, force.run_id


@pytest.fixture(autouse=True)
def in_store(store: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store[0])
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(store[0])
    yield
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def test_a_language_model(store: tuple[str, str, str], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    run_id = store[1]
    out = call("publish", "--run", run_id, "--repo", "ada/alcohols-1e4", "--licence", "cc-by-4.0")
    assert "hf upload ada/alcohols-1e4" in out
    folder = tmp_path / "alcohols-1e4"
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "generation_config.json", "model.safetensors", "provenance.json",
        "smiles_tokenizer.py", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    card = ModelCard.load(folder / "README.md")
    assert (card.data.license, card.data.library_name) == ("cc-by-4.0", "transformers")
    logged = mlflow.get_run(run_id).data
    results = {each.metric_name: each.metric_value for each in card.data.eval_results}
    assert results["val/loss_nats_per_token"] == logged.metrics["val/loss_nats_per_token"]
    assert all(each.dataset_name == logged.params["task_name"] for each in card.data.eval_results)
    assert 'cs.load(snapshot_download("ada/alcohols-1e4"))' in card.text

    smiles = ["CCO", "CCC(O)C"]
    assert np.array_equal(cs.load(folder).loss(smiles), cs.load(run_id).loss(smiles))
    assert AutoModelForCausalLM.from_pretrained(folder).config.model_type == "qwen3"

    origin = json.loads((folder / "provenance.json").read_text())
    assert origin["run_id"] == run_id
    assert origin["origin"]["task_digest"] == logged.tags["task_digest"]
    assert origin["origin"]["code.commit"] == logged.tags["code.commit"]
    assert origin["origin"]["data.source"] == "alcohols.csv"
    for path in (*folder.glob("*.json"), folder / "README.md"):
        assert str(tmp_path.parent) not in path.read_text(), "no folder of whoever trained it"


def test_a_force_field(store: tuple[str, str, str], tmp_path: Path) -> None:
    call("publish", "--run", store[2], "--repo", "ada/ethanol", "--out", "there")
    card = ModelCard.load(tmp_path / "there" / "README.md")
    results = {each.metric_name: each.metric_value for each in card.data.eval_results}
    logged = mlflow.get_run(store[2]).data.metrics
    assert results["test/force_mae_mev_per_angstrom"] == logged["test/force_mae_mev_per_angstrom"]
    assert "calculator()" in card.text
    cs.load(tmp_path / "there").calculator()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"repo": "alcohols"}, "repo must be OWNER/NAME, got 'alcohols'"),
        ({"repo": "ada/a b"}, "repo must be OWNER/NAME, got 'ada/a b'"),
        ({"run": "nothing"}, "run must be the id of a run of this store, got 'nothing'"),
        ({"out": "full"}, "out must be a new or empty folder, got 'full'"),
        ({"out": "full/thesis.tex/model"}, "out must be a writable folder, got 'full/thesis.tex/model'"),
    ],
)
def test_what_is_refused(given: dict[str, str], message: str, store: tuple[str, str, str], tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    given = {"run": store[1], "repo": "ada/alcohols"} | given
    out = call("publish", *(word for name, value in given.items() for word in (f"--{name}", value)), expected=2)
    assert message in out
    assert not (tmp_path / "alcohols").exists()


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as takes a repository, with every file inside the commit."""

    files: dict[str, bytes]
    asked: list[str]

    def answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.answer({"id": "ada/alcohols", "sha": "0", "siblings": []})

    def do_POST(self) -> None:
        self.asked.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        address = f"http://{self.headers['Host']}/ada/alcohols"
        if self.path.endswith("/repos/create"):
            self.answer({"url": address})
        elif "/preupload/" in self.path:
            names = [each["path"] for each in json.loads(body)["files"]]
            self.answer({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self.answer({"commitUrl": f"{address}/commit/1", "commitOid": "1", "success": True})
        else:
            self.answer({})

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    handler = type("OneHub", (Hub,), {"files": {}, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()


def test_it_is_sent_when_asked(hub: tuple[str, type[Hub]], store: tuple[str, str, str], tmp_path: Path) -> None:
    # In a process of its own: the hub's address is read when its client is imported.
    environment = os.environ | {"HF_ENDPOINT": hub[0], "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "chemscale_bench", "publish", "--run", store[1], "--repo", "ada/alcohols", "--push",
         "True"], capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"published {hub[0]}/ada/alcohols" in done.stdout
    written = {path.name: path.read_bytes() for path in (tmp_path / "alcohols").iterdir()}
    assert hub[1].files == written

    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nobody listens
    done = subprocess.run(
        [sys.executable, "-m", "chemscale_bench", "publish", "--run", store[1], "--repo", "ada/alcohols", "--push",
         "True", "--out", "again"], capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: the hub must take ada/alcohols, it says: ")
