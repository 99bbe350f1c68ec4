import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr

from ldm_eval.api import ConfusionCounts
from ldm_eval.errors import DataError
from ldm_eval.stats.class_shares import (
    bootstrap_shares,
    class_errors,
    class_shares,
    corrected_shares,
    em_shares,
    label_counts,
    one_vs_rest,
    worst_case_shares,
)
from ldm_eval.stats.shares import BinaryErrors, lang_reiczigel

C3 = np.array([[0.95, 0.05, 0.0], [0.1, 0.85, 0.05], [0.02, 0.08, 0.9]])
P3 = np.array([0.9, 0.08, 0.02])


def confusion(*rows, source="test"):
    return ConfusionCounts(tuple("abcdefgh"[: len(rows)]), tuple(tuple(row) for row in rows), source)


def drawn(generator, shares, rates, n, labelled, shown=None):
    counts = generator.multinomial(n, shares @ (rates if shown is None else shown))
    rows = tuple(tuple(int(k) for k in generator.multinomial(labelled, row)) for row in rates)
    return counts, confusion(*rows)


def test_em_matches_the_worked_example_and_back():
    observed = P3 @ C3
    assert observed == pytest.approx([0.8634, 0.1146, 0.022], abs=1e-12)
    assert em_shares(observed, C3) == pytest.approx(P3, abs=1e-6)


def test_em_of_a_stack_is_em_of_each():
    observed = np.stack([P3 @ C3, np.array([0.2, 0.5, 0.3])])
    assert em_shares(observed, C3) == pytest.approx(np.stack([em_shares(row, C3) for row in observed]), abs=1e-8)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(lambda counts: sum(counts) > 0))
def test_em_stays_on_the_simplex_where_the_inverse_leaves_it(counts):
    shares = em_shares(np.array(counts) / sum(counts), C3)
    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1)


def test_em_refuses_a_class_that_is_never_shown():
    with pytest.raises(DataError, match="never show"):
        em_shares(np.array([0.5, 0.5]), np.array([[1.0, 0.0], [1.0, 0.0]]))


def test_labels_are_counted_in_order_with_unknown_last():
    labels = np.array(["b", "unknown", "a", "b"])
    assert label_counts(labels, ("a", "b", "c")).tolist() == [1, 2, 0, 1]
    with pytest.raises(DataError, match="'z'"):
        label_counts(np.array(["z"]), ("a", "b"))


def test_two_classes_give_the_published_interval_exactly():
    shares = corrected_shares(np.array([305, 195, 0]), confusion((189, 11, 0), (4, 196, 0)))
    alone = lang_reiczigel(305, 500, BinaryErrors(189, 200, 196, 200))
    assert (shares[0].low, shares[0].high) == (
        pytest.approx(alone.low, abs=1e-12),
        pytest.approx(alone.high, abs=1e-12),
    )
    assert shares[0].value + shares[1].value == pytest.approx(1)
    assert shares[0].low == pytest.approx(1 - shares[1].high, abs=1e-12)


def test_labelled_images_drawn_in_other_shares_do_not_move_the_estimate():
    few = confusion((90, 5, 5, 0), (10, 80, 10, 0), (0, 2, 98, 0))
    many = confusion((900, 50, 50, 0), (10, 80, 10, 0), (0, 2, 98, 0))
    counts = np.array([300, 400, 300, 0])
    one, other = corrected_shares(counts, few), corrected_shares(counts, many)
    assert [share.value for share in one] == pytest.approx([share.value for share in other], abs=1e-9)


def test_one_vs_rest_points_agree_with_em_inside_the_simplex():
    table = confusion((90, 5, 0, 5), (4, 80, 6, 10), (0, 5, 94, 1))
    counts = np.array([300, 350, 330, 20])
    assert [share.value for share in corrected_shares(counts, table)] == pytest.approx(
        class_shares(counts, table).shares, abs=1e-6
    )


def test_specificity_weighs_the_other_classes_by_their_share_in_the_samples():
    table = confusion((100, 0, 0, 0), (20, 80, 0, 0), (0, 0, 100, 0))
    assert one_vs_rest(table, 0, np.array([0.5, 0.5, 0.0])).specificity == pytest.approx(0.8)
    assert one_vs_rest(table, 0, np.array([0.5, 0.0, 0.5])).specificity == pytest.approx(1.0)
    even = one_vs_rest(table, 0, np.array([0.2, 0.4, 0.4]))
    assert even.specificity == pytest.approx(0.9)
    assert even.negatives <= 200
    assert one_vs_rest(table, 0, np.array([1.0, 0.0, 0.0])).specificity == pytest.approx(0.9)


def test_unlabelled_images_in_the_expected_number_change_nothing():
    plain = confusion((90, 10, 0), (5, 95, 0))
    holes = confusion((72, 8, 20), (4, 76, 20))
    one = corrected_shares(np.array([400, 600, 0]), plain)
    other = corrected_shares(np.array([320, 480, 200]), holes)
    assert [share.value for share in one] == pytest.approx([share.value for share in other], abs=1e-9)
    assert other[0].raw == pytest.approx(0.32)


def test_a_class_that_is_rarely_labelled_is_not_counted_short():
    table = confusion((60, 0, 40), (0, 100, 0))
    assert class_shares(np.array([300, 500, 200]), table).shares == pytest.approx([0.5, 0.5], abs=1e-6)
    # half of all labels missing on top, alike for both classes
    assert class_shares(np.array([150, 250, 600]), table).shares == pytest.approx([0.5, 0.5], abs=1e-6)


def test_worst_case_bounds_hold_all_that_unlabelled_images_could_be():
    table = confusion((100_000, 0, 0), (0, 100_000, 0))
    share = worst_case_shares(np.array([30_000, 40_000, 30_000]), table)[0]
    assert share.low == pytest.approx(0.3, abs=5e-3)
    assert share.high == pytest.approx(0.6, abs=5e-3)
    closed = np.array([40_000, 60_000, 0])
    assert worst_case_shares(closed, table)[0].high == pytest.approx(corrected_shares(closed, table)[0].high, abs=1e-12)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (((9, 1), (1, 9)), "column per class"),
        (((9, 1, 0), (0, 0, 0)), "a row is empty"),
        (((9, 1, 0), (0, 0, 5)), "put a name to"),
    ],
)
def test_confusion_counts_that_cannot_be_used_are_refused(rows, message):
    with pytest.raises(DataError, match=message):
        corrected_shares(np.array([50, 50, 0]), confusion(*rows))


def test_nothing_labelled_is_refused():
    with pytest.raises(DataError, match="unknown"):
        class_shares(np.array([0, 0, 10]), confusion((9, 1, 0), (1, 9, 0)))
    with pytest.raises(DataError, match="one each"):
        class_shares(np.array([5, 10]), confusion((9, 1, 0), (1, 9, 0)))


def test_a_blind_classifier_is_refused():
    with pytest.raises(DataError, match="Youden"):
        corrected_shares(np.array([50, 50, 0]), confusion((60, 40, 0), (40, 60, 0)))
    assert class_errors(np.array([50, 50, 0]), confusion((60, 40, 0), (40, 60, 0)))[0].youden == pytest.approx(0.2)


def test_bootstrap_carries_both_sources_of_noise():
    """Its spread equals that of the estimate over fresh images AND fresh labelled images."""
    generator = np.random.default_rng(3)
    rates = np.array([[0.85, 0.1, 0.0, 0.05], [0.1, 0.8, 0.05, 0.05], [0.02, 0.08, 0.85, 0.05]])
    shares = np.array([0.5, 0.3, 0.2])
    truth = np.std([class_shares(*drawn(generator, shares, rates, 1000, 100)).shares for _ in range(400)], axis=0)
    counts = np.round(1000 * shares @ rates).astype(np.int64)
    table = confusion(*np.round(100 * rates).astype(int).tolist())
    spread = bootstrap_shares(counts, table, resamples=400, generator=generator).std(axis=0)
    images_only = bootstrap_shares(
        counts, confusion(*(10**5 * rates).astype(int).tolist()), resamples=400, generator=generator
    ).std(axis=0)
    assert spread == pytest.approx(truth, rel=0.2)
    assert np.all(images_only < 0.8 * spread)


def test_bootstrap_is_the_generators_alone():
    table, counts = confusion((9, 1, 0), (1, 8, 1)), np.array([40, 50, 10])
    one, other = (bootstrap_shares(counts, table, resamples=20, generator=np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("scale", [1.0, 0.8])
def test_intervals_of_several_classes_hold_the_truth(scale):
    """A large class is often taken for one other; in the second case a fifth of the samples lose their label."""
    rates = np.array([[0.8, 0.16, 0.02, 0.02], [0.02, 0.93, 0.03, 0.02], [0.01, 0.03, 0.94, 0.02]])
    shown = rates * scale
    shown[:, -1] = 1 - shown[:, :-1].sum(axis=1)
    shares, generator, seeds = np.array([0.6, 0.1, 0.3]), np.random.default_rng(11), 300
    held = np.zeros(3, dtype=int)
    for _ in range(seeds):
        found = corrected_shares(*drawn(generator, shares, rates, 1000, 150, shown))
        held += [each.low <= truth <= each.high for each, truth in zip(found, shares, strict=True)]
    assert np.all(bdtr(held, seeds, 0.95) > 1e-3), held
