"""How often a set of images repeats itself: needs no training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.stats.duplicates import Duplicates

__all__ = ["Repetition", "repetition"]


@dataclass(frozen=True, slots=True, eq=False)
class Repetition:
    """Images of one part of a set beside those of the other, and the groups in the whole of it.

    Attributes:
        first: Images that are compared with.
        again: ``(Q,)`` bool: which of the others repeat one of them, mirrored or not. Given the first part, these are
            independent.
        most: Images among the others that repeat the picture that is there most often in the first part.
        most_before: How often that is.
        cliques: The whole set in groups of equal images, mirrored ones together.
    """

    first: int
    again: NDArray[np.bool_]
    most: int
    most_before: int
    cliques: Duplicates

    @property
    def repeated(self) -> int:
        """Images that belong to a group of two or more."""
        return int(self.cliques.multiplicity[self.cliques.multiplicity > 1].sum())


def repetition(
    pixels: NDArray[np.generic], grey_levels: float, rng: np.random.Generator, first: int | None = None
) -> Repetition:
    """Look for images of a set that are (nearly) the same.

    A share of images that have a twin is no binomial share: twins come in pairs. So the set is divided at random: the
    first part is given, and how many of the others repeat it is a binomial count with an exact interval. The picture
    that is there most often is chosen in the first part and counted among the others, so it does not flatter itself.

    Args:
        pixels: ``(N, C, H, W)``, N >= 2.
        grey_levels: Images closer than this (root mean square) are one picture.
        rng: Divides the set.
        first: Size of the first part, from 1 to N - 1; half of the set by default.
    """
    import numpy as np

    from ldm_eval.stats.duplicates import find_duplicates
    from ldm_eval.stats.neighbours import nearest

    order = rng.permutation(len(pixels))
    half = first if first is not None else len(pixels) // 2
    known, others = pixels[order[:half]], pixels[order[half:]]
    index = np.concatenate([known, known[..., ::-1]]).reshape(2 * half, -1)
    found = nearest(others.reshape(len(others), -1), index, 1)
    again = found.distances[:, 0] <= grey_levels * np.sqrt(index.shape[1])
    pictures = find_duplicates(known, grey_levels, mirrored=True)
    most = int(pictures.multiplicity.argmax())
    of_most = pictures.group[found.indices[:, 0] % half] == most
    return Repetition(
        half,
        again,
        int((again & of_most).sum()),
        int(pictures.multiplicity[most]),
        find_duplicates(pixels, grey_levels, mirrored=True),
    )
