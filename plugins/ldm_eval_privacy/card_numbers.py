"""Shares as people read them: percentages with as many digits as their range justifies, bounds rounded outwards."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

__all__ = ["at_most", "percent", "span"]

_MOST = 4


def percent(value: float, low: float, high: float) -> str:
    """A share in percent, to two significant digits of half its range (one decimal where it has no range)."""
    return _written(value, _decimals(low, high), ROUND_HALF_EVEN)


def span(low: float, high: float) -> str:
    """``between 1.2 % and 3.4 %``, rounded outwards."""
    decimals = _decimals(low, high)
    return f"between {_written(low, decimals, ROUND_FLOOR)} and {_written(high, decimals, ROUND_CEILING)}"


def at_most(low: float, high: float) -> str:
    """The upper end of the range, rounded up."""
    return _written(high, _decimals(low, high), ROUND_CEILING)


def _decimals(low: float, high: float) -> int:
    half = 100 * (high - low) / 2
    return min(_MOST, max(0, 1 - math.floor(math.log10(half)))) if half > 0 else 1


def _written(share: float, decimals: int, rounding: str) -> str:
    exact = Decimal(f"{share:.12g}").scaleb(2)  # 0.1 + 0.02 is 0.12000000000000001; rounding up sees 12
    rounded = exact.quantize(Decimal(1).scaleb(-decimals), rounding=rounding)
    return f"{rounded:,f} %" if rounded else "0 %"
