import numpy as np
import pytest

from ldm_eval.errors import DataError
from ldm_eval.stats.resampling import (
    bootstrap_counts,
    disjoint_parts,
    others,
    permutation_p_value,
    shuffled_splits,
    subset,
)


@pytest.mark.parametrize(("total", "size", "expected"), [(10, 3, 3), (10, 5, 5), (11, 99, 5), (2, 1, 1)])
def test_disjoint_parts_share_no_row_and_have_one_size(total: int, size: int, expected: int) -> None:
    parts = disjoint_parts(total, size, np.random.default_rng(0))
    assert len(parts.first) == len(parts.second) == expected
    assert len({*parts.first.tolist(), *parts.second.tolist()}) == 2 * expected


def test_disjoint_parts_of_one_row_are_refused() -> None:
    with pytest.raises(DataError, match="at least two rows"):
        disjoint_parts(1, 1, np.random.default_rng(0))


def test_subset_is_everything_when_more_is_asked_for() -> None:
    assert subset(4, 9, np.random.default_rng(0)).tolist() == [0, 1, 2, 3]
    assert len(set(subset(9, 4, np.random.default_rng(0)).tolist())) == 4


def test_splits_part_all_rows() -> None:
    splits = shuffled_splits(23, 10, np.random.default_rng(0))
    assert sorted(np.concatenate(splits).tolist()) == list(range(23))
    assert {len(part) for part in splits} == {2, 3}


def test_more_splits_than_rows_are_refused() -> None:
    with pytest.raises(DataError, match="10 splits"):
        shuffled_splits(5, 10, np.random.default_rng(0))


def test_bootstrap_draws_as_many_rows_as_there_are() -> None:
    counts = bootstrap_counts(50, 300, np.random.default_rng(0))
    assert (counts.sum(axis=1) == 50).all()
    assert abs(counts.mean(axis=0) - 1.0).max() < 0.3


def test_same_generator_same_choice() -> None:
    first = disjoint_parts(100, 40, np.random.default_rng(3)).first
    assert np.array_equal(first, disjoint_parts(100, 40, np.random.default_rng(3)).first)


def test_permutation_p_value_is_never_zero_and_one_for_the_smallest_statistic() -> None:
    rng = np.random.default_rng(0)
    assert permutation_p_value(np.inf, lambda _: 0.0, 10, 99, rng) == pytest.approx(0.01)
    assert permutation_p_value(-np.inf, lambda _: 0.0, 10, 99, rng) == pytest.approx(1.0)


@pytest.mark.parametrize("total", [2, 3, 17])
def test_every_row_gets_another_row_and_every_row_is_given_once(total: int) -> None:
    found = others(total, np.random.default_rng(3))
    assert sorted(found.tolist()) == list(range(total))
    assert (found != np.arange(total)).all()


def test_one_row_has_no_other() -> None:
    assert others(1, np.random.default_rng(0)).tolist() == [0]
