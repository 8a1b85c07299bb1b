"""The laws are regressors of scikit-learn: its own checks pass, and its tools take them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from chemscale_bench.scaling import BrokenPowerLaw, JointLaw, PowerLaw, PowerLawWithFloor
from chemscale_bench.scaling.base import ScalingLaw


class OfAnyNumbers:
    """Beside a law, lets it take what the checks draw: features and targets of any sign, in several columns.

    A law takes one column of positive sizes, which the checks do not know of. The exponential of the first column is
    one; all else that they ask for is the law's own.
    """

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        X, y = validate_data(self, X, y, y_numeric=True)
        columns = self.n_features_in_  # type: ignore[has-type]
        super().fit(np.exp(5 * X[:, 0]), np.exp(y / 100), sample_weight)  # type: ignore[misc]
        self.n_features_in_ = columns
        return self

    def predict(self, X: ArrayLike) -> Any:
        if not hasattr(self, "fitted_"):
            return super().predict(X)  # type: ignore[misc]
        return 100 * np.log(super().predict(np.exp(5 * validate_data(self, X, reset=False)[:, 0])))  # type: ignore[misc]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.positive_only = tags.target_tags.positive_only = False
        tags.regressor_tags.poor_score = True  # of one column in ten
        return tags


class AnyPowerLaw(OfAnyNumbers, PowerLaw): ...


class AnyPowerLawWithFloor(OfAnyNumbers, PowerLawWithFloor): ...


class AnyBrokenPowerLaw(OfAnyNumbers, BrokenPowerLaw): ...


LAWS = [law(on_flat="ignore") for law in (AnyPowerLaw, AnyPowerLawWithFloor, AnyBrokenPowerLaw)]
# No law is told by one point; weights of 0 are refused, as losses are that were not measured.
REFUSED = {
    "check_fit2d_1sample": "the error counts sizes, not samples: the law needs 3 different x, got 1",
    "check_all_zero_sample_weights_error": "refused, by a message that says positive, not zero",
    "check_sample_weight_equivalence_on_dense_data": "a weight of 0 is refused: leave the run out",
}


FEW = dict.fromkeys(
    ("check_estimators_dtypes", "check_sample_weights_pandas_series", "check_sample_weights_not_an_array"),
    "its sizes are integers, 2 or 3 different ones, fewer than this law is told by",
)
FEWER_THAN_SIX = dict.fromkeys(
    ("check_sample_weights_shape", "check_sample_weights_not_overwritten"), "it has 4 different sizes, a break needs 6"
)


def refused(law: ScalingLaw) -> dict[str, str]:
    """The checks that a law fails, and why it is right to."""
    few = FEW if law.fewest_sizes > 3 else {}
    return REFUSED | few | (FEWER_THAN_SIX if law.fewest_sizes > 4 else {})


@parametrize_with_checks(LAWS, expected_failed_checks=refused)
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


SIZES = np.geomspace(1e5, 1e9, 12)
LOSS = 0.5 + 20 * SIZES**-0.25
PARAMS, TOKENS = np.repeat(np.geomspace(1e7, 1e9, 4), 4), np.tile(np.geomspace(1e9, 1e11, 4), 4)
BOTH = 1.8 + 480 * PARAMS**-0.35 + 2100 * TOKENS**-0.37


@pytest.mark.parametrize("law", [PowerLaw(), PowerLawWithFloor(), BrokenPowerLaw(on_flat="ignore")])
def test_one_column_is_a_list(law: Any) -> None:
    flat = law.fit(SIZES, LOSS).predict(SIZES)
    assert law.n_features_in_ == 1
    assert np.array_equal(law.fit(SIZES[:, None], LOSS).predict(SIZES[:, None]), flat)
    assert np.array_equal(law.fit(pd.DataFrame({"params": SIZES}), LOSS).predict(pd.DataFrame({"x": SIZES})), flat)
    assert law.score(SIZES[:, None], LOSS) > 0.9


def test_the_joint_law_takes_two_columns() -> None:
    law = JointLaw().fit(PARAMS, TOKENS, BOTH, sample_weight=np.ones(16))
    both = np.column_stack([PARAMS, TOKENS])
    other = JointLaw().fit(both, BOTH, sample_weight=np.ones(16))
    assert other.parameters_ == law.parameters_
    assert other.n_features_in_ == 2
    assert np.array_equal(other.predict(both), law.predict(PARAMS, TOKENS))
    assert law.score(both, BOTH) == pytest.approx(1)


def test_its_tools_take_them() -> None:
    scores = cross_val_score(PowerLawWithFloor(), SIZES[:, None], LOSS, cv=3)
    assert (scores > 0.9).all()
    assert (cross_val_score(JointLaw(), np.column_stack([PARAMS, TOKENS]), BOTH, cv=4) > 0.9).all()
    search = GridSearchCV(BrokenPowerLaw(on_flat="ignore"), {"floor": [True, False]}, cv=3, error_score="raise")
    assert search.fit(SIZES[:, None], LOSS).best_params_["floor"] in (True, False)


@pytest.mark.parametrize(
    ("law", "sizes", "message"),
    [
        (PowerLaw(), np.ones((12, 2)), r"sizes must be a matrix with the columns x, got shape \(12, 2\)"),
        (JointLaw(), np.ones((12, 3)), r"the columns params, tokens, got shape \(12, 3\)"),
        (PowerLaw(), csr_array(SIZES[:, None]), "x must be dense, got sparse data"),
        (PowerLaw(), SIZES + 1j, "x must hold real numbers, got complex ones"),
        (PowerLaw(), [], "x must be a non-empty list of numbers"),
    ],
)
def test_what_is_no_size_is_a_value_error(law: ScalingLaw, sizes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        law.fit(sizes, LOSS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("law", [PowerLaw(), JointLaw()])
def test_an_unfitted_law_says_so(law: Any) -> None:
    with pytest.raises(NotFittedError, match="must be fitted first"):
        law.predict(np.ones((3, len(law.features))))
