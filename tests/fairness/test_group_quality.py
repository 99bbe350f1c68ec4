from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_fairness.group_phantoms import drawn_groups
from ldm_eval_fairness.group_quality import GroupQuality
from ldm_eval_fairness.purity import purities
from scipy.special import bdtrc

from ldm_eval.api import CheckSpec, ConfusionCounts, Invalid, Measurement, NotApplicable, Table
from ldm_eval.errors import ConfigError, EvidenceError
from ldm_eval.testing.conformance import assert_conforms
from ldm_eval.testing.evidence import PhantomEvidence

GAP = "worst_group_kernel_distance_gap"


def measure(given, name=GAP, group=None):
    findings = GroupQuality().run(given)
    assert not isinstance(findings, NotApplicable | Invalid), findings
    return next(f for f in findings if isinstance(f, Measurement) and (f.name, f.group) == (name, group))


def changed(given, *, relabel=None, confusion=None, parameters=None, features=None):
    """The same evidence with labels of the samples, confusion counts, settings or features exchanged."""
    labels = {role: given.attributes(role) for role in ("samples", "reference")}
    if confusion is not None:
        labels = {role: replace(one, confusion=confusion) for role, one in labels.items()}
    if relabel is not None:
        labels["samples"] = replace(labels["samples"], labels=relabel(labels["samples"].labels.astype("<U9")))
    kept = {role: given.features(role) for role in ("samples", "reference")}
    return PhantomEvidence(
        given.check, given.seed, features={**kept, **(features or {})}, attributes=labels, parameters=parameters
    )


def test_it_conforms_to_the_kit_on_both_phantoms():
    assert_conforms(CheckSpec.of(GroupQuality), seeds=60)


@pytest.mark.parametrize(
    "given", [{}, {"n": 100, "m": 200}, {"share": 0.35, "right": 0.985}, {"shift_a": 0.5, "shift_b": 0.5}]
)
def test_groups_drawn_equally_well_or_badly_and_of_changed_shares_raise_no_alarm(given):
    seeds = 60
    alarms = sum(measure(drawn_groups(seed, **given)).interval.low > 0 for seed in range(seeds))
    assert bdtrc(alarms - 1, seeds, 0.05) > 1e-3


def test_the_group_that_is_drawn_badly_is_named_and_stands_above_its_floor():
    given = drawn_groups(3, shift_b=0.5)
    worst = measure(given)
    bad, good = (measure(given, "group_kernel_distance", name) for name in ("b", "a"))
    assert "'b' is drawn farther" in worst.note
    assert worst.value == pytest.approx(bad.value - good.value)
    assert bad.interval.low > bad.floor
    assert good.interval.low < 0.1
    assert (worst.direction, worst.signature["groups"], worst.signature["against"]) == ("lower", "a, b", "reference")


def test_a_group_of_one_picture_shows_in_coverage():
    given = drawn_groups(0)
    features = given.features("samples").copy()
    rows = np.flatnonzero(given.attributes("samples").labels == "b")
    features[rows] = features[rows[0]]
    collapsed = changed(given, features={"samples": features})
    assert measure(collapsed, "worst_group_coverage_gap").interval.low > 0.5
    assert measure(collapsed, "group_coverage", "b").value < 0.1


def test_contributions_are_those_of_the_group_alone():
    given = drawn_groups(1, shift_b=0.5)
    bad = measure(given, "group_kernel_distance", "b")
    kept = given.kept["group_kernel_distance", "b"]
    used = ~np.isnan(kept["samples"])
    assert used.sum() == bad.n
    assert set(given.attributes("samples").labels[used]) == {"b"}


def test_small_groups_are_left_out_with_the_reason_and_one_alone_is_not_compared():
    def rare(labels):
        labels[np.flatnonzero(labels == "b")[20:]] = "a"
        return labels

    found = GroupQuality().run(changed(drawn_groups(0), relabel=rare))
    assert isinstance(found, NotApplicable)
    assert "20 samples, fewer than 30" in found.reason
    found = GroupQuality().run(changed(drawn_groups(0), parameters={"fewest": 400}))
    assert isinstance(found, NotApplicable)


def test_groups_whose_purity_differs_between_the_sets_are_left_out():
    found = GroupQuality().run(drawn_groups(0, share=0.1))
    assert isinstance(found, NotApplicable)
    assert "% of the samples called so are of it" in found.reason


def test_purity_is_bayes_rule():
    confusion = ConfusionCounts(("a", "b"), ((190, 10, 0), (20, 180, 0)), "test")
    observed = np.array([0.3 * 0.95 + 0.7 * 0.1, 0.3 * 0.05 + 0.7 * 0.9, 0.0]) * 10_000
    pure = purities(np.rint(observed).astype(np.int64), confusion)
    assert pure == pytest.approx([0.285 / 0.355, 0.63 / 0.645], abs=1e-3)


def test_many_unlabelled_images_or_a_poor_classifier_give_no_number():
    def withheld(labels):
        labels[: len(labels) // 4] = "unknown"
        return labels

    found = GroupQuality().run(changed(drawn_groups(0), relabel=withheld))
    assert isinstance(found, Invalid)
    assert "25% of the generated images" in found.reason
    poor = ConfusionCounts(("a", "b"), ((140, 60, 0), (60, 140, 0)), "test")
    found = GroupQuality().run(changed(drawn_groups(0), confusion=poor))
    assert isinstance(found, Invalid)
    assert "Youden's J is 0.40" in found.reason


def test_bad_settings_and_features_are_refused():
    with pytest.raises(ConfigError, match="whole number from 10 on"):
        GroupQuality().run(changed(drawn_groups(0), parameters={"fewest": 3}))
    features = drawn_groups(0).features("samples").copy()
    features[7, 0] = np.nan
    with pytest.raises(EvidenceError, match="image 7"):
        GroupQuality().run(changed(drawn_groups(0), features={"samples": features}))


def test_the_table_shows_purity_and_only_aggregates():
    findings = GroupQuality().run(drawn_groups(0))
    table = next(f for f in findings if isinstance(f, Table))
    assert table.columns[3] == "truly so, samples"
    assert len(table.rows) == 2
    assert all(0.9 < row[3] <= 1 for row in table.rows)
