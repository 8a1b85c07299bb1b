"""NequIP gives what its blocks give when they are put together from e3nn's own modules with the same weights."""

from pathlib import Path

import pytest
import torch
from graphs import ELEMENTS, frames, graph_of
from torch import Tensor

from chemscale_bench.errors import UserError
from chemscale_bench.models import force_fields, nequip
from chemscale_bench.models.compat import import_mace
from chemscale_bench.models.force_fields import build
from chemscale_bench.models.nequip import CUTOFF_POWER, Config, Layer, Network
from chemscale_bench.models.potential import Graph, energy_and_forces


def irreps(channels: list[int]) -> object:
    """So many channels of degree 0, 1, ..., with natural parity."""
    return import_mace("e3nn.o3").Irreps([(count, (degree, (-1) ** degree)) for degree, count in enumerate(channels)])


def convolve(layer: Layer, config: Config, features: Tensor, one_hot_AZ: Tensor, edges: dict[str, Tensor]) -> Tensor:
    """An interaction block and its gate, edge by edge (features in e3nn's layout)."""
    o3, nn = import_mace("e3nn.o3"), import_mace("e3nn.nn")
    width, degree_in, degree_out = config.width, len(layer.up) - 1, len(layer.mix) - 1
    comes, goes = irreps([width] * (degree_in + 1)), irreps([mix.shape[1] for mix in layer.mix])
    sent = o3.Linear(comes, comes)(features, layer.up.flatten())
    each = o3.Irreps([(width, (path[2], (-1) ** path[2])) for path in layer.paths])
    instructions = [(path[0], path[1], index, "uvu", True) for index, path in enumerate(layer.paths)]
    harmonic = irreps([1] * (config.degree + 1))
    product = o3.TensorProduct(comes, harmonic, each, instructions, shared_weights=False, internal_weights=False)
    radial = nn.FullyConnectedNet([len(w) for w in layer.radial] + [product.weight_numel], torch.nn.functional.silu)
    for slot, weight in zip(radial.parameters(), layer.radial, strict=True):
        slot.data = weight.detach()
    messages = product(sent[edges["sender"]], edges["harmonics"], radial(edges["radial"]))
    summed = torch.zeros(len(features), messages.shape[1]).to(messages).index_add(0, edges["receiver"], messages)
    mixed = o3.Linear(each.simplify(), goes)(summed, torch.cat([mix.flatten() for mix in layer.mix]))
    one_of_each = o3.Irreps([(len(ELEMENTS), (0, 1))])
    own = o3.FullyConnectedTensorProduct(comes, one_of_each, goes)(
        features, one_hot_AZ, torch.cat([weight.transpose(0, 1).flatten() for weight in layer.elements])
    )
    scalar, gated = irreps([width]), o3.Irreps(list(irreps([width] * (degree_out + 1)))[1:])  # type: ignore[call-overload]
    silu = torch.nn.functional.silu
    gates = irreps([width * degree_out]) if degree_out else o3.Irreps("")
    gate = nn.Gate(scalar, [silu], gates, [silu] if degree_out else [], gated)
    result: Tensor = gate(mixed / config.average_neighbors**0.5 + own)
    return result


def reference(network: Network, graph: Graph) -> tuple[Tensor, Tensor]:
    """Energy (S,) and forces (A, 3)."""
    o3, config = import_mace("e3nn.o3"), network.config
    positions = graph.positions_A3.clone().requires_grad_()
    vectors = positions[graph.receivers_E] - positions[graph.senders_E]
    ratio = vectors.norm(dim=1, keepdim=True) / config.cutoff
    p = CUTOFF_POWER
    envelope = (
        1 - (p + 1) * (p + 2) / 2 * ratio**p + p * (p + 2) * ratio ** (p + 1) - p * (p + 1) / 2 * ratio ** (p + 2)
    )
    order = torch.pi * torch.arange(1, config.radial_functions + 1)
    harmonic = irreps([1] * (config.degree + 1))
    edges = {
        "sender": graph.senders_E, "receiver": graph.receivers_E,
        "radial": torch.sin(order * ratio) / (torch.pi * ratio) * envelope,
        "harmonics": o3.spherical_harmonics(harmonic, vectors, True, normalization="component"),
    }  # fmt: skip
    one_hot_AZ = (graph.numbers_A[:, None] == torch.tensor(sorted(ELEMENTS))).to(positions)
    features = one_hot_AZ @ network.embedding
    for layer in network.layers:
        assert isinstance(layer, Layer)
        features = convolve(layer, config, features, one_hot_AZ, edges)
    energies = network.scale * features @ network.readout / config.width**0.5
    energy_S = graph.per_structure(energies)
    (gradient,) = torch.autograd.grad(energy_S.sum(), positions)
    return energy_S, -gradient


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_energies_and_forces_are_those_of_e3nn(degree: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nequip, "SILU_GAIN", import_mace("e3nn.math").normalize2mom(torch.nn.functional.silu).cst)
    config = Config(width=6, cutoff=4.0, degree=degree)
    network = build(f"nequip-l{degree}", config, ELEMENTS, seed=0).double()
    assert isinstance(network, Network)
    graph = graph_of([*frames("ethanol", 2), *frames("aspirin", 1)], config.cutoff, torch.float64)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # for the constants of e3nn
    try:
        theirs = reference(network, graph)
    finally:
        torch.set_default_dtype(before)
    ours = energy_and_forces(network, graph, differentiable=False)
    for expected, value in zip(theirs, ours, strict=True):
        assert expected.abs().max() > 1e-3
        assert (value - expected).abs().max() < 1e-9 * expected.abs().max()


def test_a_checkpoint_has_the_degree_of_its_name(tmp_path: Path) -> None:
    config = Config(layers=2, width=16, degree=2)
    network = build("nequip-l2", config, (1, 6), seed=0)
    force_fields.save(tmp_path, "nequip-l1", network, config, (1, 6), {})
    with pytest.raises(UserError, match=r"degree of nequip-l1 is 1, not 2"):
        force_fields.load(tmp_path)
    force_fields.save(tmp_path, "nequip-l2", network, config, (1, 6), {})
    assert force_fields.load(tmp_path)[1]["model"] == "nequip-l2"
