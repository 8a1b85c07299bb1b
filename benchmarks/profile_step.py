"""Where the time of an optimizer step goes: `python -m benchmarks.profile_step` prints a table for each size.

On a GPU the sizes are 1e5 to 1e8 with the kernels that take longest on the device, on a CPU 1e5 and 1e7 with the
operators that take longest. The batches are those of the speed suite.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parent / "speed"))
from test_training import DEVICE, Silent, clock, ours, prepared

from chemscale_bench.models.sizes import shape_for
from chemscale_bench.tracking.provenance import device_name

STEPS, LINES = 2, 12
BATCHES = (
    {"1e5": 2_048, "1e6": 8_192, "1e7": None, "1e8": None} if DEVICE.type == "cuda" else {"1e5": 512, "1e7": 2_048}
)


def main() -> None:
    """Profile two steps of each size, after five that warm up."""
    store = prepared()
    for size, batch in BATCHES.items():
        torch.cuda.empty_cache()
        trainer = ours(store, shape_for(int(float(size))), 10**9, Silent(), batch)
        due = trainer.steps_due()
        for _ in range(5):
            trainer.perform(next(due))
        start = clock()
        for _ in range(STEPS):
            step = next(due)
            trainer.perform(step)
        milliseconds = 1000 * (clock() - start) / STEPS
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
            for _ in range(STEPS):
                trainer.perform(next(due))
            clock()
        # Operators carry their kernels' device time too: on a GPU only what ran there counts.
        where, kind = (
            (DeviceType.CUDA, "self_device_time_total")
            if DEVICE.type == "cuda"
            else (DeviceType.CPU, "self_cpu_time_total")
        )
        averages = [row for row in found.key_averages() if row.device_type == where]
        rows = sorted(((getattr(row, kind), row.key, row.count) for row in averages), reverse=True)
        total = sum(row[0] for row in rows)
        busy = f", the device busy for {total / STEPS / 1000:.2f} ms" if DEVICE.type == "cuda" else ""
        print(f"\n{size} on {device_name(DEVICE)}, {step.amount:,} tokens: {milliseconds:.2f} ms a step{busy}\n")
        print("| share | calls | what |\n|---|---|---|")
        for spent, name, count in rows[:LINES]:
            print(f"| {spent / total:.1%} | {count // STEPS} | `{name[:90]}` |")


if __name__ == "__main__":
    main()
