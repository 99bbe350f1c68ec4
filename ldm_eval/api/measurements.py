"""What a check reports: measurements with intervals, tables, figures as data, and the ways a check can end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ldm_eval.errors import EvidenceError

Direction = Literal["lower", "higher", "target", "none"]
"""Which way is better; ``target``: near a declared value; ``none``: no better direction."""

Sided = Literal["two", "lower", "upper"]
"""``two``: both bounds at ``level``; ``upper``: only ``high`` is a bound; ``lower``: only ``low`` is."""

SignatureValue = str | int | float | bool | None
Signature = Mapping[str, SignatureValue]
"""Everything that must be equal before two numbers may be compared (extractor, resize, n, sampler, ...)."""

FigureKind = Literal["intervals", "lines", "bars", "histogram"]
Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval for a measurement.

    Attributes:
        low: Lower bound, finite.
        high: Upper bound, finite, >= low.
        level: Confidence level, e.g. 0.95.
        sided: Which bounds count.
        estimator: How it was computed, e.g. ``"Clopper-Pearson"``, ``"influence function"``.
    """

    low: float
    high: float
    level: float
    estimator: str
    sided: Sided = "two"

    def __post_init__(self) -> None:
        """Refuse bounds that are not numbers, the wrong way round, or at no level.

        Raises:
            EvidenceError: for any of these.
        """
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise EvidenceError(f"An interval must have finite bounds; found low={self.low}, high={self.high}.")
        if self.low > self.high:
            raise EvidenceError(
                f"An interval's low bound must not exceed its high bound; found {self.low} > {self.high}."
            )
        if not 0 < self.level < 1:
            raise EvidenceError(f"An interval's level lies between 0 and 1; found {self.level}.")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number with all that is needed to trust or refuse it. Make it with ``Evidence.measurement``.

    Attributes:
        check: Id of the check that measured it.
        name: What was measured, unique within (check, group).
        value: Point estimate, finite.
        interval: Its confidence interval.
        n: Number of images (or pairs) behind it.
        unit: e.g. ``"share"``, ``"squared feature distance"``, ``"bits/dim"``.
        direction: Which way is better.
        group: The group it is about, or None for all images.
        signature: The protocol it was measured under.
        floor: The same measure between two sets of real images at the same n, where there is one.
        note: One sentence a reader needs beside the number, or an empty string.
    """

    check: str
    name: str
    value: float
    interval: Interval
    n: int
    unit: str
    direction: Direction
    signature: Signature
    group: str | None = None
    floor: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse a value that is not a number, or no images behind it.

        Raises:
            EvidenceError: for any of these.
        """
        if not math.isfinite(self.value):
            raise EvidenceError(
                f"'{self.name}' of {self.check} is {self.value}; a measurement must be a finite number."
            )
        if self.floor is not None and not math.isfinite(self.floor):
            raise EvidenceError(f"The floor of '{self.name}' of {self.check} is {self.floor}; it must be finite.")
        if self.n < 1:
            raise EvidenceError(f"'{self.name}' of {self.check} rests on n={self.n} images; it needs at least one.")


@dataclass(frozen=True, slots=True)
class Table:
    """A small table for the card: ``rows`` of cells under ``columns``. ``name`` is unique within the check."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse ragged rows and cells that are not numbers.

        Raises:
            EvidenceError: for any of these.
        """
        for row in self.rows:
            if len(row) != len(self.columns):
                raise EvidenceError(
                    f"Table '{self.name}' has {len(self.columns)} columns and a row of {len(row)} cells."
                )
            if any(isinstance(cell, float) and not math.isfinite(cell) for cell in row):
                raise EvidenceError(f"Table '{self.name}' holds a number that is not finite; write None for absence.")


@dataclass(frozen=True, slots=True)
class Series:
    """One named series of points; ``low``/``high`` are error bars; ``x`` may hold names for bars and intervals."""

    name: str
    x: tuple[float, ...] | tuple[str, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as data; ``report.figures`` draws it, so a card can be drawn again from results.json alone.

    Attributes:
        name: Unique within the check; becomes the file name.
        kind: How to draw it.
        title: Above it.
        alt: One or two sentences for those who cannot see it: what it shows and what to notice.
        x_label, y_label: Axis labels with units.
        series: What to draw.
        log_x, log_y: Logarithmic axes.
        lines: Horizontal reference lines, name -> y value (a floor, a target).
    """

    name: str
    kind: FigureKind
    title: str
    alt: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_y: bool = False
    lines: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """The check ran and reported."""

    measurements: tuple[Measurement, ...]
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """Something the check needs is not there. Never a zero, never a pass."""

    reason: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """The check ran and found that its own premise does not hold, so its numbers would mislead."""

    reason: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """The check raised, hung, exited or reported something impossible. ``error`` is one line for people."""

    error: str


CheckOutcome = Measured | NotApplicable | Invalid | Crashed
Finding = Measurement | Table | Figure
