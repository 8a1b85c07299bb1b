"""What the laws say in the units of their users, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from chemscale_bench.errors import UserError
from chemscale_bench.scaling import BrokenPowerLaw, Forecast, JointLaw, PowerLaw, PowerLawWithFloor, UnidentifiedError

X = np.geomspace(1e4, 1e9, 16)


def test_parameters_in_the_users_units() -> None:
    assert PowerLaw().fit(X, 7 * X**-0.2).parameters_ == pytest.approx({"scale": 7, "exponent": 0.2})
    floor = PowerLawWithFloor().fit(X, 0.5 + 20 * X**-0.25)
    assert floor.parameters_ == pytest.approx({"irreducible": 0.5, "scale": 20, "exponent": 0.25}, rel=1e-4)


@pytest.mark.parametrize("floor", [False, True])
def test_a_broken_law_has_its_places_and_changes(floor: bool) -> None:
    loss = 0.01 * floor + 10 * X**-0.1 * (1 + (X / 1e6) ** 2) ** (-0.2 * 0.5)
    law = BrokenPowerLaw(floor=floor, on_flat="ignore").fit(X, loss)
    expected = {"irreducible": 0.01} if floor else {}
    expected |= {"scale": 10, "exponent": 0.1, "change_1": 0.2, "break_1": 1e6}
    assert law.parameters_ == pytest.approx(expected, rel=0.05)
    assert list(law.parameters_) == list(expected)


def test_two_breaks_are_told_apart() -> None:
    x = np.geomspace(1e4, 1e10, 40)
    loss = 10 * x**-0.1
    for place, change in ((1e6, 0.3), (1e8, -0.25)):
        loss = loss * (1 + (x / place) ** 4) ** (-change / 4)
    law = BrokenPowerLaw(2, floor=False, on_flat="ignore").fit(x, loss)
    expected = {"scale": 10, "exponent": 0.1, "change_1": 0.3, "break_1": 1e6, "change_2": -0.25, "break_2": 1e8}
    assert law.parameters_ == pytest.approx(expected, rel=0.02)
    assert BrokenPowerLaw().floor
    with pytest.raises(UserError, match="breaks must be 1 or 2, got 3"):
        BrokenPowerLaw(3).fit(x, loss)  # type: ignore[arg-type]


@pytest.mark.parametrize(("law", "fewest"), [(PowerLaw(), 3), (PowerLawWithFloor(), 4), (BrokenPowerLaw(), 6)])
def test_how_many_sizes_a_law_takes(law: PowerLaw, fewest: int) -> None:
    x = np.geomspace(1e6, 1e9, fewest - 1)
    with pytest.raises(UnidentifiedError, match=f"needs at least {fewest} different x, got {fewest - 1}"):
        law.fit(x, 20 * x**-0.2)
    assert PowerLaw().fit([1e6, 1e7, 1e8], [3.0, 2.0, 1.5]).exponent_ > 0


def test_the_joint_law_takes_three_sizes_and_budgets() -> None:
    params, tokens = (grid.ravel() for grid in np.meshgrid([1e6, 1e7, 1e8], [1e8, 1e9, 1e10]))
    loss = 0.9 + 60 * params**-0.3 + 900 * tokens**-0.35
    law = JointLaw().fit(params, tokens, loss)
    expected = {
        "irreducible": 0.9, "params_scale": 60, "params_exponent": 0.3, "tokens_scale": 900, "tokens_exponent": 0.35,
    }  # fmt: skip
    assert law.parameters_ == pytest.approx(expected, rel=1e-3)
    assert law.predict([1e9], [1e11]) == pytest.approx([0.9 + 60 * 1e9**-0.3 + 900 * 1e11**-0.35])
    with pytest.raises(UnidentifiedError, match="needs at least 3 different params, got 2"):
        JointLaw().fit(params[params > 1e6], tokens[params > 1e6], loss[params > 1e6])
    with pytest.raises(UserError, match="params must be a plain count of at least 1000"):
        JointLaw().fit(params / 1e6, tokens, loss)


def test_what_is_flat_is_named_by_its_raw_parameter() -> None:
    assert [PowerLawWithFloor()._raw_name(name) for name in ("irreducible", "scale")] == ["log_floor", "exponent_x"]
    assert PowerLaw()._raw_name("scale") == "exponent_x"
    assert [BrokenPowerLaw()._raw_name(name) for name in ("irreducible", "break_1", "change_2", "exponent")] == [
        "log_floor", "change_1", "change_2", "exponent",
    ]  # fmt: skip
    assert [JointLaw()._raw_name(name) for name in ("irreducible", "params_scale", "tokens_exponent")] == [
        "log_floor", "exponent_params", "exponent_tokens",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "law", [PowerLaw(replicates=50, on_flat="ignore"), JointLaw(replicates=50), Forecast(replicates=50)]
)
def test_a_number_gives_a_number(law: PowerLaw | JointLaw | Forecast) -> None:
    params, tokens = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 4), np.geomspace(1e8, 1e11, 4)))
    noisy = (0.9 + 60 * params**-0.3 + 900 * tokens**-0.35) * np.exp(np.random.default_rng(0).normal(size=16) / 100)
    sizes, at = ([params], [1e10]) if isinstance(law, PowerLaw) else ([params, tokens], [1e10, 1e12])
    law.fit(*sizes, noisy)
    for ask in (
        law.predict,
        lambda *x: law.predict_interval(*x, of="run").low,
        lambda *x: law.predict_interval(*x).high,
    ):
        one = ask(*at)
        assert type(one) is float
        assert ask(*([size] for size in at)).tolist() == [one]
