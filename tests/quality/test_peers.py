"""Fed the same features, our measures read what torchmetrics, scipy and scikit-learn read.

``python tests/quality/test_peers.py`` prints the table of docs/precision.md: the largest difference of every case.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ldm_eval_quality.inception_score import inception_score
from scipy import linalg

from ldm_eval.stats.frechet import frechet_distance
from ldm_eval.stats.kernels import kernel_distance
from ldm_eval.stats.manifolds import manifold_overlap
from ldm_eval.stats.resampling import shuffled_splits

pytestmark = pytest.mark.filterwarnings("ignore")  # what the peers warn of on import is theirs

Case = tuple[int, int, int]
REGULAR: tuple[Case, ...] = ((2000, 2000, 256), (1500, 3000, 256), (900, 900, 384))
SINGULAR: tuple[Case, ...] = ((200, 200, 256), (200, 1000, 256))
EQUAL: tuple[Case, ...] = ((1000, 1000, 256), (1000, 1000, 1280), (2500, 2500, 256))
SCORED: tuple[Case, ...] = ((1000, 10, 10), (2000, 100, 10), (1000, 1000, 10), (500, 10, 1))
"""(n, m, d); of the score: (n, classes, splits)."""


def draw(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features after a rectifier, as those of a network are: float32, many zeros, never negative."""
    n, m, d = case
    rng = np.random.default_rng(case)
    mixing = rng.standard_normal((d, d)) / d**0.5 * np.arange(1, d + 1) ** -0.25
    x, y = rng.standard_normal((n, d)), 0.1 + 1.1 * rng.standard_normal((m, d))
    return tuple(np.maximum(one @ mixing, 0).astype(np.float32) for one in (x, y))  # type: ignore[return-value]


class Given(torch.nn.Module):
    """In the place of the network: what it is fed are features already."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.num_features = dimension

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def torchmetrics_fid(x: np.ndarray, y: np.ndarray) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=Given(x.shape[1]))
    metric.update(torch.from_numpy(x.astype(np.float64)), real=False)
    metric.update(torch.from_numpy(y.astype(np.float64)), real=True)
    return float(metric.compute())


def scipy_fid(x: np.ndarray, y: np.ndarray) -> float:
    wide = [one.astype(np.float64) for one in (x, y)]
    first, second = (np.cov(one.T) for one in wide)
    shift = wide[0].mean(axis=0) - wide[1].mean(axis=0)
    root = linalg.sqrtm(first @ second)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def torchmetrics_kid(x: np.ndarray, y: np.ndarray) -> float:
    from torchmetrics.image.kid import KernelInceptionDistance

    metric = KernelInceptionDistance(feature=Given(x.shape[1]), subsets=1, subset_size=len(x))
    metric.update(torch.from_numpy(x.astype(np.float64)), real=False)
    metric.update(torch.from_numpy(y.astype(np.float64)), real=True)
    return float(metric.compute()[0])


def torchmetrics_inception_score(logits: np.ndarray, splits: list[np.ndarray], seed: int) -> tuple[float, float]:
    """Mean, and standard deviation in its unbiased form, over the same splits: its shuffle is undone beforehand."""
    from torchmetrics.image.inception import InceptionScore

    metric = InceptionScore(feature=Given(logits.shape[1]), splits=len(splits))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        shuffle = torch.randperm(len(logits)).numpy()
        fed = np.empty(logits.shape)
        fed[shuffle] = logits[np.concatenate(splits)]
        metric.update(torch.from_numpy(fed))
        torch.manual_seed(seed)
        mean, spread = metric.compute()
    return float(mean), float(spread)


def scikit_overlap(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """Precision, recall, density and coverage from scikit-learn's neighbours in float64."""
    from sklearn.neighbors import NearestNeighbors

    real, fake = real.astype(np.float64), fake.astype(np.float64)
    radii = {
        name: NearestNeighbors(n_neighbors=k, algorithm="brute").fit(one).kneighbors()[0][:, -1]
        for name, one in (("real", real), ("fake", fake))
    }
    to_fake = NearestNeighbors(n_neighbors=len(fake), algorithm="brute").fit(fake)
    distances, order = to_fake.kneighbors(real)
    across = np.empty_like(distances)
    np.put_along_axis(across, order, distances, axis=1)
    inside = across <= radii["real"][:, None]
    return {
        "precision": float(inside.any(axis=0).mean()),
        "recall": float((across <= radii["fake"][None, :]).any(axis=1).mean()),
        "density": float(inside.sum(axis=0).mean() / k),
        "coverage": float(inside.any(axis=1).mean()),
    }


def of_distance(ours: Callable[..., float], peer: Callable[..., float]) -> Callable[[Case], float]:
    def difference(case: Case) -> float:
        x, y = draw(case)
        theirs = peer(x, y)
        return abs(ours(x, y) - theirs) / abs(theirs)

    return difference


def ours_frechet(x: np.ndarray, y: np.ndarray) -> float:
    return frechet_distance(x, y).value


def ours_kernel(x: np.ndarray, y: np.ndarray) -> float:
    return kernel_distance(x, y).value


def of_score(case: Case) -> float:
    n, classes, splits = case
    logits = (3 * np.random.default_rng(case).standard_normal((n, classes))).astype(np.float32)
    ours = inception_score(logits, np.random.default_rng(5), splits=splits)
    mean, spread = torchmetrics_inception_score(logits, shuffled_splits(n, splits, np.random.default_rng(5)), seed=3)
    found = abs(ours.value - mean) / mean
    if splits > 1:  # ours is the population form, as published
        found = max(found, abs(ours.spread - spread * ((splits - 1) / splits) ** 0.5) / spread)
    return found


def of_overlap(case: Case) -> float:
    real, fake = draw(case)
    ours, theirs = manifold_overlap(real, fake, k=5), scikit_overlap(real, fake, 5)
    return max(abs(getattr(ours, name).value - value) for name, value in theirs.items())


PEERS: dict[str, tuple[Callable[[Case], float], tuple[Case, ...], float]] = {
    "Fréchet, torchmetrics": (of_distance(ours_frechet, torchmetrics_fid), REGULAR, 1e-11),
    "Fréchet, scipy.linalg.sqrtm": (of_distance(ours_frechet, scipy_fid), REGULAR, 1e-11),
    "Fréchet, torchmetrics, n < d": (of_distance(ours_frechet, torchmetrics_fid), SINGULAR, 1e-6),
    "Fréchet, scipy.linalg.sqrtm, n < d": (of_distance(ours_frechet, scipy_fid), SINGULAR, 1e-6),
    "kernel distance, torchmetrics": (of_distance(ours_kernel, torchmetrics_kid), EQUAL, 1e-7),
    "Inception score and its spread, torchmetrics": (of_score, SCORED, 1e-12),
    "precision, recall, density, coverage, scikit-learn": (of_overlap, ((600, 600, 64), (800, 700, 256)), 1e-12),
}
"""Name -> largest difference of a case (relative; of shares absolute), cases, tolerance."""


@pytest.mark.parametrize("name", PEERS)
def test_agrees_with_its_peer(name: str) -> None:
    difference, cases, tolerance = PEERS[name]
    found = {case: difference(case) for case in cases}
    assert all(one <= tolerance for one in found.values()), found


def main() -> None:
    warnings.simplefilter("ignore")
    print("| measure, peer | sizes | largest difference | tolerance |\n|---|---|---|---|")
    for name, (difference, cases, tolerance) in PEERS.items():
        sizes = ", ".join(" x ".join(map(str, case)) for case in cases)
        print(f"| {name} | {sizes} | {max(difference(case) for case in cases):.1e} | {tolerance:g} |", flush=True)


if __name__ == "__main__":
    main()
