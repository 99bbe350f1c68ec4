from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_privacy.group_leakage import GroupLeakage
from ldm_eval_privacy.group_phantoms import partial_copier
from ldm_eval_privacy.phantoms import smooth_images
from scipy.stats import binom, fisher_exact

from ldm_eval.api import CANARY, Figure, Measurement, NotApplicable, Table
from ldm_eval.errors import ConfigError
from ldm_eval.testing.evidence import PhantomEvidence, image_set

ALARM = GroupLeakage.phantoms.alarm


def run(evidence):
    return GroupLeakage().run(evidence)


def gap(findings):
    return next(one for one in findings if isinstance(one, Measurement) and one.name == "reproduction_gap")


def shares(findings):
    return {one.group: one for one in findings if isinstance(one, Measurement) and one.name == "reproduced_share"}


def rows(findings):
    return next(one for one in findings if isinstance(one, Table)).rows


def evidence(samples, training, **groups):
    seen = replace(image_set(training, "training"), groups={name: np.array(of) for name, of in groups.items()})
    return PhantomEvidence(
        "privacy/group_leakage", 0, images={"samples": image_set(samples, "samples"), "training": seen}
    )


def fresh(n, seed=0):
    return smooth_images(np.random.default_rng(seed), n)


def reproducing(counts, sizes, samples=200):
    """Training images of groups ``a``, ``b``, ...: so many of each, so many of them reproduced once."""
    training = fresh(sum(sizes), 1)
    names = np.repeat(np.array(list("abcdef"))[: len(sizes)], sizes)
    first = np.cumsum([0, *sizes[:-1]])
    copied = np.concatenate([training[start : start + k] for start, k in zip(first, counts, strict=True)])
    return evidence(np.concatenate([copied, fresh(samples - len(copied), 2)]), training, side=names.tolist())


def test_copies_of_one_group_are_caught_and_copies_of_all_are_left_alone():
    assert all(ALARM.raised_by(gap(run(partial_copier(seed)))) for seed in range(10))
    seeds = 60
    found = [gap(run(partial_copier(seed, skewed=False))) for seed in range(seeds)]
    assert sum(map(ALARM.raised_by, found)) <= binom.ppf(0.999, seeds, 0.05)
    assert sum(one.interval.low <= 0 <= one.interval.high for one in found) >= binom.ppf(0.001, seeds, 0.95)


def test_the_true_gap_lies_in_the_interval():
    truth = 1 - (1 - 0.15 / 200) ** 400
    found = [gap(run(partial_copier(seed))) for seed in range(40)]
    assert sum(one.interval.low <= truth <= one.interval.high for one in found) >= binom.ppf(0.001, 40, 0.95)
    assert "'glasses: yes'" in found[0].note


def test_shares_and_tests_are_those_of_the_counts():
    findings = run(reproducing((20, 5, 8), (60, 50, 40)))
    assert shares(findings)["side: a"].value == 20 / 60
    assert [row[1:5] for row in rows(findings)] == [("a", 60, 20, 20), ("b", 50, 5, 5), ("c", 40, 8, 8)]
    raw = [fisher_exact([[k, n - k], [33 - k, 117 - n + k]]).pvalue for k, n in ((20, 60), (5, 50), (8, 40))]
    assert min(row[5] for row in rows(findings)) == pytest.approx(3 * min(raw), abs=1e-6)
    assert gap(findings).value == pytest.approx(20 / 60 - 13 / 90)


def test_two_groups_are_one_comparison():
    found = rows(run(reproducing((15, 5), (50, 50))))
    expected = fisher_exact([[15, 35], [5, 45]]).pvalue
    assert [row[5] for row in found] == pytest.approx([expected, expected], abs=1e-6)


def test_small_groups_are_put_together_so_that_no_difference_gives_them_away():
    findings = run(reproducing((20, 3, 0, 2), (60, 50, 40, 4)))
    assert [row[1:5] for row in rows(findings)] == [("a", 60, 20, 20), ("b or d", 54, 5, 5), ("c", 40, 0, 0)]
    assert set(shares(findings)) == {"side: a", "side: b or d", "side: c"}
    figure = next(one for one in findings if isinstance(one, Figure))
    assert figure.series[0].x == ("side: a", "side: b or d", "side: c")


def public(findings):
    """All that leaves the run, as text."""
    return repr([replace(one, signature={}) if isinstance(one, Measurement) else one for one in findings])


def test_of_two_groups_nothing_tells_how_small_the_small_count_is():
    one, other = (run(reproducing((k, 30 - k), (60, 60))) for k in (1, 4))
    assert public(one) == public(other)
    assert [row[3:5] for row in rows(one)] == [("withheld", "withheld")] * 2
    assert not shares(one)


def test_a_withheld_count_hides_no_leak_and_its_interval_holds_the_truth():
    for k in (1, 2, 3, 4):
        found = gap(run(reproducing((k, 30 - k), (60, 60))))
        assert ALARM.raised_by(found)
        assert found.interval.low < (30 - 2 * k) / 60 < found.interval.high
    level = gap(run(reproducing((4, 4), (60, 60))))
    assert not ALARM.raised_by(level)


def test_a_clean_result_says_the_smallest_gap_that_would_have_been_seen():
    assert "could have seen (with probability 0.95) is 1" in gap(run(reproducing((10, 10), (100, 100)))).note


def test_an_image_that_is_there_a_hundred_times_counts_once():
    training, extra = fresh(100, 1), 99
    seen = np.concatenate([training, np.repeat(training[:1], extra, axis=0)])
    side = ["a", "b"] * 50 + ["a"] * extra
    samples = np.concatenate([np.repeat(training[:1], 50, axis=0), training[1:12], fresh(100, 2)])
    findings = run(evidence(samples, seen, side=side))
    assert [row[2:4] for row in rows(findings)] == [(50, 6), (50, 6)]
    assert rows(findings)[0][4] == 55
    assert not ALARM.raised_by(gap(findings))


def test_unknown_images_and_columns_that_are_no_groups_are_left_out():
    training = fresh(120, 1)
    samples = np.concatenate([training[:40], fresh(60, 2)])
    side = ["a", "b", "unknown"] * 40
    ids = [str(row) for row in range(120)]
    findings = run(evidence(samples, training, side=side, name=ids, one=["x"] * 120, **{CANARY: ["included"] * 120}))
    assert {row[0] for row in rows(findings)} == {"side"}
    assert sum(row[2] for row in rows(findings)) == 80


def test_without_groups_or_without_copies_it_does_not_apply():
    training = fresh(60, 1)
    none = run(evidence(training, training))
    assert isinstance(none, NotApplicable)
    assert "No groups" in none.reason
    quiet = run(evidence(fresh(60, 2), training, side=["a", "b"] * 30))
    assert isinstance(quiet, NotApplicable)
    assert "Fewer than 5" in quiet.reason
    other = run(evidence(np.zeros((60, 1, 8, 8), dtype=np.uint8), training, side=["a", "b"] * 30))
    assert isinstance(other, NotApplicable)
    assert "sizes" in other.reason


def test_duplicates_that_leave_one_group_only_do_not_apply():
    training = np.repeat(fresh(10, 1), 2, axis=0)
    found = run(evidence(np.concatenate([training, fresh(50, 2)]), training, side=["a", "b"] * 10))
    assert isinstance(found, NotApplicable)
    assert "two groups" in found.reason


def test_unknown_settings_are_refused():
    given = partial_copier(0)
    given.parameters = {"most_group": 3.0}
    with pytest.raises(ConfigError, match="Did you mean 'most_groups'"):
        run(given)
