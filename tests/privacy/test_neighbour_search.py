import numpy as np
import pytest
import torch
from ldm_eval_privacy import neighbour_search
from ldm_eval_privacy.neighbour_search import by_faiss, faiss_recall, on_device, search

from ldm_eval.stats.neighbours import nearest, rescored


def rows(seed, n, d=48):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(np.float32)


def nobody(done, total):
    pass


def same(found, expected):
    np.testing.assert_array_equal(found.distances, expected.distances)
    np.testing.assert_array_equal(found.indices, expected.indices)


@pytest.mark.parametrize("k", [1, 5])
def test_products_on_a_device_find_what_the_processor_finds_to_the_last_bit(monkeypatch, k):
    monkeypatch.setattr(neighbour_search, "_BLOCK", 48 * 300)  # several blocks
    queries, index = rows(0, 130), rows(1, 1000)
    queries[:20] = index[:20]
    same(on_device(queries, index, k, "cpu"), nearest(queries, index, k))


def test_crowds_that_float32_cannot_tell_apart_are_searched_again():
    index = np.repeat(rows(1, 8), 60, axis=0)
    index[:, 0] += np.tile(np.linspace(0, 1e-6, 60, dtype=np.float32), 8)
    queries = rows(0, 30)
    same(on_device(1000 + queries, 1000 + index, 3, "cpu"), nearest(1000 + queries, 1000 + index, 3))


def test_a_small_index_is_taken_whole():
    queries, index = rows(0, 5), rows(1, 4)
    same(on_device(queries, index, 4, "cpu"), nearest(queries, index, 4))


def test_the_precision_of_products_is_left_as_it_was():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        on_device(rows(0, 5), rows(1, 40), 1, "cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_where_the_memory_of_the_device_is_short_the_processor_searches(monkeypatch):
    def short(*args):
        raise torch.OutOfMemoryError("none left")

    queries, index = rows(0, 20), rows(1, 50)
    monkeypatch.setattr(neighbour_search, "_device", lambda work: "cpu")
    monkeypatch.setattr(neighbour_search, "_propose", short)
    same(search(queries, index, 2, nobody), nearest(queries, index, 2))


def test_progress_reaches_its_end():
    told = []
    search(rows(0, 20), rows(1, 50), 1, lambda done, total: told.append((done, total)))
    on_device(rows(0, 20), rows(1, 50), 1, "cpu", lambda done, total: told.append((done, total)))
    assert [done == total for done, total in told] == [True, True]


def test_proposals_are_measured_exactly_and_missing_ones_come_last():
    queries, index = rows(0, 4), rows(1, 30)
    proposed = np.array([[3, 1, -1], [0, 5, 9], [7, -1, -1], [2, 4, 6]])
    found = rescored(queries, index, proposed, 2)
    for query, candidates, distances in zip(queries, proposed, found.distances, strict=True):
        true = sorted(np.linalg.norm(index[c].astype(float) - query) for c in candidates if c >= 0)[:2]
        np.testing.assert_allclose(distances[: len(true)], true, rtol=1e-12)
        assert np.isinf(distances[len(true) :]).all()


@pytest.mark.gpu
def test_cuda_finds_what_the_processor_finds_to_the_last_bit():
    queries, index = rows(0, 500, 512), rows(1, 20_000, 512)
    queries[:50] = index[:50]
    same(on_device(queries, index, 5, "cuda"), nearest(queries, index, 5))


def test_faiss_proposes_and_distances_are_exact():
    pytest.importorskip("faiss")
    queries, index = rows(0, 200), rows(1, 4000)
    queries[:100] = index[:100] + 1e-4
    found, true = by_faiss(queries, index, 3), nearest(queries, index, 3)
    np.testing.assert_array_equal(found.distances[:100, 0], true.distances[:100, 0])  # near copies are found
    assert (found.distances >= true.distances).all()
    assert faiss_recall(queries, index, found) == np.mean(found.distances[:, 0] == true.distances[:, 0])


def test_faiss_is_believed_only_as_far_as_it_is_right():
    pytest.importorskip("faiss")
    queries, index = rows(0, 200), rows(1, 4000)  # noise: no cell holds a query's neighbours
    assert faiss_recall(queries, index, by_faiss(queries, index, 1, probes=1)) < 0.99
    same(search(queries, index, 1, nobody, min_recall=0.999999), nearest(queries, index, 1))
