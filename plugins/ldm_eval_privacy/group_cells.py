"""Counts by group of which none speaks of a few people only: small ones are put together, or only bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ldm_eval.api import Interval

__all__ = ["SMALL_CELL", "Beside", "Cell", "beside_the_rest", "put_together"]

SMALL_CELL = 5
"""Counts below this, other than none, are withheld: they speak of few people."""

_SMALL = range(1, SMALL_CELL)


@dataclass(frozen=True, slots=True)
class Cell:
    """One group of an attribute: different training images, those reproduced, samples of them."""

    attribute: str
    name: str
    images: int
    reproduced: int
    samples: int

    @property
    def label(self) -> str:
        """For cards, e.g. ``glasses: yes``."""
        return f"{self.attribute}: {self.name}"

    @property
    def small(self) -> bool:
        """True when one of its counts is."""
        return self.images < SMALL_CELL or self.reproduced in _SMALL


@dataclass(frozen=True, slots=True)
class Beside:
    """A group beside the rest of its attribute.

    Attributes:
        cell: The group.
        rest_images: Different training images of the others.
        possible: ``(reproduced, reproduced of the rest)``: what it is; where one of both is small, all that it could
            be if only their sum is known. Whatever is computed of all of these gives nothing away but the sum.
        withheld: True where one of both counts is small.
    """

    cell: Cell
    rest_images: int
    possible: tuple[tuple[int, int], ...]
    withheld: bool

    @property
    def gap(self) -> float:
        """Share of the group less that of the rest; the least possible one where counts are withheld."""
        return min(k / self.cell.images - rest / self.rest_images for k, rest in self.possible)

    @property
    def p_value(self) -> float:
        """Fisher's; the largest possible one where counts are withheld."""
        from ldm_eval.stats.contingency import fisher_exact

        return max(fisher_exact(k, self.cell.images, rest, self.rest_images) for k, rest in self.possible)

    def interval(self, level: float) -> Interval:
        """Newcombe's of the gap; all possible ones together where counts are withheld."""
        from ldm_eval.stats.proportions import newcombe

        found = [newcombe(k, self.cell.images, rest, self.rest_images, level) for k, rest in self.possible]
        low, high = min(one.low for one in found), max(one.high for one in found)
        return Interval(low, high, level, found[0].estimator)


def put_together(cells: Sequence[Cell]) -> list[Cell]:
    """The groups of one attribute, small ones joined (``a or b``) until none is small or only two are left.

    A group that is withheld alone could be worked out from the others and their sum.
    """

    def size(cell: Cell) -> tuple[bool, int, int, str]:
        return not cell.small, cell.reproduced, cell.images, cell.name

    left = list(cells)
    while len(left) > 2 and any(cell.small for cell in left):
        one, other = sorted(left, key=size)[:2]
        at = min(left.index(one), left.index(other))
        names = " or ".join(sorted((one.name, other.name)))
        images, reproduced = one.images + other.images, one.reproduced + other.reproduced
        joined = Cell(one.attribute, names, images, reproduced, one.samples + other.samples)
        left = [cell for cell in left if cell not in (one, other)]
        left.insert(at, joined)
    return left


def beside_the_rest(cells: Sequence[Cell]) -> list[Beside]:
    """Every group beside the others, where both have ``SMALL_CELL`` images or more."""
    images, shown = sum(cell.images for cell in cells), sum(cell.reproduced for cell in cells)
    out = []
    for cell in cells:
        rest_images, rest = images - cell.images, shown - cell.reproduced
        if min(cell.images, rest_images) < SMALL_CELL:
            continue
        possible = [(cell.reproduced, rest)]
        if cell.reproduced in _SMALL:
            possible = [(k, shown - k) for k in _SMALL]
        elif rest in _SMALL:
            possible = [(shown - k, k) for k in _SMALL]
        clipped = ((min(max(k, 0), cell.images), min(max(r, 0), rest_images)) for k, r in possible)
        out.append(Beside(cell, rest_images, tuple(dict.fromkeys(clipped)), len(possible) > 1))
    return out
