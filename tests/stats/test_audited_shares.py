import numpy as np
import pytest
from scipy.special import bdtr

from ldm_eval.api import AttributeLabels, ConfusionCounts
from ldm_eval.errors import DataError
from ldm_eval.stats.audited_shares import audit_report

CLASSES = ("a", "b", "c")
SHARES = np.array([0.6, 0.3, 0.07, 0.03])  # the last: people cannot tell
SAYS = np.array([[0.9, 0.04, 0.02, 0.04], [0.1, 0.8, 0.05, 0.05], [0.02, 0.1, 0.83, 0.05], [0.3, 0.3, 0.1, 0.3]])
NAMES = np.array([*CLASSES, "unknown"])


def labelled(machine, classes=CLASSES, rows=((90, 5, 2, 3), (5, 90, 2, 3), (2, 5, 90, 3))):
    confusion = ConfusionCounts(classes, rows, "real images")
    return AttributeLabels("perceived age band", "test", "", np.asarray(machine), confusion, {})


def source(rng, n):
    """What people and the classifier say of n images."""
    truth = rng.choice(4, size=n, p=SHARES)
    called = (rng.random(n)[:, None] > np.cumsum(SAYS, axis=1)[truth]).sum(axis=1)
    return NAMES[truth], NAMES[np.minimum(called, 3)]


def test_counts_are_people_by_classifier_and_the_audited_images_are_not_counted_again():
    labels = labelled(["a", "b", "unknown", "a", "a", "c"])
    report = audit_report(labels, [1, 2, 0], np.array(["a", "c", "unknown"]))
    assert report.counts == ((0, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 1), (1, 0, 0, 0))
    assert (report.audited, report.unaudited) == (3, 3)
    assert [share.powered.called for share in report.shares] == pytest.approx([2 / 3, 0, 1 / 3, 0])
    assert [share.seen for share in report.shares] == [1, 0, 1, 1]


def test_all_intervals_together_hold_the_shares_at_the_stated_level():
    rng, runs, held = np.random.Generator(np.random.PCG64(5)), 300, 0
    for _ in range(runs):
        people, machine = source(rng, 1500)
        report = audit_report(labelled(machine), range(200), people[:200])
        assert report.each_level == pytest.approx(1 - 0.05 / 4)
        bounds = [share.powered.interval for share in report.shares]
        held += all(one.low <= true <= one.high for one, true in zip(bounds, SHARES, strict=True))
    assert bdtr(held, runs, 0.95) > 1e-3


def test_corrected_shares_come_from_the_errors_on_generated_images():
    """The confusion on real images is far off; with that of the audit the share of those that can be told is found."""
    rng = np.random.Generator(np.random.PCG64(6))
    truth = rng.choice(["a", "b"], size=4000, p=[0.5, 0.5])
    machine = np.where((truth == "a") & (rng.random(4000) < 0.25), "b", truth)
    labels = labelled(machine, ("a", "b"), ((99, 1, 0), (1, 99, 0)))
    report = audit_report(labels, range(400), truth[:400])
    assert report.uncorrected == ""
    assert report.corrected[0].low <= 0.5 <= report.corrected[0].high
    assert report.corrected[0].raw == pytest.approx(0.375, abs=0.03)
    assert report.recognised[0].difference.high < 0  # recognised less often than on real images
    assert report.recognised[1].difference.low <= 0 <= report.recognised[1].difference.high


@pytest.mark.parametrize(
    ("people", "machine", "reason"),
    [
        (["a", "b", "c"] * 20, ["a", "b", "c"] * 20, "every image was audited"),
        (["a", "b"] * 30, ["a", "b", "c"] * 30, "people saw no c"),
        (["a", "b", "unknown"] * 20, ["a", "b", "c"] * 30, "could not tell 20 of 60"),
        (["a", "b", "c"] * 20, ["b", "c", "a"] * 30, "J"),
    ],
)
def test_where_shares_cannot_be_corrected_it_says_why_and_the_others_stand(people, machine, reason):
    report = audit_report(labelled(machine), range(60), np.array(people))
    assert report.corrected == ()
    assert reason in report.uncorrected
    assert len(report.shares) == 4


def test_every_image_audited_leaves_peoples_labels_alone():
    report = audit_report(labelled(["a", "b"]), [0, 1], np.array(["a", "a"]))
    assert report.shares[0].powered is None
    assert report.shares[0].people.high == 1.0


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(DataError, match="not among the classes"):
        audit_report(labelled(["a", "b"]), [0], np.array(["old"]))
