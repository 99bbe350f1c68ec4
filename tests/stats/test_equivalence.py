import numpy as np
import pytest
from scipy.special import bdtr, bdtrc
from scipy.stats import chisquare

from ldm_eval.errors import DataError
from ldm_eval.stats.equivalence import (
    chi_square,
    equivalence,
    gap_bounds,
    tost_margin,
    tost_sample_size,
    total_variation,
    worst_gap,
)
from ldm_eval.stats.shares import BinaryErrors, lang_reiczigel


def errors(youden, labelled=200):
    right = (1 + youden) / 2 * labelled
    return BinaryErrors(right, labelled, right, labelled)


@pytest.mark.parametrize(("youden", "n"), [(1.0, 1083), (0.93, 1252), (0.70, 2209)])
def test_sample_size_matches_the_known_answers(youden, n):
    assert tost_sample_size(0.5, 0.05, errors(youden), errors_known=True) == n


def test_labelled_images_cost_samples_and_too_few_cannot_be_made_up_for():
    assert tost_sample_size(0.5, 0.05, BinaryErrors(189, 200, 196, 200)) == pytest.approx(2300, rel=0.01)
    assert tost_sample_size(0.5, 0.05, errors(0.70)) is None


def test_margin_and_sample_size_are_inverse():
    known = BinaryErrors(189, 200, 196, 200)
    n = tost_sample_size(0.3, 0.05, known, alpha=0.025, power=0.8)
    assert n is not None
    assert tost_margin(0.3, n, known, alpha=0.025, power=0.8) == pytest.approx(0.05, abs=2e-5)


def test_the_sample_size_has_the_power_it_promises():
    known = BinaryErrors(19_600, 20_000, 19_600, 20_000)
    n, seeds = tost_sample_size(0.5, 0.05, known), 500
    x = np.random.default_rng(2).binomial(n, 0.5, seeds)
    shares = [lang_reiczigel(int(each), n, known, level=0.9) for each in x]
    shown = sum(equivalence(share.low, share.high, 0.5, 0.05) == "equivalent" for share in shares)
    assert bdtr(shown, seeds, 0.9) > 1e-3


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [(0.48, 0.53, "equivalent"), (0.40, 0.52, "inconclusive"), (0.30, 0.44, "different"), (0.56, 0.70, "different")],
)
def test_equivalence_needs_the_whole_interval(low, high, decision):
    assert equivalence(low, high, 0.5, 0.05) == decision


def test_a_margin_of_zero_is_refused():
    with pytest.raises(DataError, match="margin"):
        equivalence(0.4, 0.6, 0.5, 0.0)
    with pytest.raises(DataError, match="margin"):
        tost_sample_size(0.5, 0.0, errors(0.9))


def test_a_classifier_that_tells_nothing_is_refused():
    with pytest.raises(DataError, match="no n is enough"):
        tost_sample_size(0.5, 0.05, errors(-0.1))


def test_gap_bounds_fold_the_interval_at_the_target():
    inside = gap_bounds(0.52, 0.45, 0.60, 0.5)
    assert (inside.value, inside.low, inside.high) == (pytest.approx(0.02), 0.0, pytest.approx(0.10))
    above = gap_bounds(0.62, 0.55, 0.70, 0.5)
    assert (above.low, above.high) == (pytest.approx(0.05), pytest.approx(0.20))
    below = gap_bounds(0.38, 0.30, 0.45, 0.5)
    assert (below.low, below.high) == (pytest.approx(0.05), pytest.approx(0.20))


def test_the_worst_gap_bounds_hold_as_often_as_they_say():
    generator, seeds, classes = np.random.default_rng(4), 500, 6
    truth = np.full(classes, 1 / classes)
    sharp = BinaryErrors(1e9, 1e9, 1e9, 1e9)
    too_high = too_low = 0
    for shares in generator.multinomial(1000, truth, size=seeds):
        upper = [lang_reiczigel(int(x), 1000, sharp, 0.95) for x in shares]
        lower = [lang_reiczigel(int(x), 1000, sharp, 1 - 0.025 / classes) for x in shares]
        # truth of the worst gap against an even target is 0; against one moved by 0.1 it is 0.1
        even = worst_gap(*([gap_bounds(s.value, s.low, s.high, 1 / classes) for s in each] for each in (upper, lower)))
        moved = np.array([1 / classes + 0.1, 1 / classes - 0.1, *truth[2:]])
        off = worst_gap(
            *(
                [gap_bounds(s.value, s.low, s.high, t) for s, t in zip(each, moved, strict=True)]
                for each in (upper, lower)
            )
        )
        too_high += even.low > 0
        too_low += off.high < 0.1
        assert even.low <= even.value <= even.high
    assert bdtrc(too_high - 1, seeds, 0.025) > 1e-3
    assert bdtrc(too_low - 1, seeds, 0.025) > 1e-3


def test_total_variation_spans_equal_to_disjoint():
    assert total_variation(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0
    assert total_variation(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1
    assert total_variation(np.array([0.6, 0.3, 0.1]), np.array([0.5, 0.3, 0.2])) == pytest.approx(0.1)


def test_chi_square_matches_scipy():
    counts, expected = np.array([30, 50, 20]), np.array([0.25, 0.5, 0.25])
    found, reference = chi_square(counts, expected), chisquare(counts, 100 * expected)
    assert found.statistic == pytest.approx(reference.statistic)
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.degrees == 2


def test_chi_square_refuses_what_is_not_expected_at_all():
    with pytest.raises(DataError, match="zero"):
        chi_square(np.array([5, 5]), np.array([1.0, 0.0]))
    assert chi_square(np.array([5, 5, 0]), np.array([0.5, 0.5, 0.0])).degrees == 1
