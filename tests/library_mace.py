"""Models of mace-torch, with weights of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from chemscale_bench.models.compat import import_mace
from chemscale_bench.models.mace import CUTOFF_POWER, READOUT_WIDTH, Config, Network
from chemscale_bench.models.mace_file import names_of


def library_model(network: Network, elements: tuple[int, ...], **changes: Any) -> nn.Module:
    """A ScaleShiftMACE of the same shape and weights.

    Args:
        network: of ours.
        elements: that it knows.
        changes: other arguments than those that make it the same.
    """
    modules, o3, config = import_mace("mace.modules"), import_mace("e3nn.o3"), network.config
    assert isinstance(config, Config)
    first = "RealAgnosticResidualInteractionBlock" if config.self_connected else "RealAgnosticInteractionBlock"
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # for its constants
    hidden = [(config.width, (degree, (-1) ** degree)) for degree in range(config.max_L + 1)]
    try:
        same = {
            "r_max": config.cutoff, "num_bessel": config.radial_functions, "num_polynomial_cutoff": CUTOFF_POWER,
            "max_ell": config.max_ell, "interaction_cls": modules.RealAgnosticResidualInteractionBlock,
            "interaction_cls_first": getattr(modules, first), "num_interactions": config.layers,
            "num_elements": len(elements), "atomic_numbers": list(elements),
            "hidden_irreps": o3.Irreps(hidden),
            "MLP_irreps": o3.Irreps([(READOUT_WIDTH, (0, 1))]), "atomic_energies": np.zeros(len(elements)),
            "avg_num_neighbors": config.average_neighbors, "correlation": 3, "gate": nn.functional.silu,
            "use_reduced_cg": False, "atomic_inter_scale": 1.0, "atomic_inter_shift": 0.0,
        }  # fmt: skip
        model: nn.Module = modules.ScaleShiftMACE(**same | changes)
    finally:
        torch.set_default_dtype(before)
    ours = dict(names_of(network))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in ours and ours[name].numel() == weight.numel():
                weight.copy_(ours[name].reshape(weight.shape))
    return model
