"""Numbers as people read them: as many digits as the interval justifies, and bounds never rounded inwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from ldm_eval.api import Interval, Measurement

__all__ = ["ShownNumbers", "decimals_for", "fixed", "format_count", "format_number", "interval_text", "show"]

MOST_DECIMALS = 6
"""Beyond this many decimals a number is written as a power of ten."""


@dataclass(frozen=True, slots=True)
class ShownNumbers:
    """A measurement's value, bounds and floor as text, all to the same decimal place."""

    value: str
    low: str
    high: str
    floor: str


def show(measurement: Measurement, *, percent: bool = False) -> ShownNumbers:
    """Round a measurement: two significant digits of its half-width decide; low rounds down and high rounds up.

    Args:
        measurement: What to show.
        percent: Show shares as percentages.
    """
    interval = measurement.interval
    decimals = decimals_for(measurement.value, interval.low, interval.high)
    shift, sign = (2, " %") if percent else (0, "")
    decimals = max(0, decimals - shift)
    return ShownNumbers(
        value=fixed(measurement.value, decimals, shift=shift) + sign,
        low=fixed(interval.low, decimals, ROUND_FLOOR, shift) + sign,
        high=fixed(interval.high, decimals, ROUND_CEILING, shift) + sign,
        floor="" if measurement.floor is None else fixed(measurement.floor, decimals, shift=shift) + sign,
    )


def interval_text(interval: Interval, shown: ShownNumbers) -> str:
    """``0.1 to 0.3``, or ``at most 0.3`` / ``at least 0.1`` for a one-sided interval."""
    if interval.sided == "upper":
        return f"at most {shown.high}"
    if interval.sided == "lower":
        return f"at least {shown.low}"
    return f"{shown.low} to {shown.high}"


def decimals_for(value: float, low: float, high: float) -> int:
    """Decimal places that show two significant digits of the half-width (four of the value when there is no width)."""
    half_width = (high - low) / 2
    if half_width > 0:
        decimals = max(0, 1 - _exponent(half_width))
        return min(decimals, MOST_DECIMALS) if max(abs(value), abs(low), abs(high)) >= 1e-3 else decimals
    return max(0, 3 - _exponent(value)) if value else 0


def fixed(number: float, decimals: int, rounding: str = ROUND_HALF_EVEN, shift: int = 0) -> str:
    """``number`` times 10^shift to that many decimals, rounded once from its first twelve digits.

    With more than six decimals it is written as a power of ten.
    """
    exact = Decimal(f"{number:.12g}").scaleb(shift)  # 0.1 + 0.02 is 0.12000000000000001; rounding up sees 0.12
    if not exact:
        return "0"
    if decimals > MOST_DECIMALS:
        return _as_power(exact, decimals, rounding)
    rounded = exact.quantize(Decimal(1).scaleb(-decimals), rounding=rounding)
    return f"{rounded + 0:,f}"  # + 0 turns -0.00 into 0.00


def _as_power(exact: Decimal, decimals: int, rounding: str) -> str:
    """``exact`` to that many decimals, one digit before the point: 9.6e-7 to six decimals is 1e-6, not 10e-7."""
    exponent = exact.adjusted()
    while True:
        digits = max(0, min(decimals + exponent, 15))
        scaled = exact.scaleb(-exponent).quantize(Decimal(1).scaleb(-digits), rounding=rounding)
        if scaled.adjusted() <= 0:
            return f"{scaled}e{exponent}"
        exponent += 1


def format_number(number: float) -> str:
    """A number without an interval: up to four significant digits, whole numbers whole."""
    if isinstance(number, int) or (float(number).is_integer() and abs(number) < 10**15):
        return format_count(int(number))
    return fixed(number, max(0, 3 - _exponent(number)))


def format_count(number: int) -> str:
    """A count with thousands separated."""
    return f"{number:,d}"


def _exponent(number: float) -> int:
    return math.floor(math.log10(abs(number)))
