from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_fairness.phantoms import chosen_share, classified
from ldm_eval_fairness.representation import Representation
from scipy.special import bdtr, bdtrc

from ldm_eval.api import AttributeLabels, CheckSpec, ConfusionCounts, Figure, Invalid, Measurement, NotApplicable, Table
from ldm_eval.errors import ConfigError
from ldm_eval.testing.conformance import assert_conforms
from ldm_eval.testing.evidence import PhantomEvidence

CLASSES = tuple("0123456789")


def evidence(labels, **parameters):
    return PhantomEvidence("fairness/representation", 0, attributes={"samples": labels}, parameters=parameters)


def two_groups(*, a=500, b=500, unknown=0, rows=((189, 11, 0), (4, 196, 0)), declared=None):
    return AttributeLabels(
        attribute="perceived age band",
        classifier="test",
        limits="Limits of the test.",
        labels=np.array(["a"] * a + ["b"] * b + ["unknown"] * unknown),
        confusion=ConfusionCounts(("a", "b"), rows, "test images"),
        declared={"a": 0.5, "b": 0.5} if declared is None else declared,
    )


def measure(given, name="worst_share_gap", group=None):
    findings = Representation().run(given)
    assert not isinstance(findings, NotApplicable | Invalid), findings
    return next(f for f in findings if isinstance(f, Measurement) and f.name == name and f.group == group)


def test_it_conforms_to_the_kit_on_both_phantoms():
    assert_conforms(CheckSpec.of(Representation), seeds=60)


def test_the_known_answer_reaches_the_measurement():
    share = measure(evidence(two_groups(a=305, b=195)), "corrected_share", "a")
    assert share.value == pytest.approx(0.63784, abs=1e-5)
    assert (share.interval.low, share.interval.high) == (
        pytest.approx(0.58668, abs=1e-5),
        pytest.approx(0.69159, abs=1e-5),
    )
    assert (share.n, share.direction, share.signature["target"]) == (500, "target", 0.5)
    assert "gap +0.138" in share.note


def test_a_fair_generator_is_left_alone_and_a_gap_of_ten_points_is_caught():
    seeds = 100
    quiet = sum(measure(chosen_share(seed)).interval.low > 0 for seed in range(seeds))
    caught = sum(measure(chosen_share(seed, share=0.4)).interval.low > 0 for seed in range(seeds))
    assert bdtrc(quiet - 1, seeds, 0.05) > 1e-3
    assert bdtr(caught, seeds, 0.95) > 1e-3


@pytest.mark.parametrize("setting", [{}, {"sensitivity": 0.8, "specificity": 0.9}, {"unknown": 0.15}, {"share": 0.1}])
def test_the_interval_holds_the_chosen_share(setting):
    seeds, truth = 150, setting.get("share", 0.5)
    found = [measure(chosen_share(seed, **setting), "corrected_share", "a").interval for seed in range(seeds)]
    assert bdtr(sum(each.low <= truth <= each.high for each in found), seeds, 0.95) > 1e-3


def test_ten_fair_classes_are_left_alone_and_a_missing_one_is_caught():
    rates = np.full((10, 11), 0.05 / 9)
    np.fill_diagonal(rates, 0.93)
    rates[:, -1] = 0.02
    even, without = np.full(10, 0.1), np.array([0.0] + [1 / 9] * 9)

    def low(seed, shares):
        labels = classified(
            np.random.default_rng(seed),
            classes=CLASSES,
            shares=shares,
            confusion=rates,
            n=1000,
            labelled=90,
            declared=even,
        )
        return measure(evidence(labels)).interval.low

    assert bdtrc(sum(low(seed, even) > 0 for seed in range(40)) - 1, 40, 0.05) > 1e-3
    assert all(low(seed, without) > 0.05 for seed in range(10))


def test_targets_are_training_shares_equal_shares_or_the_users():
    labels = two_groups(declared={"a": 0.7, "b": 0.2, "unknown": 0.1})
    assert measure(evidence(labels), "corrected_share", "a").signature["target"] == pytest.approx(7 / 9)
    assert measure(evidence(labels, target="uniform"), "corrected_share", "a").signature["target"] == 0.5
    table = {"target.a": 0.25, "target.b": 0.75}
    assert measure(evidence(labels, **table), "corrected_share", "a").signature["target"] == 0.25


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"target": "uniformly"}, "Did you mean 'uniform'"),
        ({"target.a": 0.5}, "missing: b"),
        ({"target.a": 0.5, "target.c": 0.5}, "does not tell"),
        ({"target.a": 0.5, "target.b": 0.6}, "sum to 1.1"),
        ({"target.a": "half", "target.b": 0.5}, "from 0 to 1"),
        ({"target.a": 1.5, "target.b": -0.5}, "from 0 to 1"),
        ({"target": "uniform", "target.a": 0.5, "target.b": 0.5}, "leave one out"),
        ({"level": 95}, "between 0 and 1"),
    ],
)
def test_settings_that_cannot_be_used_are_explained(parameters, message):
    with pytest.raises(ConfigError, match=message):
        Representation().run(evidence(two_groups(), **parameters))


def test_without_labels_in_the_training_data_there_is_no_target():
    outcome = Representation().run(evidence(two_groups(declared={})))
    assert isinstance(outcome, NotApplicable)
    assert "target" in outcome.reason


def test_a_target_class_that_the_classifier_cannot_tell_is_invalid():
    outcome = Representation().run(evidence(two_groups(declared={"a": 0.5, "c": 0.5})))
    assert isinstance(outcome, Invalid)
    assert "cannot tell" in outcome.reason


def test_it_abstains_when_the_classifier_says_too_little():
    outcome = Representation().run(evidence(two_groups(rows=((140, 60, 0), (60, 140, 0)))))
    assert isinstance(outcome, Invalid)
    assert "0.40" in outcome.reason


def test_it_abstains_when_nothing_was_labelled():
    assert isinstance(Representation().run(evidence(two_groups(a=0, b=0, unknown=200))), Invalid)


def test_it_abstains_when_no_share_explains_the_labels():
    outcome = Representation().run(evidence(two_groups(a=0, b=1000, rows=((190, 10, 0), (40, 160, 0)))))
    assert isinstance(outcome, Invalid)
    assert "which no true share explains" in outcome.reason


def test_many_unlabelled_images_widen_every_interval_to_the_worst_case():
    few, many = two_groups(a=450, b=450, unknown=100), two_groups(a=350, b=350, unknown=300)
    narrow, wide = measure(evidence(few)).interval, measure(evidence(many)).interval
    assert wide.high - wide.low > 0.1 + narrow.high - narrow.low
    assert "worst case" in wide.estimator
    assert "Inconclusive by itself" in measure(evidence(many)).note
    share = measure(evidence(many), "corrected_share", "a").interval
    assert share.low < 0.35
    assert share.high > 0.65
    assert measure(evidence(many), "unknown_share").value == pytest.approx(0.3)


def test_a_gap_that_no_unlabelled_image_could_close_is_still_found():
    assert measure(evidence(two_groups(a=50, b=700, unknown=250))).interval.low > 0.1


def test_the_reader_is_told_whether_samples_or_labels_are_missing():
    assert "takes" in measure(evidence(two_groups())).note
    assert "not more samples" in measure(evidence(two_groups(rows=((17, 3, 0), (2, 18, 0))))).note


def test_two_runs_with_other_classifier_errors_have_other_signatures():
    one, same, other = (
        measure(evidence(labels)).signature
        for labels in (two_groups(), two_groups(), two_groups(rows=((190, 10, 0), (4, 196, 0))))
    )
    assert one == same
    assert one["classifier_errors"] != other["classifier_errors"]


def test_a_policy_can_pin_the_level_that_decides_how_wide_an_interval_is():
    weak = evidence(two_groups(), level=0.5)
    assert measure(weak).signature["level"] == measure(weak, "corrected_share", "a").signature["level"] == 0.5
    assert measure(evidence(two_groups())).signature["level"] == 0.95


def test_table_and_figure_show_every_class_beside_its_target():
    findings = Representation().run(evidence(two_groups(a=300, b=600, unknown=100)))
    table = next(f for f in findings if isinstance(f, Table))
    figure = next(f for f in findings if isinstance(f, Figure))
    assert [row[0] for row in table.rows] == ["a", "b"]
    assert table.rows[0][:4] == ("a", 0.5, 0.3, 0.4)
    assert table.rows[0][-1] == 200
    assert "Limits of the test." in table.note
    assert figure.series[0].x == figure.series[1].x == ("a", "b")
    assert figure.series[1].y == (0.5, 0.5)


def test_labels_outside_the_classes_are_invalid():
    labels = replace(two_groups(), labels=np.array(["a", "b", "z"] * 50))
    assert isinstance(Representation().run(evidence(labels)), Invalid)
