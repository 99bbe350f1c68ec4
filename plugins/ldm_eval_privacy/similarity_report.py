"""What the feature rule says beside its rates: conformal p-values, and the curves of similarity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_eval.api import Figure, Series, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["conformal_table", "similarity_figure"]


def conformal_table(samples: NDArray[np.float64], holdout: NDArray[np.float64]) -> Table:
    """How many samples are nearer to the training set than fresh images are, each tested and all allowed for."""
    import math

    from ldm_eval.stats.conformal import conformal_p_values
    from ldm_eval.stats.multiplicity import benjamini_hochberg

    n, m = len(samples), len(holdout)
    p_values = conformal_p_values(samples, holdout)
    adjusted = benjamini_hochberg(p_values)
    floor = 1 / (m + 1)
    rows: list[tuple[str, float | int]] = [
        ("holdout images", m),
        ("smallest p-value that so many can give", round(floor, 6)),
        ("samples at that smallest p-value", int((p_values <= floor).sum())),
        ("fewest such samples that are called copies at a false discovery rate of 5 %", math.ceil(n * floor / 0.05)),
        ("samples called copies at a false discovery rate of 5 %", int((adjusted <= 0.05).sum())),
        ("samples called copies at a false discovery rate of 10 %", int((adjusted <= 0.10).sum())),
    ]
    return Table(
        "conformal",
        "Diagnostic: conformal p-values of the samples (Benjamini-Hochberg)",
        ("what", "value"),
        tuple(rows),
        "p = (1 + holdout images at least as near to training) / (holdout images + 1). Not for a gate: an honest model "
        "whose samples lie nearer to training than real images do for another reason, blur for one, is called out too.",
    )


def similarity_figure(samples: NDArray[np.float64], holdout: NDArray[np.float64], cut: float) -> Figure:
    """Cumulative shares of samples and of holdout images by the cosine to the most alike training image."""
    import numpy as np

    share = np.linspace(0, 1, 101)

    def line(name: str, values: NDArray[np.float64]) -> Series:
        return Series(name, tuple(np.quantile(values, share).round(6).tolist()), tuple(share.round(2).tolist()))

    above = f"{(samples > cut).mean():.1%} of the samples"
    fresh = f"{(holdout > cut).mean():.1%} of the holdout images"
    return Figure(
        "similarity",
        "lines",
        "How alike the most alike training image is",
        "Cumulative share of samples and of holdout images by the cosine to the most alike training image. A model "
        f"that copies lowers its curve at the right: {above} and {fresh} lie above {cut:.3g}.",
        "cosine to the most alike training image",
        "share of images",
        (
            line("samples", samples),
            line("holdout", holdout),
            Series(f"threshold: {cut:.3g}", (cut, cut), (0.0, 1.0)),
        ),
    )
