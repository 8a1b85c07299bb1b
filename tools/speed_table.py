"""Print the table of a file of measured rows: `python tools/speed_table.py FILE.jsonl "DEVICE NAME"`.

The last column is the share of the device's datasheet peak in bf16.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from chemscale_bench.speed.ceilings import Ceiling
from chemscale_bench.speed.measurements import read, table
from chemscale_bench.speed.peaks import peak_flops

if __name__ == "__main__":
    peaks = {"bf16": peak_flops(sys.argv[2]) / 1e9, "fp32": math.nan}
    ceilings = {f"matrix_{name}_gflop_per_s": Ceiling(peak, peak, peak) for name, peak in peaks.items()}
    print(table(read(Path(sys.argv[1])), ceilings))
