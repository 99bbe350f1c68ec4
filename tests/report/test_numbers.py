from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldm_eval.api import Interval, Measurement
from ldm_eval.report.numbers import fixed, format_number, interval_text, show


def measurement(value: float, low: float, high: float, floor: float | None = None, sided: str = "two") -> Measurement:
    interval = Interval(low, high, 0.95, "exact", sided)  # type: ignore[arg-type]
    return Measurement("a/b", "m", value, interval, 10, "share", "lower", {}, floor=floor)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((43.2104, 41.3071, 45.1137), ("43.2", "41.3", "45.2")),
        ((0.003, 0.00061893, 0.0087424), ("0.0030", "0.0006", "0.0088")),
        ((0.0, 0.0, 0.00369), ("0", "0", "0.0037")),
        ((12345.6, 11000.0, 13500.0), ("12,346", "11,000", "13,500")),
        ((0.1, 0.08, 0.1 + 0.02), ("0.100", "0.080", "0.120")),  # 0.12000000000000001 must not become 0.121
        ((-0.5, -0.75, -0.25), ("-0.50", "-0.75", "-0.25")),
        ((0.25, 0.25, 0.25), ("0.2500", "0.2500", "0.2500")),
        ((3.2e-9, 1.1e-9, 5.3e-9), ("3.2e-9", "1.1e-9", "5.3e-9")),
        ((-9.525e-7, -5.09e-6, 3.18e-6), ("-1.0e-6", "-5.1e-6", "3.2e-6")),
        ((0.5, 0.5 - 1e-9, 0.5 + 1e-9), ("0.500000", "0.499999", "0.500001")),
    ],
)
def test_value_and_bounds_share_their_decimals(numbers: tuple[float, float, float], expected: tuple[str, ...]) -> None:
    shown = show(measurement(*numbers))
    assert (shown.value, shown.low, shown.high) == expected


def test_percentages_are_the_same_digits_moved() -> None:
    shown = show(measurement(0.003, 0.00061893, 0.0087424, floor=0.0004), percent=True)
    assert (shown.value, shown.low, shown.high, shown.floor) == ("0.30 %", "0.06 %", "0.88 %", "0.04 %")


def test_a_one_sided_interval_shows_only_its_bound() -> None:
    upper, lower = measurement(0.1, 0.0, 0.3, sided="upper"), measurement(0.1, 0.05, 0.3, sided="lower")
    assert interval_text(upper.interval, show(upper)) == "at most 0.30"
    assert interval_text(lower.interval, show(lower)) == "at least 0.05"


@given(st.floats(-1e9, 1e9), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_shown_interval_is_never_narrower_than_the_measured_one(value: float, below: float, above: float) -> None:
    low, high = value - below, value + above
    shown = show(measurement(value, low, high))
    slack = 1e-11 * max(abs(low), abs(high))
    assert float(shown.low.replace(",", "")) <= low + slack
    assert float(shown.high.replace(",", "")) >= high - slack


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_any_finite_number_can_be_written(number: float) -> None:
    assert math.isclose(float(format_number(number).replace(",", "")), number, rel_tol=1e-3, abs_tol=1e-300)


def test_minus_zero_is_zero() -> None:
    assert fixed(-0.0, 3) == "0"
    assert fixed(-0.0001, 2) == "0.00"
