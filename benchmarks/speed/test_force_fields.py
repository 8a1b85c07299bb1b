"""Training steps per second of the force fields against their libraries' own trainers, both in one run.

Run: `python -m pytest benchmarks/speed/test_force_fields.py -s`. Batches of 32 frames of rMD17, float32, AdamW, the
same size and loss. The reference of SchNet and PaiNN is schnetpack's Lightning task over its data module, set up as its
`md17` experiment but without metrics, loggers and checkpoints (its neighbour lists cost less than reading its cache of
them); that of MACE is `train_one_epoch` of `mace_run_train` over its loader, graphs built beforehand. Sides alternate,
set-up and warm-up are left out, medians are compared.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chemscale_bench.data import structures
from chemscale_bench.models.compat import import_mace, import_schnetpack
from chemscale_bench.models.force_fields import build
from chemscale_bench.models.registry import FORCE_FIELDS
from chemscale_bench.speed.measurements import Row
from chemscale_bench.training.averaging import RunningAverage
from chemscale_bench.training.contracts import Events
from chemscale_bench.training.fabric import Fabric
from chemscale_bench.training.forces import ForceLoss, ForceObjective, FramesOnDevice
from chemscale_bench.training.loop import Trainer
from chemscale_bench.training.schedules import segments

RMD17 = Path(__file__).parents[2] / ".." / "shared" / "data" / "rmd17"
BATCH, FRAMES, CUTOFF, ROUNDS, WARM_UP = 32, 950, 5.0, 5, 6
STEPS = {"schnet": 16, "painn": 12, "mace": 6}
WEIGHTS = (0.01, 0.99)  # of energy and forces in the loss
OPTIMIZER = {"lr": 1e-3, "weight_decay": 0.0}
KCAL = 0.0433641153  # eV
WORKERS = min(8, (os.cpu_count() or 1) - 1)  # schnetpack's default where there are as many cores
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cuda":
    STEPS = {name: 4 * steps for name, steps in STEPS.items()}


class Frames(NamedTuple):
    """Frames of one molecule (A atoms) on the device."""

    numbers_A: Tensor
    positions_FA3: Tensor  # Angstrom
    energy_F: Tensor  # eV, relative to their mean
    forces_FA3: Tensor  # eV/Angstrom


def frames_of(molecule: str) -> Frames:
    path = RMD17 / f"rmd17_{molecule}_train_01.npz"
    if not path.exists():
        pytest.skip("needs frames of rMD17 in ../shared/data")
    with np.load(path) as file:
        numbers, positions, energy, forces = (
            torch.tensor(file[key])[: None if key == "nuclear_charges" else FRAMES].to(DEVICE)
            for key in ("nuclear_charges", "coords", "energies", "forces")
        )
    energy = KCAL * (energy - energy.mean())
    return Frames(numbers.long(), positions.float(), energy.float(), (KCAL * forces).float())


def batches(steps: int) -> list[Tensor]:
    """Which frames are in each of the next batches."""
    return list(torch.randperm(FRAMES)[: steps * BATCH].view(steps, BATCH))


class Silent(Events):
    """The loop's events, without a tracker."""


def our_side(name: str, frames: Frames) -> Callable[[int], float]:
    """The loop of a run with all that `forcefield` gives it, the running average too; gives the seconds of steps."""
    network = build(name, FORCE_FIELDS.family(name).Config(cutoff=CUTOFF), elements_of(frames), seed=0)
    labels = structures.Frames(
        frames.numbers_A.cpu().numpy(), frames.positions_FA3.cpu().double().numpy(),
        frames.energy_F.cpu().double().numpy(), frames.forces_FA3.cpu().double().numpy(),
    )  # fmt: skip
    loss = ForceLoss(network, WEIGHTS[1], WEIGHTS[0]).to(DEVICE)
    on_device = FramesOnDevice(labels, CUTOFF, 0.0, DEVICE, torch.float32)
    objective = ForceObjective(on_device, 0, BATCH, diverged_loss=float("inf"))

    def seconds(steps: int) -> float:
        trainer = Trainer(
            Fabric(accelerator=DEVICE.type, devices=1), loss,
            torch.optim.AdamW(loss.parameters(), fused=True, **OPTIMIZER), objective, Silent(),
            plan=segments([(WARM_UP + steps) * BATCH], 0.5), warmup=BATCH, clip=10.0, report_every=20 * BATCH,
            save_seconds=1e9, pass_limit=65_536, average=RunningAverage(loss, 0.99), captures=not network.WAITS,
        )  # fmt: skip
        for _ in range(WARM_UP):
            for step in trainer.step(trainer.plan[0]):
                trainer.perform(step)
        start = clock()
        trainer.run()
        return clock() - start

    return seconds


def schnetpack_side(name: str, frames: Frames, folder: Path) -> Callable[[int], float]:
    """Lightning's trainer with schnetpack's task and data module; gives the seconds of so many steps."""
    import pytorch_lightning as lightning
    from ase import Atoms

    stores, transform = import_schnetpack("schnetpack.data"), import_schnetpack("schnetpack.transform")
    atomistic, task = import_schnetpack("schnetpack.atomistic"), import_schnetpack("schnetpack.task")
    units = {"energy": "eV", "forces": "eV/Ang"}
    store = stores.ASEAtomsData.create(str(folder / "frames.db"), "Ang", units)
    numbers = frames.numbers_A.cpu().numpy()
    store.add_systems(
        [
            {"energy": energy.cpu().numpy()[None], "forces": forces.cpu().numpy()}
            for energy, forces in zip(frames.energy_F, frames.forces_FA3, strict=True)
        ],
        [Atoms(numbers, positions.cpu().numpy()) for positions in frames.positions_FA3],
    )
    data = stores.AtomsDataModule(
        str(folder / "frames.db"), batch_size=BATCH, num_train=FRAMES - 1, num_val=1, num_workers=WORKERS,
        split_file=str(folder / "split.npz"), distance_unit="Ang", property_units=units,
        transforms=[
            transform.SubtractCenterOfMass(), transform.RemoveOffsets("energy", remove_mean=True),
            transform.MatScipyNeighborList(cutoff=CUTOFF), transform.CastTo32(),
        ],
    )  # fmt: skip
    network: Any = build(name, FORCE_FIELDS.family(name).Config(cutoff=CUTOFF), elements_of(frames), seed=0)
    readout = atomistic.Atomwise(network.representation.n_atom_basis, output_key="energy")
    model = import_schnetpack("schnetpack.model").NeuralNetworkPotential(
        network.representation, [atomistic.PairwiseDistances()], [readout, atomistic.Forces()]
    )
    outputs = [
        task.ModelOutput(key, nn.MSELoss(), weight, metrics={})
        for key, weight in zip(units, WEIGHTS, strict=True)
    ]  # fmt: skip
    module = task.AtomisticTask(model, outputs, torch.optim.AdamW, OPTIMIZER)

    class Watch(lightning.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, *arguments: Any) -> None:
            ends.append(clock())

    ends: list[float] = []

    def seconds(steps: int) -> float:
        ends.clear()
        lightning.Trainer(
            accelerator=DEVICE.type, devices=1, max_steps=WARM_UP + steps, callbacks=[Watch()], logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            limit_val_batches=0, num_sanity_val_steps=0, inference_mode=False,
        ).fit(module, datamodule=data)  # fmt: skip
        return ends[-1] - ends[WARM_UP - 1]

    return seconds


def mace_side(frames: Frames, folder: Path) -> Callable[[int], float]:
    """`train_one_epoch` of mace_run_train over so many batches of its loader; gives the seconds."""
    modules, data, tools = import_mace("mace.modules"), import_mace("mace.data"), import_mace("mace.tools")
    o3, train = import_mace("e3nn.o3"), import_mace("mace.tools.train")
    loader = import_mace("mace.tools.torch_geometric").dataloader.DataLoader
    elements, config = elements_of(frames), FORCE_FIELDS.family("mace").Config(cutoff=CUTOFF)
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF, num_bessel=config.radial_functions, num_polynomial_cutoff=5, max_ell=config.max_ell,
        interaction_cls=modules.RealAgnosticResidualInteractionBlock,
        interaction_cls_first=modules.RealAgnosticResidualInteractionBlock,
        num_interactions=config.layers, num_elements=len(elements), correlation=3, gate=nn.functional.silu,
        hidden_irreps=o3.Irreps([(config.width, (degree, (-1) ** degree)) for degree in range(config.max_L + 1)]),
        MLP_irreps=o3.Irreps("16x0e"), atomic_energies=np.zeros(len(elements)), atomic_numbers=list(elements),
        avg_num_neighbors=config.average_neighbors, atomic_inter_scale=1.0, atomic_inter_shift=0.0,
    ).to(DEVICE)  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), **OPTIMIZER)
    loss = modules.WeightedEnergyForcesLoss(*WEIGHTS)
    table = tools.AtomicNumberTable(elements)
    graphs = [
        data.AtomicData.from_config(
            data.Configuration(
                frames.numbers_A.cpu().numpy(), frames.positions_FA3[frame].cpu().double().numpy(),
                {"energy": frames.energy_F[frame].item(), "forces": frames.forces_FA3[frame].cpu().numpy()}, {},
            ),
            table, CUTOFF,
        )
        for frame in range(FRAMES)
    ]  # fmt: skip
    logger = tools.MetricsLogger(str(folder), "log")
    outputs = {"forces": True, "virials": False, "stress": False}

    def epoch(steps: int) -> None:
        chosen = [graphs[frame] for batch in batches(steps) for frame in batch.tolist()]
        train.train_one_epoch(
            model, loss, loader(chosen, BATCH, shuffle=True, drop_last=True), optimizer, 0, outputs,
            max_grad_norm=None, ema=None, logger=logger, device=DEVICE, distributed=False, rank=0,
        )  # fmt: skip

    def seconds(steps: int) -> float:
        epoch(2)
        start = clock()
        epoch(steps)
        return clock() - start

    return seconds


def elements_of(frames: Frames) -> tuple[int, ...]:
    return tuple(frames.numbers_A.unique().tolist())


def clock() -> float:
    """Wall time once the device has finished."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


@pytest.mark.parametrize("molecule", ["ethanol", "aspirin"])
@pytest.mark.parametrize("name", list(STEPS))
def test_training_steps_per_second(
    name: str, molecule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_row: Callable[..., Row]
) -> None:
    """Goal: 1.3 times schnetpack's trainer, 1.2 times mace_run_train's loop."""
    monkeypatch.chdir(tmp_path)  # schnetpack leaves a lock in the working folder
    warnings.simplefilter("ignore")
    frames, steps = frames_of(molecule), STEPS[name]
    mine = our_side(name, frames)
    theirs = mace_side(frames, tmp_path) if name == "mace" else schnetpack_side(name, frames, tmp_path)
    mine(1), theirs(1)
    pairs = [(steps / mine(steps), steps / theirs(steps)) for _ in range(ROUNDS)]
    ours, reference = zip(*pairs, strict=True)
    alternative = "mace_run_train" if name == "mace" else "schnetpack on Lightning"
    record_row(f"{name} on {molecule}, batch {BATCH}, training", "steps/s", ours, alternative, reference)
