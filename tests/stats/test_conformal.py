import numpy as np
import pytest

from ldm_eval.errors import DataError
from ldm_eval.stats.conformal import conformal_p_values


def test_a_score_is_ranked_among_the_ordinary_ones_and_ties_count_against_it() -> None:
    assert conformal_p_values([5, 3, 2, 0], [1, 2, 3]).tolist() == [0.25, 0.5, 0.75, 1.0]


def test_p_values_of_ordinary_scores_are_super_uniform() -> None:
    rng = np.random.default_rng(0)
    p = np.concatenate([conformal_p_values(rng.normal(size=1), rng.normal(size=99)) for _ in range(4000)])
    for alpha in (0.01, 0.05, 0.2):
        assert (p <= alpha).mean() <= alpha + 3 * (alpha * (1 - alpha) / 4000) ** 0.5


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(DataError, match="ordinary"):
        conformal_p_values([1.0], [])
    with pytest.raises(DataError, match="finite"):
        conformal_p_values([np.nan], [1.0])
