"""pixels/clipped_share: do generated images hit black and white more often than real ones?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, final

from ldm_eval.api import (
    Alarm,
    Evidence,
    Finding,
    ImageSet,
    Interval,
    Invalid,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.testing.evidence import PhantomEvidence

LEVEL = 0.95
ESTIMATOR = "Agresti-Caffo, for means of shares"


@final
class ClippedShare:
    """Share of channel values at 0 or 255, in generated images and against real ones."""

    id: ClassVar[str] = "pixels/clipped_share"
    title: ClassVar[str] = "Clipped pixels"
    question: ClassVar[str] = "Do generated images hit black and white more often than real ones?"
    needs: ClassVar[Needs] = Needs(samples=100, roles=("reference",))
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="clipped_share_excess",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(
            "clipped_pixels.clipped_share:phantom",
            "3 % of the real values are clipped and 6 % of the generated ones",
            {"generated": 0.06, "real": 0.03},
            truth=0.03,
        ),
        leaves_alone=PhantomCase(
            "clipped_pixels.clipped_share:phantom",
            "3 % of the values are clipped in both",
            {"generated": 0.03, "real": 0.03},
            truth=0.0,
        ),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the share in the samples, and its excess over the reference."""
        generated = clipped_shares(evidence.images("samples"))
        real = clipped_shares(evidence.images("reference"))
        own = mean_interval(generated)
        excess = difference_interval(generated, real)
        return [
            evidence.measurement(
                "clipped_share",
                float(generated.mean()),
                own,
                n=len(generated),
                unit="share of channel values",
                direction="none",
            ),
            evidence.measurement(
                "clipped_share_excess",
                float(generated.mean() - real.mean()),
                excess,
                n=len(generated),
                unit="share of channel values",
                direction="target",
                against="reference",
                note="0 is the contrast of real images; above 0 the samples are harsher, below 0 flatter.",
            ),
        ]


def clipped_shares(images: ImageSet, block: int = 1024) -> NDArray[np.float64]:
    """``(N,)`` share of each image's channel values that are 0 or 255, read in blocks of images."""
    import numpy as np

    shares = np.empty(len(images))
    for start in range(0, len(images), block):
        pixels = np.asarray(images.pixels[start : start + block])
        shares[start : start + block] = ((pixels == 0) | (pixels == 255)).mean(axis=(1, 2, 3))
    return shares


def mean_interval(shares: NDArray[np.float64]) -> Interval:
    """Interval for the mean of i.i.d. ``shares (N,)``, each between 0 and 1."""
    mean, variance = _adjusted(shares)
    half = _quantile() * math.sqrt(variance)
    return Interval(max(0.0, mean - half), min(1.0, mean + half), LEVEL, ESTIMATOR)


def difference_interval(first: NDArray[np.float64], second: NDArray[np.float64]) -> Interval:
    """Interval for the difference of the means of two independent sets of shares."""
    (mean_1, variance_1), (mean_2, variance_2) = _adjusted(first), _adjusted(second)
    difference, half = mean_1 - mean_2, _quantile() * math.sqrt(variance_1 + variance_2)
    return Interval(max(-1.0, difference - half), min(1.0, difference + half), LEVEL, ESTIMATOR)


def _adjusted(shares: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and its variance, after one image of share 0 and one of share 1 were added: never a variance of zero."""
    import numpy as np

    more = np.append(shares, [0.0, 1.0])
    return float(more.mean()), float(more.var() / len(more))


def _quantile() -> float:
    from scipy.special import ndtri

    return float(ndtri(0.5 + LEVEL / 2))


def phantom(seed: int, *, generated: float, real: float, n: int = 400) -> PhantomEvidence:
    """Noise in which each channel value is clipped with a known probability; the truth is ``generated - real``.

    Images differ: an image's own probability is drawn from a Beta distribution of that mean, so that an interval that
    counts pixels instead of images would be far too narrow, and would be found out.
    """
    import numpy as np

    from ldm_eval.testing.evidence import PhantomEvidence, image_set

    rng = np.random.default_rng(seed)

    def images(share: float) -> NDArray[np.uint8]:
        pixels = rng.integers(1, 255, (n, 3, 8, 8), dtype=np.uint8)
        chance = rng.beta(20 * share, 20 * (1 - share), (n, 1, 1, 1))
        clipped = rng.random(pixels.shape) < chance
        pixels[clipped] = rng.choice(np.array([0, 255], dtype=np.uint8), int(clipped.sum()))
        return pixels

    return PhantomEvidence(
        ClippedShare.id,
        seed,
        images={"samples": image_set(images(generated), "generated"), "reference": image_set(images(real), "real")},
    )
