"""Where tasks and results lie: beside the package in a checkout, inside it in a wheel, where setup.py has put them."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent
CHECKOUT = None if (PACKAGE / "carried").is_dir() else PACKAGE.parent
"""The folder of the checkout; None for a package that was installed from a wheel."""
PROJECT = CHECKOUT or PACKAGE / "carried"
"""The folder with benchmarks/ and leaderboard/."""
