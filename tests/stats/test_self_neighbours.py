import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ldm_eval.stats.self_neighbours as module
from ldm_eval.stats.self_neighbours import nearest_others, prepare


def by_brute_force(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    difference = points.astype(np.float64)[:, None, :] - points.astype(np.float64)[None, :, :]
    squares = (difference**2).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    order = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(squares, order, axis=1), order


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 200), st.integers(1, 12), st.integers(1, 8), st.booleans(), st.integers(0, 999))
def test_equals_brute_force_in_float64(n: int, d: int, k: int, grid: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # a grid far from the origin: many ties, and float32 products are wrong
    points = rng.integers(0, 4, (n, d)) + 5000.0 if grid else rng.standard_normal((n, d))
    k = min(k, n - 1)
    found = nearest_others(prepare(points, points.mean(axis=0)), k)
    squares, indices = by_brute_force(points, k)
    np.testing.assert_allclose(found.squares, squares, rtol=1e-12)
    crowd = np.sort(by_brute_force(points, n - 1)[0], axis=1)
    if crowd[:, : 4 * k + 64][:, -1].min() > squares.max() or crowd.shape[1] <= 4 * k + 64:
        assert np.array_equal(found.indices, indices)


@pytest.mark.parametrize(("pending", "held"), [(50, 1 << 27), (1 << 22, 0)])
def test_tiles_thinning_and_memory_do_not_change_the_answer(
    monkeypatch: pytest.MonkeyPatch, pending: int, held: int
) -> None:
    points = np.random.default_rng(0).standard_normal((300, 6)).astype(np.float32)
    centre = points.mean(axis=0, dtype=np.float64)
    squares, indices = by_brute_force(points, 5)
    monkeypatch.setattr(module, "_TILE", 16)
    monkeypatch.setattr(module, "_PENDING", pending)
    monkeypatch.setattr(module, "_HELD", held)
    monkeypatch.setattr(module, "_PAIR_ELEMENTS", 20)
    found = nearest_others(prepare(points, centre), 5)
    np.testing.assert_allclose(found.squares, squares, rtol=1e-12)
    assert np.array_equal(found.indices, indices)


def test_exact_duplicates_read_exactly_zero_far_from_the_origin() -> None:
    points = (1e4 + np.random.default_rng(0).standard_normal((1500, 100))).astype(np.float32)
    points[1300] = points[40]
    found = nearest_others(prepare(points, points.mean(axis=0, dtype=np.float64)), 2)
    assert (found.squares[40, 0], found.squares[1300, 0]) == (0.0, 0.0)
    assert (found.indices[40, 0], found.indices[1300, 0]) == (1300, 40)
    assert (found.squares[:, 0] == 0.0).sum() == 2


def test_a_set_of_one_repeated_row_is_at_zero_everywhere() -> None:
    points = np.ones((2500, 3), dtype=np.float32)
    found = nearest_others(prepare(points, points.mean(axis=0, dtype=np.float64)), 5)
    assert (found.squares == 0.0).all()
    assert not (found.indices == np.arange(2500)[:, None]).any()
