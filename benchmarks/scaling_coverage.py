"""How often 90 % intervals hold the truth: 200 random laws of each kind, few and many sizes, 1 % noise.

Run `python -m benchmarks.scaling_coverage`; takes a few minutes on one core. `python -m benchmarks.scaling_coverage
runs` does the same with the other bootstrap.
"""

from __future__ import annotations

import sys
import time

from chemscale_bench.scaling.bootstrap import Method
from chemscale_bench.scaling.planted import KINDS, coverage


def main(method: Method = "auto", laws: int = 200) -> None:
    """Print the table: for each kind of law, and few or many sizes, the share of intervals that hold the truth."""
    print(f"bootstrap={method}, {laws} laws a row; standard error of a share of 90 %: {(0.09 / laws) ** 0.5:.1%}")
    for kind in KINDS:
        both = []
        for points in ("few", "many"):
            start = time.perf_counter()
            shares = coverage(kind, points, laws, method=method)
            both.append(shares)
            listed = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
            print(f"{kind:<22} {points:<5} {listed}  ({time.perf_counter() - start:.0f} s)", flush=True)
        pooled = ", ".join(f"{name} {(both[0][name] + both[1][name]) / 2:.1%}" for name in both[0])
        print(f"{kind:<22} both  {pooled}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]
