from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from ldm_eval.errors import DataError
from ldm_eval.stats.multiplicity import benjamini_hochberg, holm


def test_holm_gives_the_adjusted_values_of_the_textbook() -> None:
    # Worked by hand: 4 x .01, 3 x .013, 2 x .014, 1 x .19, made monotone.
    assert holm([0.01, 0.19, 0.014, 0.013]) == pytest.approx([0.04, 0.19, 0.04, 0.04])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]).shape == (0,)


def test_benjamini_hochberg_is_scipys() -> None:
    p = np.random.default_rng(0).random(37) ** 2
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p), abs=1e-15)


def test_holm_errs_in_at_most_the_stated_share_of_families_of_true_hypotheses() -> None:
    rng = np.random.default_rng(1)
    shared = rng.standard_normal((4000, 1))
    z = 0.7 * shared + np.sqrt(1 - 0.49) * rng.standard_normal((4000, 8))
    from scipy.special import ndtr

    errors = sum(bool((holm(2 * ndtr(-np.abs(row))) <= 0.05).any()) for row in z)
    assert errors <= 4000 * 0.05 + 3.1 * np.sqrt(4000 * 0.05 * 0.95)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@pytest.mark.parametrize("wrong", [[1.1], [-0.1], [float("nan")], [[0.1]]])
def test_what_is_no_p_value_is_refused(adjust, wrong) -> None:
    with pytest.raises(DataError, match="from 0 to 1"):
        adjust(wrong)
