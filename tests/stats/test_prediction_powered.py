import numpy as np
import pytest
from scipy.special import bdtrc

from ldm_eval.errors import DataError
from ldm_eval.stats.intervals import normal_quantile
from ldm_eval.stats.prediction_powered import AuditCounts, paired_difference, prediction_powered_share
from ldm_eval.stats.shares import BinaryErrors, lang_reiczigel


def drawn(rng, share, sensitivity, specificity, audited, unaudited, draws):
    """Counts of audits of a source with this share, seen through this classifier, and what it called the rest."""
    cells = (
        share * sensitivity,
        share * (1 - sensitivity),
        (1 - share) * (1 - specificity),
        (1 - share) * specificity,
    )
    audits = [AuditCounts(*row) for row in rng.multinomial(audited, cells, size=draws).tolist()]
    return audits, rng.binomial(unaudited, cells[0] + cells[2], size=draws).tolist()


def test_the_share_is_what_the_classifier_says_of_the_rest_plus_what_people_changed():
    found = prediction_powered_share(300, 1000, AuditCounts(both=50, only_people=20, only_classifier=10, neither=120))
    assert found.called == pytest.approx(0.3)
    assert found.rectifier == pytest.approx(0.05)
    assert found.value == pytest.approx(0.35)


def test_bonett_and_price_by_hand():
    interval = paired_difference(AuditCounts(59, 6, 16, 80))  # (7 - 17) / 163 +- 1.96 sqrt((24/163 - (10/163)^2)/163)
    assert interval.low == pytest.approx(-10 / 163 - 1.959964 * np.sqrt((24 / 163 - (10 / 163) ** 2) / 163), abs=1e-6)
    assert interval.high == pytest.approx(-10 / 163 + 1.959964 * np.sqrt((24 / 163 - (10 / 163) ** 2) / 163), abs=1e-6)


def test_with_many_images_it_is_the_published_interval():
    counts = AuditCounts(40_000, 6_000, 4_000, 50_000)
    found = prediction_powered_share(430_000, 1_000_000, counts)
    rows = np.repeat([0.0, 1.0, -1.0, 0.0], [40_000, 6_000, 4_000, 50_000])  # people less classifier, image by image
    half = normal_quantile(0.95) * np.sqrt(rows.var() / len(rows) + 0.43 * 0.57 / 1_000_000)
    assert found.interval.low == pytest.approx(found.value - half, abs=2e-5)
    assert found.interval.high == pytest.approx(found.value + half, abs=2e-5)


def test_an_audit_that_finds_no_error_leaves_room_for_some():
    """With 10 million images and no error among 200, the published interval would be 0.0006 wide."""
    found = prediction_powered_share(5_000_000, 10_000_000, AuditCounts(100, 0, 0, 100))
    assert found.interval.high - found.interval.low > 0.02


def test_it_stays_among_shares():
    found = prediction_powered_share(0, 100, AuditCounts(0, 0, 5, 95))
    assert (found.value, found.interval.low) == (0.0, 0.0)
    other = prediction_powered_share(100, 100, AuditCounts(95, 5, 0, 0))
    assert (other.value, other.interval.high) == (1.0, 1.0)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("classifier", [(1.0, 1.0), (0.945, 0.98), (0.6, 0.7)])
@pytest.mark.parametrize(("audited", "unaudited"), [(50, 300), (200, 9800)])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_the_interval_holds_the_truth_as_often_as_it_says(share, classifier, audited, unaudited, level):
    draws, rng = 800, np.random.Generator(np.random.PCG64(3))
    audits, called = drawn(rng, share, *classifier, audited, unaudited, draws)
    found = [prediction_powered_share(k, unaudited, c, level).interval for k, c in zip(called, audits, strict=True)]
    missed = sum(not one.low <= share <= one.high for one in found)
    assert bdtrc(missed - 1, draws, 1 - level) > 1e-3 if missed else True


def test_errors_that_differ_on_generated_images_do_not_matter_here_and_do_where_real_images_were_trusted():
    """0.945 and 0.98 on real images, 0.75 and 0.98 on generated ones: the true share is 0.5."""
    rng = np.random.Generator(np.random.PCG64(4))
    audits, called = drawn(rng, 0.5, 0.75, 0.98, 200, 1800, 200)
    here = [prediction_powered_share(k, 1800, c).interval for k, c in zip(called, audits, strict=True)]
    trusted = [lang_reiczigel(k, 1800, BinaryErrors(378, 400, 392, 400)) for k in called]
    assert sum(one.low <= 0.5 <= one.high for one in here) >= 180
    assert sum(one.low <= 0.5 <= one.high for one in trusted) <= 10


def test_it_is_narrower_than_peoples_labels_alone_with_a_good_classifier():
    from ldm_eval.stats.proportions import clopper_pearson

    powered = prediction_powered_share(4900, 9800, AuditCounts(95, 5, 2, 98)).interval
    alone = clopper_pearson(100, 200)
    assert powered.high - powered.low < 0.6 * (alone.high - alone.low)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (-1, 2, 3, 4)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(DataError, match="An audit needs counts"):
        AuditCounts(*counts)


def test_no_unaudited_images_are_refused():
    with pytest.raises(DataError, match="n >= 1"):
        prediction_powered_share(0, 0, AuditCounts(1, 0, 0, 1))
