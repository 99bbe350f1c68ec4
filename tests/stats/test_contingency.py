import numpy as np
import pytest
from scipy.stats import fisher_exact as scipys

from ldm_eval.errors import DataError
from ldm_eval.stats.contingency import fisher_exact


def test_the_lady_tasting_tea():
    assert fisher_exact(3, 4, 1, 4) == pytest.approx(34 / 70)
    assert fisher_exact(4, 4, 0, 4) == pytest.approx(2 / 70)


def test_it_agrees_with_scipy_on_tables_of_every_shape():
    rng = np.random.default_rng(0)
    for _ in range(300):
        n1, n2 = rng.integers(1, 2000, size=2) if rng.random() < 0.5 else rng.integers(1, 8, size=2)
        k1, k2 = rng.binomial(n1, rng.random()), rng.binomial(n2, rng.random())
        expected = scipys([[k1, n1 - k1], [k2, n2 - k2]]).pvalue
        assert fisher_exact(int(k1), int(n1), int(k2), int(n2)) == pytest.approx(expected, rel=1e-8, abs=1e-300)


def test_nothing_found_on_either_side_says_nothing():
    assert fisher_exact(0, 10, 0, 3) == 1.0
    assert fisher_exact(10, 10, 3, 3) == 1.0


def test_counts_that_cannot_be_are_refused():
    for counts in ((-1, 3, 0, 3), (4, 3, 0, 3), (0, 0, 1, 3)):
        with pytest.raises(DataError, match="0 <= k <= n"):
            fisher_exact(*counts)
