import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ldm_eval.stats.neighbours as module
from ldm_eval.errors import DataError
from ldm_eval.stats.neighbours import nearest

REAL_PAYS = module._pays


@pytest.fixture(autouse=True, scope="module", params=["whole rows", "short rows"])
def _route(request):
    """Every test is run with products of whole rows, and of short ones along a single direction."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "short rows":
            patch.setattr(module, "_WORTH_SHORTENING", 0)
            patch.setattr(module, "_DIRECTIONS", 1)
            patch.setattr(module, "_pays", lambda *_: True)
        yield


def brute_force(queries, index, k, exclude_self=False):
    difference = queries.astype(np.float64)[:, None, :] - index.astype(np.float64)[None, :, :]
    distances = np.sqrt((difference**2).sum(axis=2))
    if exclude_self:
        np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), order


@pytest.mark.parametrize(("q", "n", "d", "k"), [(7, 5, 3, 5), (50, 3000, 40, 5), (20, 3001, 200, 50), (1, 1, 1, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_agrees_with_brute_force_in_float64(q, n, d, k, dtype):
    rng = np.random.default_rng(q + n)
    queries, index = ((rng.normal(size=(rows, d)) * 20 + 128).astype(dtype) for rows in (q, n))
    found = nearest(queries, index, k)
    distances, indices = brute_force(queries, index, k)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)
    if dtype != np.uint8:
        assert np.array_equal(found.indices, indices)
    assert found.distances.dtype == np.float64
    assert found.indices.dtype == np.int64


def test_exact_duplicates_read_exactly_zero_far_from_the_origin():
    rng = np.random.default_rng(0)
    index = (1e4 + rng.normal(size=(2000, 300))).astype(np.float32)
    found = nearest(index[100:150], index, 2)
    assert (found.distances[:, 0] == 0.0).all()
    assert np.array_equal(found.indices[:, 0], np.arange(100, 150))
    np.testing.assert_allclose(found.distances, brute_force(index[100:150], index, 2)[0], rtol=1e-12)


def test_equal_distances_come_in_the_order_of_their_rows():
    index = np.zeros((5000, 4), dtype=np.uint8)
    index[::7] = 9
    found = nearest(np.zeros((3, 4), dtype=np.uint8), index, 6)
    assert found.indices.tolist() == [[1, 2, 3, 4, 5, 6]] * 3
    assert (found.distances == 0).all()


def test_a_query_is_left_out_by_its_number_and_its_duplicate_is_not():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(600, 8)).astype(np.float32)
    points[17] = points[400]
    found = nearest(points, points, 3, exclude_self=True)
    assert not (found.indices == np.arange(600)[:, None]).any()
    assert (found.indices[17, 0], found.distances[17, 0]) == (400, 0.0)
    np.testing.assert_allclose(found.distances, brute_force(points, points, 3, exclude_self=True)[0], rtol=1e-12)


def test_all_other_points_can_be_asked_for():
    points = np.random.default_rng(2).normal(size=(40, 3))
    found = nearest(points, points, 39, exclude_self=True)
    assert np.array_equal(found.indices, brute_force(points, points, 39, exclude_self=True)[1])


def test_blocks_do_not_change_the_answer(monkeypatch):
    rng = np.random.default_rng(3)
    points = rng.integers(0, 3, size=(700, 4)).astype(np.uint8)  # many ties
    whole = nearest(points, points, 9, exclude_self=True)
    monkeypatch.setattr(module, "_INDEX_ROWS", 97)
    monkeypatch.setattr(module, "_SCORE_ELEMENTS", 1000)
    monkeypatch.setattr(module, "_EXACT_ELEMENTS", 50)
    pieces = nearest(points, points, 9, exclude_self=True)
    assert np.array_equal(whole.distances, pieces.distances)
    assert np.array_equal(whole.indices, pieces.indices)
    assert np.array_equal(whole.indices, brute_force(points, points, 9, exclude_self=True)[1])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 300), st.integers(1, 6), st.floats(1e-20, 1e20))
def test_scale_does_not_matter(seed, n, d, scale):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, d)) * scale
    found = nearest(points[:5], points, min(n, 3))
    np.testing.assert_allclose(found.distances, brute_force(points[:5], points, min(n, 3))[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("queries", "index", "k", "exclude", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), 1, False, "Q, D"),
        (np.ones((2, 3)), np.ones((2, 3)), 3, False, "2 are available"),
        (np.ones((2, 3)), np.ones((2, 3)), 2, True, "1 are available"),
        (np.ones((2, 3)), np.ones((3, 3)), 1, True, "queries are the index"),
        (np.full((2, 3), np.nan), np.ones((3, 3)), 1, False, "NaN"),
    ],
)
def test_refuses_what_it_cannot_answer(queries, index, k, exclude, message):
    with pytest.raises(DataError, match=message):
        nearest(queries, index, k, exclude_self=exclude)


def test_short_rows_are_used_where_they_pay_and_only_there(monkeypatch):
    rng = np.random.default_rng(4)
    monkeypatch.setattr(module, "_WORTH_SHORTENING", 0)
    monkeypatch.setattr(module, "_DIRECTIONS", 12)
    low_rank = rng.normal(size=(3000, 10)) @ rng.normal(size=(10, 60)) + 0.01 * rng.normal(size=(3000, 60))
    frames = {}
    for name, index in (("structure", low_rank), ("none", rng.normal(size=(3000, 60)))):
        frame = module._shortened(module._frame(index), index)
        frames[name] = float(REAL_PAYS(frame, index[:500] + 0.001, index, 5))
        found = nearest(index[:200], index, 5)
        np.testing.assert_allclose(found.distances, brute_force(index[:200], index, 5)[0], rtol=1e-12)
    assert frames == {"structure": 1.0, "none": 0.0}


def test_short_rows_are_never_farther_apart_than_whole_ones(monkeypatch):
    rng = np.random.default_rng(5)
    index = rng.normal(size=(400, 30)) * np.geomspace(10, 0.1, 30) + 7.0
    monkeypatch.setattr(module, "_DIRECTIONS", 4)
    frame = module._shortened(module._frame(index), index)
    short, whole = frame.rows(index).astype(np.float64) * frame.scale, index
    between = [np.linalg.norm(one[:, None] - one[None, :], axis=2) for one in (short, whole)]
    assert (between[0] <= between[1] * (1 + 1e-6) + 1e-6).all()
