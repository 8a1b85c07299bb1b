from pathlib import Path

import numpy as np
import pytest
import torch
from sequences import END, PAD, SIZE, START, random_sequences
from transformers import AutoModelForCausalLM, GPTNeoConfig, GPTNeoForCausalLM

from chemscale_bench.errors import UserError
from chemscale_bench.models.chemgpt import build_shape, load_pretrained, save_pretrained
from chemscale_bench.models.gpt_neo import GPTNeo
from chemscale_bench.models.sizes import Shape
from chemscale_bench.training.language import pack


def theirs_on(model: GPTNeoForCausalLM, sequences: list[np.ndarray]) -> torch.Tensor:
    """Hugging Face's logits, molecule by molecule, without padding."""
    out = []
    for sequence in sequences:
        inputs = torch.tensor([[START, *sequence[:-1].tolist()]])
        out.append(model(input_ids=inputs, use_cache=False).logits[0])
    return torch.cat(out)


@pytest.mark.parametrize("parametrization", ["standard", "mutransfer"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_our_checkpoint_has_the_same_logits_in_transformers(tmp_path: Path, parametrization: str, layers: int) -> None:
    model = build_shape(Shape(layers, 96, 3), SIZE, parametrization, seed=1)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():  # far from the start, so that every weight matters
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    save_pretrained(model, tmp_path, START, END, PAD)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    sequences = random_sequences([5, 17, 1, 300])  # 300 is longer than the local window of 256
    ours = model.logits(pack(sequences, START))
    torch.testing.assert_close(ours, theirs_on(loaded, sequences), atol=1e-4, rtol=1e-5)


def hugging_face_chemgpt(window: int = 256) -> GPTNeoForCausalLM:
    torch.manual_seed(0)
    config = GPTNeoConfig(
        vocab_size=SIZE, hidden_size=64, num_layers=4, num_heads=16, attention_types=[[["global", "local"], 2]],
        window_size=window, bos_token_id=START, eos_token_id=END, initializer_range=0.2,
    )  # fmt: skip
    return GPTNeoForCausalLM(config).eval()


@pytest.mark.parametrize("safe", [True, False])
def test_a_hugging_face_checkpoint_loads_with_equal_logits(tmp_path: Path, safe: bool) -> None:
    theirs = hugging_face_chemgpt()
    theirs.save_pretrained(tmp_path)
    if not safe:  # as in 2022
        torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    ours = load_pretrained(tmp_path)
    sequences = random_sequences([3, 60, 280])
    torch.testing.assert_close(ours.logits(pack(sequences, START)), theirs_on(theirs, sequences), atol=1e-4, rtol=0)


def test_packed_losses_equal_those_of_each_molecule_alone() -> None:
    model = build_shape(Shape(2, 64, 4), SIZE, "standard", seed=0)
    sequences = random_sequences([30, 2, 11, 11, 270])
    together = model.token_losses(pack(sequences, START))
    alone = torch.cat([model.token_losses(pack([sequence], START)) for sequence in sequences])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_molecule_never_sees_its_neighbour() -> None:
    model = build_shape(Shape(2, 64, 4), SIZE, "standard", seed=0)
    first, second, other = random_sequences([20, 20, 20])
    before = model.token_losses(pack([first, second], START))[:20]
    after = model.token_losses(pack([first, other], START))[:20]
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json and model.safetensors"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json and model.safetensors"),
        (lambda folder: (folder / "config.json").write_text("{}"), "num_layers"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "config.json and model.safetensors"),
        (lambda folder: (folder / "model.safetensors").unlink(), "config.json and model.safetensors"),
    ],
)
def test_a_broken_checkpoint_is_refused_in_one_line(tmp_path: Path, damage: object, message: str) -> None:
    hugging_face_chemgpt().save_pretrained(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        load_pretrained(tmp_path)


def test_another_network_is_refused(tmp_path: Path) -> None:
    hugging_face_chemgpt(window=128).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="window_size=256"):
        load_pretrained(tmp_path)


def test_parameters_outside_the_embeddings_are_those_of_the_formula() -> None:
    model: GPTNeo = build_shape(Shape(3, 52, 4), SIZE, "standard", seed=0)
    counted = sum(p.numel() for name, p in model.named_parameters() if "embedding" not in name)
    assert counted == Shape(3, 52, 4).non_embedding_params


def test_flops_per_token_are_those_that_torch_counts() -> None:
    """Forward and backward of one molecule of 40 tokens, which attends to all 40."""
    from torch.utils.flop_counter import FlopCounterMode

    shape = Shape(3, 64, 4)
    model = build_shape(shape, 50, "standard", seed=0)
    with FlopCounterMode(display=False) as counter:
        model(pack([np.arange(40, dtype=np.uint16) % 45 + 4], 2)).backward()
    expected = model.config.flops_per_token(40) * 40
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)
    assert model.config.flops_per_token(40) == 6 * (12 * 3 * 64**2 + 50 * 64) + 12 * 3 * 64 * 40
