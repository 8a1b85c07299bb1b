"""Weights from model files of mace-torch, such as those of MACE-OFF, in our own MACE.

Such a file is a pickle: reading it runs code that it holds, as mace-torch itself does. Whatever our network lacks (pair
repulsion, other radial functions, several heads, ...) shows in names, shapes or forces, and is refused.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chemscale_bench.errors import UserError, first_line
from chemscale_bench.models.compat import import_mace
from chemscale_bench.models.mace import Config, Layer, Network
from chemscale_bench.models.mace_couplings import symmetric_couplings
from chemscale_bench.models.potential import Graph, energy_and_forces, molecule_graph

KIND = "a MACE of the usual blocks, correlation 3 and one head"
SAME_FORCES = 1e-4  # relative to the largest one, in float64


def read(path: Path) -> tuple[Network, Config, tuple[int, ...]]:
    """The network of a file, its config and the atomic numbers that it knows.

    Energies are those of interaction, without the atoms' own and without the shift of each atom.

    Raises:
        UserError: if it is not a model of mace-torch, or one that this MACE is not.
    """
    import_mace("mace.modules")  # whose classes are in the file
    try:
        theirs = torch.load(path, map_location="cpu", weights_only=False)
        found = import_mace("mace.tools.scripts_utils").extract_config_mace_model(theirs)
    except Exception as error:  # whatever a pickle raises
        reason = first_line(error)
        raise UserError(f"init must be a model file of mace-torch, got {path} ({reason}); give another") from None
    if "error" in found:
        raise UserError(f"init must be a ScaleShiftMACE, {path} holds a {type(theirs).__name__}; give another")
    hidden = found["hidden_irreps"]
    config = Config(
        layers=found["num_interactions"], width=hidden.count("0e"), cutoff=float(found["r_max"]), max_L=hidden.lmax,
        max_ell=found["max_ell"], radial_functions=found["num_bessel"],
        average_neighbors=float(found["avg_num_neighbors"]),
        self_connected=found["interaction_cls_first"].__name__ != "RealAgnosticInteractionBlock",
    )  # fmt: skip
    elements = tuple(int(number) for number in found["atomic_numbers"])
    network = Network(config, elements)
    weights, wanted = dict(theirs.double().named_parameters()), dict(names_of(network))
    different = [name for name in {*weights, *wanted} if sizes(weights, name) != sizes(wanted, name)]
    if different:
        raise UserError(f"init must be {KIND}, {path} differs in {min(different)}; give another")
    with torch.no_grad():
        network.double().scale.fill_(float(np.ravel(found["atomic_inter_scale"])[0]))
        for name, weight in names_of(network):
            weight.copy_(weights[name].view_as(weight))
    graph = molecule_graph(*strewn(elements), config.cutoff, network.scale)
    try:
        expected = theirs(library_inputs(graph, elements))["forces"]
    except Exception as error:  # of models that take more than positions
        reason = first_line(error)
        raise UserError(f"init must be {KIND}, {path} gives no forces ({reason}); give another") from None
    forces = energy_and_forces(network, graph, differentiable=False)[1]
    if not (forces - expected).abs().max() <= SAME_FORCES * expected.abs().max():
        raise UserError(f"init must be {KIND}, {path} has other forces than this network of its weights; give another")
    return network.float(), config, elements


def sizes(weights: dict[str, Tensor], name: str) -> int:
    """How many numbers a weight has, 0 if there is none."""
    return weights[name].numel() if name in weights else 0


def names_of(network: Network) -> list[tuple[str, Tensor]]:
    """Our weights by the names that mace-torch has for them."""
    named: list[tuple[str, Tensor]] = [("node_embedding.linear.weight", network.embedding)]
    for index, layer in enumerate(network.layers):
        assert isinstance(layer, Layer)
        interaction, product = f"interactions.{index}", f"products.{index}"
        named += [(f"{interaction}.conv_tp_weights.layer{step}.weight", w) for step, w in enumerate(layer.radial)]
        named += [
            (f"{interaction}.linear_up.weight", layer.up),
            (f"{interaction}.linear.weight", layer.mix),
            (f"{interaction}.skip_tp.weight", layer.skip),
            (f"{product}.linear.weight", layer.out),
        ]
        for degree, weights in enumerate(layer.contraction):
            by_order = torch.split(weights, symmetric_couplings(network.config.max_ell, degree)[1], dim=1)
            prefix = f"{product}.symmetric_contractions.contractions.{degree}"
            names = ["weights_max", "weights.0", "weights.1"]
            named += [(f"{prefix}.{name}", part) for name, part in zip(names, by_order, strict=True)]
    named += [(f"readouts.{index}.linear.weight", weight) for index, weight in enumerate(network.readouts)]
    last = len(network.readouts)
    return [*named, *((f"readouts.{last}.linear_{step}.weight", w) for step, w in enumerate(network.last, start=1))]


def library_inputs(graph: Graph, elements: tuple[int, ...]) -> dict[str, Any]:
    """A graph as mace-torch's models take it."""
    like = graph.positions_A3
    edges, cells = len(graph.senders_E), 3 * graph.structures
    sizes_S = torch.bincount(graph.structure_A)
    return {
        "positions": like.clone().requires_grad_(),
        "node_attrs": (graph.numbers_A[:, None] == torch.tensor(elements)).to(like),
        "edge_index": torch.stack([graph.senders_E, graph.receivers_E]),
        "batch": graph.structure_A,
        "ptr": torch.cat([torch.tensor([0]), sizes_S.cumsum(0)]),
        "shifts": like.new_zeros(edges, 3),
        "unit_shifts": like.new_zeros(edges, 3),
        "cell": like.new_zeros(cells, 3),
    }


def strewn(elements: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two atoms of every element near a grid of 1.5 Angstrom: atomic numbers (A,), positions (A, 3)."""
    numbers = np.array([*chain(elements, elements)])
    edge = int(np.ceil(len(numbers) ** (1 / 3)))
    grid = 1.5 * np.stack(np.meshgrid(*[np.arange(edge)] * 3), axis=-1).reshape(-1, 3)[: len(numbers)]
    return numbers, grid + np.random.default_rng(0).normal(0, 0.1, grid.shape)
