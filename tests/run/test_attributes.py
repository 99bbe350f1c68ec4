"""Which attribute classifier a run uses when the user names none."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ldm_eval.api import AttributeClassifierSpec
from ldm_eval.errors import ConfigError
from ldm_eval.run.attributes import plan_attributes
from ldm_eval.run.config import resolve_config
from ldm_eval.testing.evidence import image_set


def classifier(name, **fields):
    return AttributeClassifierSpec(name, "for a test", True, lambda context: None, **fields)


LEARNS = classifier("learns")
TONES = classifier("tones", attribute="skin tone", made_for=("portraits",))
AGES = classifier("ages", attribute="age band", made_for=("portraits",))


def planned(data="portraits", columns=("skin tone", "age band"), **settings):
    groups = {name: np.array(["a", "b"]) for name in columns}
    training = replace(image_set(np.zeros((2, 1, 2, 2), np.uint8), data), groups=groups)
    known = {spec.name: spec for spec in (LEARNS, TONES, AGES)}
    catalogue = SimpleNamespace(attribute_classifiers=known)
    return plan_attributes(resolve_config({"model": "m", **settings}, {}).config, {"training": training}, catalogue)


def test_a_classifier_made_for_the_data_is_used_and_brings_its_attribute():
    assert (planned().classifier, planned().attribute) == (TONES, "skin tone")


def test_the_attribute_chooses_between_classifiers_made_for_the_data():
    assert planned(attribute="age band").classifier is AGES


def test_other_data_get_the_classifier_that_learns_from_labels():
    plan = planned(data="others", columns=("kind",))
    assert (plan.classifier, plan.attribute) == (LEARNS, "kind")


def test_several_columns_and_no_classifier_made_for_them_ask_for_a_choice():
    assert "--attribute" in planned(data="others").reason


def test_a_classifier_is_not_asked_for_what_it_cannot_tell():
    with pytest.raises(ConfigError, match="tells 'skin tone' only"):
        planned(attribute="age band", attribute_classifier="tones")
