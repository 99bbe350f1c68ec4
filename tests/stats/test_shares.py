import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr

from ldm_eval.errors import DataError
from ldm_eval.stats.shares import BinaryErrors, lang_reiczigel, rogan_gladen


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "observed", "corrected"),
    [(0.94716, 0.98293, 0.610, 0.638), (0.93841, 0.97474, 0.607, 0.637), (0.79108, 0.91964, 0.532, 0.636)],
)
def test_point_matches_the_published_stylegan2_rows(sensitivity, specificity, observed, corrected):
    assert rogan_gladen(observed, sensitivity, specificity) == pytest.approx(corrected, abs=1e-3)


def test_interval_matches_the_worked_example():
    share = lang_reiczigel(305, 500, BinaryErrors(189, 200, 196, 200))
    assert share.adjusted == pytest.approx(0.63811, abs=1e-5)
    assert share.value == pytest.approx(0.63784, abs=1e-5)
    assert (share.low, share.high) == (pytest.approx(0.58668, abs=1e-5), pytest.approx(0.69159, abs=1e-5))
    assert not share.clipped
    assert share.raw == pytest.approx(0.61)


def test_a_perfect_classifier_on_endless_labels_leaves_the_adjusted_share_alone():
    share = lang_reiczigel(300, 1000, BinaryErrors(1e9, 1e9, 1e9, 1e9))
    z = 1.959964
    centre = (300 + z * z / 2) / (1000 + z * z)
    half = z * np.sqrt(centre * (1 - centre) / (1000 + z * z))  # Agresti-Coull
    assert share.value == pytest.approx(0.3, abs=1e-7)
    assert (share.low, share.high) == (pytest.approx(centre - half, abs=1e-6), pytest.approx(centre + half, abs=1e-6))


def test_a_classifier_that_says_too_little_is_refused():
    with pytest.raises(DataError, match=r"Youden's J is 0\.40"):
        lang_reiczigel(50, 100, BinaryErrors(70, 100, 70, 100))
    with pytest.raises(DataError, match="better classifier"):
        rogan_gladen(0.5, 0.7, 0.7)


def test_clipping_at_the_border_is_said():
    share = lang_reiczigel(0, 500, BinaryErrors(190, 200, 198, 200))
    assert share.clipped
    assert not share.outside
    assert (share.value, share.low) == (0.0, 0.0)
    assert 0 < share.high < 0.05


def test_a_count_that_no_share_explains_is_said():
    """Ten false alarms in a hundred, and then none in five hundred: these are not the errors on these images."""
    assert lang_reiczigel(0, 500, BinaryErrors(190, 200, 180, 200)).outside
    assert lang_reiczigel(500, 500, BinaryErrors(180, 200, 190, 200)).outside


def test_more_labelled_images_narrow_the_interval():
    def width(scale: int) -> float:
        share = lang_reiczigel(500, 1000, BinaryErrors(90 * scale, 100 * scale, 95 * scale, 100 * scale))
        return share.high - share.low

    assert width(10) < width(2) < width(1)


@pytest.mark.parametrize("errors", [(0, 0, 5, 10), (5, 4, 5, 10), (1, 4, -1, 10)])
def test_impossible_error_counts_are_refused(errors):
    with pytest.raises(DataError, match="labelled images"):
        BinaryErrors(*errors)


@pytest.mark.parametrize(("x", "n"), [(5, 4), (-1, 4), (0, 0)])
def test_impossible_image_counts_are_refused(x, n):
    with pytest.raises(DataError, match="positives"):
        lang_reiczigel(x, n, BinaryErrors(9, 10, 9, 10))


@settings(max_examples=200, deadline=None)
@given(n=st.integers(1, 2000), x=st.floats(0, 1), tp=st.integers(8, 10), tn=st.integers(80, 100))
def test_the_point_lies_in_its_interval_and_the_interval_in_the_unit_range(n, x, tp, tn):
    share = lang_reiczigel(round(x * n), n, BinaryErrors(tp, 10, tn, 100))
    assert 0 <= share.low <= share.value <= share.high <= 1


@settings(max_examples=100, deadline=None)
@given(x=st.integers(0, 200), tp=st.integers(40, 50), tn=st.integers(70, 80))
def test_a_share_and_the_rest_mirror_each_other(x, tp, tn):
    one = lang_reiczigel(x, 200, BinaryErrors(tp, 50, tn, 80))
    rest = lang_reiczigel(200 - x, 200, BinaryErrors(tn, 80, tp, 50))
    assert one.low == pytest.approx(1 - rest.high, abs=1e-12)
    assert one.high == pytest.approx(1 - rest.low, abs=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_interval_holds_the_truth_as_often_as_it_says(share):
    generator = np.random.default_rng([5, round(100 * share)])
    se, sp, seeds = 0.945, 0.98, 600
    x = generator.binomial(500, share * se + (1 - share) * (1 - sp), seeds)
    tp, tn = generator.binomial(200, se, seeds), generator.binomial(200, sp, seeds)
    found = [
        lang_reiczigel(int(a), 500, BinaryErrors(int(b), 200, int(c), 200)) for a, b, c in zip(x, tp, tn, strict=True)
    ]
    held = sum(each.low <= share <= each.high for each in found)
    assert bdtr(held, seeds, 0.95) > 1e-3


def test_ignoring_the_classifiers_errors_would_miss_the_truth():
    generator = np.random.default_rng(7)
    x = generator.binomial(2000, 0.5 * 0.85 + 0.5 * 0.05, 200)
    naive = [lang_reiczigel(int(a), 2000, BinaryErrors(1e9, 1e9, 1e9, 1e9)) for a in x]
    assert sum(each.low <= 0.5 <= each.high for each in naive) < 20


def test_an_interval_that_lies_outside_keeps_a_width() -> None:
    errors = BinaryErrors(true_positives=95, positives=100, true_negatives=850, negatives=900)
    none = lang_reiczigel(0, 1000, errors)
    assert none.outside
    assert none.low == 0.0
    assert none.high == pytest.approx((1 - 0.025 ** (1 / 1000)) / (96 / 102), rel=1e-9)
    mirrored = BinaryErrors(true_positives=850, positives=900, true_negatives=95, negatives=100)
    full = lang_reiczigel(1000, 1000, mirrored)
    assert full.outside
    assert (full.low, full.high) == (pytest.approx(1 - none.high), 1.0)
