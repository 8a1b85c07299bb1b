"""Neural scaling laws from a table of numbers: exponents, regimes, the compute-optimal frontier.

Needs nothing of the rest of this package, neither MLflow nor torch.
"""

from chemscale_bench.scaling.base import Interval
from chemscale_bench.scaling.choice import choose_law, extrapolate, hold_out
from chemscale_bench.scaling.forecast import Forecast
from chemscale_bench.scaling.frontier import compute_optimal
from chemscale_bench.scaling.identify import UnidentifiedError
from chemscale_bench.scaling.isoflop import isoflop
from chemscale_bench.scaling.laws import BrokenPowerLaw, JointLaw, PowerLaw, PowerLawWithFloor
from chemscale_bench.scaling.planning import flops_of, plan
from chemscale_bench.scaling.regimes import find_regimes
from chemscale_bench.scaling.table import RunTable, validate

__all__ = [
    "BrokenPowerLaw",
    "Forecast",
    "Interval",
    "JointLaw",
    "PowerLaw",
    "PowerLawWithFloor",
    "RunTable",
    "UnidentifiedError",
    "choose_law",
    "compute_optimal",
    "extrapolate",
    "find_regimes",
    "flops_of",
    "hold_out",
    "isoflop",
    "plan",
    "validate",
]
