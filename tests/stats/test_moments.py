from __future__ import annotations

import numpy as np
import pytest

from ldm_eval.errors import DataError
from ldm_eval.stats import moments
from ldm_eval.stats.moments import feature_moments


def test_blocks_give_what_numpy_gives_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(3.0, 2.0, (101, 7)).astype(np.float32)
    monkeypatch.setattr(moments, "_BLOCK", 10)
    found = feature_moments(rows)
    np.testing.assert_allclose(found.mean, rows.mean(0, dtype=np.float64), rtol=1e-13)
    np.testing.assert_allclose(found.covariance, np.cov(rows.astype(np.float64), rowvar=False), rtol=1e-11)
    np.testing.assert_array_equal(found.covariance, found.covariance.T)
    assert found.n == 101


def test_a_mean_that_dwarfs_the_spread_costs_no_digits() -> None:
    spread = np.random.default_rng(1).normal(size=(1000, 3))
    found = feature_moments(spread + 1e7).covariance
    np.testing.assert_allclose(found, np.cov(spread, rowvar=False), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("rows", [np.zeros((1, 3)), np.zeros((5, 0)), np.zeros(4), np.full((3, 2), np.inf)])
def test_what_has_no_covariance_is_refused(rows: np.ndarray) -> None:
    with pytest.raises(DataError):
        feature_moments(rows)
