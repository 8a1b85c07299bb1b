"""What all laws share: percentile intervals, tags, refusals."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import JointLaw, PowerLaw, UnidentifiedError, base
from chemscale_bench.scaling.base import NO_LOWER, NO_UPPER, Interval, between, bounded, quantiles
from chemscale_bench.scaling.bootstrap import resample

SIZES = np.geomspace(1e6, 1e9, 6)
LOSS = 20 * SIZES**-0.2 * (1 + 0.01 * np.array([1, -2, 0, 2, -1, 0]))


def test_quantiles_leave_half_of_the_rest_on_each_side() -> None:
    values = np.column_stack([np.arange(101.0), -np.arange(101.0)])
    assert quantiles(values, 0.9) == pytest.approx(np.array([[5, -95], [95, -5]]))
    assert quantiles(values, 0.5) == pytest.approx(np.array([[25, -75], [75, -25]]))
    for level in (0.0, 1.0, -0.1, 1.5):
        with pytest.raises(UserError, match="level must lie between 0 and 1"):
            quantiles(values, level)


def test_an_upper_end_says_nothing_above_the_worst_loss() -> None:
    """Of more compute than the fitted runs' a loss is lower than the worst of theirs; of less it may be higher."""
    assert bounded(1.0, Interval(0.5, 1.3), 1.3) == "[0.5, 1.3]"
    assert bounded(1.0, Interval(0.5, 1.4), 1.3) == f"[0.5, {NO_UPPER}]"
    assert bounded(1.5, Interval(1.4, 1.7), 1.3, ".2f") == "[1.40, 1.70]"
    assert bounded(1.5, Interval(1.4, 3.1), 1.3, ".2f") == f"[1.40, {NO_UPPER}]"
    assert between(-np.inf, np.inf) == f"[{NO_LOWER}, {NO_UPPER}]"


def test_intervals_are_percentiles_of_the_refits() -> None:
    law = PowerLaw(replicates=40).fit(SIZES, LOSS)
    refits = law.replicates_
    assert refits.shape == (40, 2)
    assert law.centre_ == pytest.approx([np.log(SIZES).mean()])
    low, high = law.confidence_interval("exponent", 0.8)
    assert (low, high) == pytest.approx(np.quantile(refits[:, 1], [0.1, 0.9]))
    at = np.array([1e7, 1e10])
    log_loss = refits[:, :1] - refits[:, 1:] * (np.log(at) - law.centre_[0])
    found = law.predict_interval(at, 0.8)
    assert np.log(np.array(found)) == pytest.approx(np.quantile(log_loss, [0.1, 0.9], axis=0))
    drawn = log_loss + resample(law.fitted_, np.random.default_rng(1), 40, np.arange(2))
    assert np.log(np.array(law.predict_interval(at, 0.8, "run"))) == pytest.approx(
        np.quantile(drawn, [0.1, 0.9], axis=0)
    )


def test_refits_are_made_once_and_anew_after_a_fit() -> None:
    law = PowerLaw(replicates=5).fit(SIZES, LOSS)
    with patch.object(base, "replicate", wraps=base.replicate) as replicate:
        law.confidence_interval("exponent")
        law.confidence_interval("scale")
        assert replicate.call_count == 1
        first = law.replicates_
        law.fit(SIZES, LOSS[::-1].copy()[::-1] * 2)
        assert law.replicates_[:, 0] == pytest.approx(first[:, 0] + np.log(2), abs=1e-6)
        assert replicate.call_count == 2


def test_sizes_are_positive_for_scikit_learn() -> None:
    tags = PowerLaw().__sklearn_tags__()
    assert tags.input_tags.positive_only
    assert tags.target_tags.positive_only
    assert tags.estimator_type == "regressor"


def test_what_the_runs_do_not_tell_is_refused_or_left_out(planted: Any) -> None:
    loss = 0.9 + 60 * planted.params**-0.3  # tokens do not matter
    with pytest.raises(
        UnidentifiedError,
        match=r"JointLaw cannot tell irreducible .*; tokens_scale .*; run sizes beyond 1e\+09 params and",
    ):
        JointLaw().fit(planted.params, planted.tokens, loss)
    law = JointLaw(on_flat="nan", replicates=5).fit(planted.params, planted.tokens, loss)
    assert np.isnan(law.tokens_exponent_)
    assert np.isnan(law.confidence_interval("tokens_exponent")).all()
    assert law.params_exponent_ == pytest.approx(0.3, abs=1e-3)
    assert np.isfinite(JointLaw(on_flat="ignore").fit(planted.params, planted.tokens, loss).tokens_exponent_)
    with pytest.raises(UserError, match="name must be one of irreducible, params_scale"):
        law.confidence_interval("alpha")
    assert law.range_ == ((1e6, 1e9), (1e8, 1e11))
