import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr

from ldm_eval.errors import DataError
from ldm_eval.stats import self_neighbours
from ldm_eval.stats.manifolds import ManifoldOverlap, manifold_overlap, neighbour_radii

NAMES = ("precision", "recall", "density", "coverage")


def values(overlap: ManifoldOverlap) -> list[float]:
    return [getattr(overlap, name).value for name in NAMES]


def by_definition(real: np.ndarray, generated: np.ndarray, k: int) -> list[float]:
    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(-1))

    def radii(a: np.ndarray) -> np.ndarray:
        own = distances(a, a)
        np.fill_diagonal(own, np.inf)
        return np.sort(own, axis=1)[:, k - 1]

    across = distances(generated, real)
    in_real = across <= radii(real)[None, :]
    in_generated = across <= radii(generated)[:, None]
    return [
        float(in_real.any(axis=1).mean()),
        float(in_generated.any(axis=0).mean()),
        float(in_real.sum() / (k * len(generated))),
        float(in_real.any(axis=0).mean()),
    ]


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 60), st.integers(8, 60), st.integers(1, 20), st.integers(1, 5), st.integers(0, 999))
def test_equals_the_definition(n: int, m: int, d: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    real, generated = rng.standard_normal((m, d)), 0.3 + rng.standard_normal((n, d))
    assert values(manifold_overlap(real, generated, k=k)) == pytest.approx(by_definition(real, generated, k))


def test_chunks_do_not_change_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.standard_normal((90, 5)), 0.5 + rng.standard_normal((70, 5))
    whole = manifold_overlap(real, generated, k=3)
    monkeypatch.setattr(self_neighbours, "_TILE", 14)
    assert manifold_overlap(real, generated, k=3) == whole


def test_ties_on_the_radius_are_decided_exactly() -> None:
    # points on an integer grid, far from the origin: many distances equal a radius, and float32 products are wrong
    rng = np.random.default_rng(0)
    real = rng.integers(0, 4, (60, 3)).astype(np.float64) + 5000.0
    generated = rng.integers(0, 4, (50, 3)).astype(np.float64) + 5000.0
    assert values(manifold_overlap(real, generated, k=3)) == pytest.approx(by_definition(real, generated, 3))


def test_a_point_is_not_its_own_neighbour_but_its_duplicate_is() -> None:
    line = np.array([[0.0], [1.0], [3.0], [3.0]])
    assert neighbour_radii(line, 1).tolist() == [1.0, 1.0, 0.0, 0.0]


def test_copies_of_the_reference_lie_inside_it() -> None:
    real = np.random.default_rng(0).standard_normal((100, 6))
    found = manifold_overlap(real, real.copy(), k=5)
    assert found.precision.value == found.recall.value == found.coverage.value == 1.0


def test_far_sets_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    found = manifold_overlap(rng.standard_normal((80, 4)), 50.0 + rng.standard_normal((60, 4)), k=5)
    assert values(found) == [0.0, 0.0, 0.0, 0.0]
    assert found.precision.interval.high == pytest.approx(1 - 0.025 ** (1 / 60))
    assert found.recall.interval.high == pytest.approx(1 - 0.025 ** (1 / 80))


def test_exchanging_the_sets_exchanges_precision_and_recall() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((80, 4)), 0.7 * rng.standard_normal((60, 4))
    there, back = manifold_overlap(a, b, k=3), manifold_overlap(b, a, k=3)
    assert (there.precision.value, there.recall.value) == (back.recall.value, back.precision.value)
    assert there.precision.interval == back.recall.interval


@pytest.mark.parametrize(("d", "n", "shift", "scale"), [(8, 100, 0.5, 1.0), (8, 100, 0.0, 0.6), (32, 100, 0.2, 0.9)])
def test_intervals_cover_the_expected_value_at_this_n(d: int, n: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(2)
    runs = [
        manifold_overlap(rng.standard_normal((n, d)), shift + scale * rng.standard_normal((n, d)), k=5)
        for _ in range(100)
    ]
    for name in NAMES:
        found = [getattr(run, name) for run in runs]
        expected = np.mean([one.value for one in found])
        covered = sum(one.interval.low <= expected <= one.interval.high for one in found)
        assert bdtr(covered, 100, 0.95) > 1e-3, name


@pytest.mark.parametrize(
    ("real", "generated", "k", "match"),
    [
        (np.zeros((5, 3)), np.zeros((9, 3)), 5, "N >= 6"),
        (np.zeros((9, 3)), np.zeros((5, 3)), 5, "generated set"),
        (np.zeros((9, 3)), np.zeros((9, 4)), 3, "3 and 4 dimensions"),
        (np.zeros((9, 3)), np.full((9, 3), np.nan), 3, "generated feature set holds values that are not finite"),
        (np.zeros((9, 3)), np.zeros((9, 3)), 0, "k must be at least 1"),
    ],
)
def test_bad_input_is_refused_by_name(real: np.ndarray, generated: np.ndarray, k: int, match: str) -> None:
    with pytest.raises(DataError, match=match):
        manifold_overlap(real, generated, k=k)
