"""Model files of mace-torch become networks of ours, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from graphs import frames, graph_of
from library_mace import library_model

from chemscale_bench.errors import UserError
from chemscale_bench.models.force_fields import build
from chemscale_bench.models.mace import Config, Network
from chemscale_bench.models.mace_file import library_inputs, read
from chemscale_bench.models.potential import energy_and_forces

OFF = (1, 6, 7, 8, 9, 15, 16, 17, 35, 53)
"""The elements of MACE-OFF."""


def file(path: Path, config: Config, **changes: Any) -> torch.nn.Module:
    """Save a model as mace_run_train does."""
    network = build("mace", config, OFF, seed=1)
    assert isinstance(network, Network)
    model = library_model(network, OFF, **changes)
    torch.save(model, path)
    return model


@pytest.mark.parametrize(
    "config",
    [
        Config(width=96, max_L=0, cutoff=4.5, average_neighbors=14.6, self_connected=False),  # as MACE-OFF small
        Config(width=32, max_L=1, cutoff=5.0),
    ],
)
def test_energies_and_forces_are_those_of_the_file_without_shift_and_atoms(config: Config, tmp_path: Path) -> None:
    scale, shift = 0.8, -3.0
    energies = torch.arange(10.0, dtype=torch.float64).numpy()
    given = {"atomic_inter_scale": scale, "atomic_inter_shift": shift, "atomic_energies": energies}
    model = file(tmp_path / "some.model", config, **given)
    network, found, elements = read(tmp_path / "some.model")
    assert (found, elements, float(network.scale)) == (config, OFF, pytest.approx(scale))
    graph = graph_of(frames("aspirin", 2), config.cutoff)
    theirs = model.double()(library_inputs(graph, OFF))
    energy_S, forces_A3 = energy_and_forces(network.double(), graph, differentiable=False)
    assert torch.allclose(forces_A3, theirs["forces"], atol=1e-5 * float(forces_A3.abs().max()))
    assert torch.allclose(energy_S + 21 * shift, theirs["interaction_energy"], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"pair_repulsion": True}, "other forces than this network"),
        ({"radial_MLP": [32, 32, 32]}, "differs in interactions.0.conv_tp_weights.layer0.weight"),
        ({"correlation": 2}, "differs in products.0.symmetric_contractions.contractions.0.weights"),
        ({"num_polynomial_cutoff": 6}, "other forces than this network"),
        ({"heads": ["one", "two"], "atomic_inter_shift": [0.0, 0.0]}, "differs in readouts.0"),
    ],
)
def test_what_this_network_is_not_is_refused(changes: dict[str, Any], differs: str, tmp_path: Path) -> None:
    file(tmp_path / "some.model", Config(width=8, max_L=1), **changes)
    with pytest.raises(UserError, match=f"^init must be a MACE of the usual blocks.*some.model .*{differs}"):
        read(tmp_path / "some.model")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.model").write_text("no pickle")
    with pytest.raises(UserError, match=r"^init must be a model file of mace-torch, got .*text\.model \("):
        read(tmp_path / "text.model")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "linear.model")
    with pytest.raises(UserError, match=r"^init must be a ScaleShiftMACE, .* holds a Linear"):
        read(tmp_path / "linear.model")
