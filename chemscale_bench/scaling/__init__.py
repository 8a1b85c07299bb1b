"""Neural scaling laws from a table of numbers: exponents, regimes, the compute-optimal frontier.

Needs nothing of the rest of this package, neither MLflow nor torch.
"""

from chemscale_bench.scaling.base import Interval
from chemscale_bench.scaling.identify import UnidentifiedError
from chemscale_bench.scaling.laws import BrokenPowerLaw, JointLaw, PowerLaw, PowerLawWithFloor

__all__ = ["BrokenPowerLaw", "Interval", "JointLaw", "PowerLaw", "PowerLawWithFloor", "UnidentifiedError"]
