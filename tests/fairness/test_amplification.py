from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_fairness.amplification import Amplification
from ldm_eval_fairness.group_phantoms import amplified_share
from scipy.special import bdtr, bdtrc

from ldm_eval.api import CheckSpec, ConfusionCounts, Invalid, Measurement, NotApplicable
from ldm_eval.errors import ConfigError
from ldm_eval.testing.conformance import assert_conforms
from ldm_eval.testing.evidence import PhantomEvidence


def measure(given, name="amplification", group=None):
    findings = Amplification().run(given)
    assert not isinstance(findings, NotApplicable | Invalid), findings
    return next(f for f in findings if isinstance(f, Measurement) and (f.name, f.group) == (name, group))


def changed(given, *, parameters=None, **fields):
    """The same evidence with settings, or fields of the labels of both sets, exchanged."""
    roles = ("samples", "training")
    return PhantomEvidence(
        given.check,
        given.seed,
        images={role: given.images(role) for role in roles},
        attributes={role: replace(given.attributes(role), **fields) for role in roles},
        parameters=parameters,
    )


def test_it_conforms_to_the_kit_on_both_phantoms():
    assert_conforms(CheckSpec.of(Amplification), seeds=60)


@pytest.mark.parametrize(
    "given",
    [
        {"share": 0.6},
        {"share": 0.75, "n": 200, "labelled": 50},
        {"share": 0.6, "sensitivity": 0.8, "specificity": 0.9},
        {"share": 0.95, "training": 0.95, "n": 300},
    ],
)
def test_the_interval_holds_the_chosen_amplification(given):
    seeds, truth = 150, given["share"] - given.get("training", 0.6)
    found = [measure(amplified_share(seed, **given)).interval for seed in range(seeds)]
    assert bdtr(sum(one.low <= truth <= one.high for one in found), seeds, 0.95) > 1e-3


def test_less_skew_than_the_training_data_is_no_alarm_and_even_data_are_left_alone():
    seeds = 60
    assert not any(measure(amplified_share(seed, share=0.5)).interval.low > 0 for seed in range(seeds))
    even = [Amplification().run(amplified_share(seed, share=0.5, training=0.5)) for seed in range(seeds)]
    alarms = sum(not isinstance(one, NotApplicable) and one[0].interval.low > 0 for one in even)
    assert bdtrc(alarms - 1, seeds, 0.05) > 1e-3


def test_the_smaller_group_of_the_training_data_is_no_excess():
    given = amplified_share(2, share=0.3, training=0.4)
    found = measure(given)
    assert found.value == pytest.approx(0.1, abs=0.05)
    assert found.signature["larger_groups"] == "b"
    assert measure(given, "share_change", "a").value == pytest.approx(-found.value)


def test_the_probe_is_not_asked_about_images_it_was_fitted_on():
    declared = {"a": 0.6, "b": 0.4}
    given = changed(amplified_share(0, share=0.7), classifier="probe", declared=declared)
    found = measure(given)
    assert found.signature["training_shares"] == "labels that came with the training data"
    assert found.interval.low > 0
    assert measure(given, "share_change", "a").note.startswith("0.600 of the training data")
    asked = changed(given, parameters={"training_shares": "classifier"})
    assert measure(asked).signature["training_shares"] == "the same classifier"
    unlabelled = Amplification().run(changed(given, declared={}))
    assert isinstance(unlabelled, NotApplicable)


def test_an_impossible_share_a_poor_classifier_and_many_unknown_give_no_number():
    perfect = ConfusionCounts(("a", "b"), ((200, 0, 0), (60, 140, 0)), "test")
    found = Amplification().run(changed(amplified_share(0, share=0.1, training=0.6), confusion=perfect))
    assert isinstance(found, Invalid)
    assert "no true share explains" in found.reason
    poor = ConfusionCounts(("a", "b"), ((140, 60, 0), (60, 140, 0)), "test")
    found = Amplification().run(changed(amplified_share(0), confusion=poor))
    assert isinstance(found, Invalid)
    assert "Youden" in found.reason
    given = amplified_share(0)
    labels = given.attributes("training").labels.astype("<U9")
    labels[:400] = "unknown"
    withheld = PhantomEvidence(
        given.check,
        0,
        images={role: given.images(role) for role in ("samples", "training")},
        attributes={
            "samples": given.attributes("samples"),
            "training": replace(given.attributes("training"), labels=labels),
        },
    )
    found = Amplification().run(withheld)
    assert isinstance(found, Invalid)
    assert "25%" in found.reason


def test_even_training_labels_have_no_skew_to_exaggerate():
    found = Amplification().run(changed(amplified_share(0), classifier="probe", declared={"a": 0.5, "b": 0.5}))
    assert isinstance(found, NotApplicable)


def test_an_unknown_setting_is_refused():
    with pytest.raises(ConfigError, match="classifier, labels"):
        Amplification().run(changed(amplified_share(0), parameters={"training_shares": "guess"}))


def test_more_skew_is_positive_and_less_negative():
    more, less = measure(amplified_share(0, share=0.7)), measure(amplified_share(0, share=0.5))
    assert more.value > 0 > less.value
    assert np.isclose(more.value + 0.6, 0.7, atol=0.05)
