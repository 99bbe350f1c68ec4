import numpy as np
import pytest
from scipy.special import bdtr

from ldm_eval.api import ConfusionCounts
from ldm_eval.errors import DataError
from ldm_eval.stats.share_changes import changes_from_known, changes_from_labels

CLASSES = ("a", "b", "c")
RATES = np.array([[0.85, 0.08, 0.03, 0.04], [0.05, 0.88, 0.02, 0.05], [0.02, 0.06, 0.82, 0.10]])
BEFORE, AFTER = np.array([0.5, 0.3, 0.2]), np.array([0.6, 0.3, 0.1])


def drawn(rng, *, n=600, m=1000, labelled=150):
    """Labels of n images drawn with ``AFTER``, of m that hold exactly ``BEFORE``, and confusion counts."""
    rows = tuple(tuple(int(k) for k in rng.multinomial(labelled, row)) for row in RATES)
    after = rng.multinomial(1, AFTER @ RATES, size=n).sum(axis=0)
    before = sum(rng.multinomial(round(m * share), row) for share, row in zip(BEFORE, RATES, strict=True))
    return after, before, ConfusionCounts(CLASSES, rows, "test")


def test_a_perfect_classifier_leaves_the_noise_of_the_new_images_alone():
    confusion = ConfusionCounts(("a", "b"), ((10**9, 0, 0), (0, 10**9, 0)), "test")
    found = changes_from_labels(np.array([700, 300, 0]), np.array([600, 400, 0]), confusion)
    assert found.changes == pytest.approx([0.1, -0.1])
    interval = found.together(np.array([True, False]))
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * np.sqrt(0.21 / 1000), rel=2e-3)


def test_uncertain_errors_cancel_where_nothing_changed():
    few = ConfusionCounts(("a", "b"), ((45, 5, 0), (5, 45, 0)), "test")
    many = ConfusionCounts(("a", "b"), ((45_000, 5_000, 0), (5_000, 45_000, 0)), "test")
    counts, chosen = np.array([60_000, 40_000, 0]), np.array([True, False])
    same = [changes_from_labels(counts, counts, one).together(chosen) for one in (few, many)]
    assert same[0].high == pytest.approx(same[1].high, rel=0.1)
    known = [changes_from_known(counts, np.array([0.625, 0.375]), one).together(chosen) for one in (few, many)]
    assert known[0].high > 5 * known[1].high


@pytest.mark.parametrize("known", [False, True])
def test_intervals_of_three_classes_with_withheld_labels_hold_the_change(known):
    rng, seeds, held = np.random.default_rng(4), 500, np.zeros(4)
    chosen = [np.arange(3) == i for i in range(3)] + [np.array([True, True, False])]
    truth = [float((AFTER - BEFORE)[one].sum()) for one in chosen]
    for _ in range(seeds):
        after, before, confusion = drawn(rng)
        found = changes_from_known(after, BEFORE, confusion) if known else changes_from_labels(after, before, confusion)
        intervals = [found.together(one) for one in chosen]
        held += [one.low <= value <= one.high for one, value in zip(intervals, truth, strict=True)]
    assert all(bdtr(count, seeds, 0.95) > 1e-3 for count in held), held / seeds


def test_changes_sum_to_zero():
    after, before, confusion = drawn(np.random.default_rng(0))
    assert changes_from_labels(after, before, confusion).changes.sum() == pytest.approx(0, abs=1e-9)


def test_shares_off_the_simplex_are_refused():
    after, _, confusion = drawn(np.random.default_rng(0))
    with pytest.raises(DataError, match="sum to 1"):
        changes_from_known(after, np.array([0.5, 0.3, 0.3]), confusion)
