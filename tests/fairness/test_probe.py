from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_fairness.probe import MIN_PER_CLASS, fit_probe

from ldm_eval.api import AttributeContext, LabelledImages
from ldm_eval.errors import DataError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.testing.evidence import image_set


def labelled(seed, n=300, *, shift=3.0, classes=("a", "b", "c"), name="faces", split="train", attribute="band"):
    """Gaussian features ``shift`` apart; a class is a corner."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(len(classes), size=n)
    features = generator.standard_normal((n, 6)) + shift * np.eye(6)[truth]
    images = image_set(np.zeros((n, 1, 2, 2), np.uint8), name, split)
    return LabelledImages(replace(images, groups={attribute: np.array(classes)[truth]}), features.astype(np.float32))


def test_errors_are_counted_on_the_holdout_and_match_fresh_images():
    probe = fit_probe(AttributeContext("band", labelled(0), labelled(1, 2000, split="holdout"), 0))
    counts = np.array(probe.confusion.counts)
    assert counts.shape == (3, 4)
    assert counts.sum() == 2000
    assert probe.confusion.classes == ("a", "b", "c")
    fresh = labelled(2, 4000)
    given = probe.classify(fresh.images.rgb(), fresh.features)
    truth = fresh.images.groups["band"]
    rates = [[np.mean(given[truth == c] == label) for label in ("a", "b", "c", "unknown")] for c in ("a", "b", "c")]
    assert np.array(rates) == pytest.approx(counts / counts.sum(axis=1, keepdims=True), abs=0.04)
    assert "faces:holdout" in probe.confusion.source
    assert "may differ on generated" in probe.limits


def test_digits_are_recognised_from_their_pixels():
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = image_set(np.zeros((len(digits.target), 1, 2, 2), np.uint8), "digits")
    given = LabelledImages(replace(images, groups={"digit": digits.target.astype(str)}), digits.data.astype(np.float32))
    counts = np.array(fit_probe(AttributeContext("digit", given, None, 0)).confusion.counts)
    assert np.trace(counts) / counts.sum() > 0.9
    assert counts.sum() == pytest.approx(len(digits.target) / 2, abs=10)


def test_images_the_probe_is_unsure_of_are_unknown():
    context = AttributeContext("band", labelled(0, shift=1.0), labelled(1, shift=1.0), 0)
    probe = fit_probe(context)
    assert np.array(probe.confusion.counts)[:, -1].sum() > 30
    middle = np.full((1, 6), 1 / 3, dtype=np.float32)
    assert probe.classify(np.zeros((1, 3, 2, 2), np.uint8), middle).tolist() == ["unknown"]


@pytest.mark.parametrize("side", ["training", "holdout"])
def test_one_labelled_set_is_split_and_never_judged_on_what_it_was_fitted_on(side):
    only = labelled(0, 400, shift=0.0)
    context = AttributeContext("band", only if side == "training" else None, only if side == "holdout" else None, 3)
    probe = fit_probe(context)
    counts = np.array(probe.confusion.counts)
    assert counts.sum() == pytest.approx(200, abs=3)
    # nothing to learn: fitted and judged on the same images it would look better than chance
    assert np.trace(counts) < 0.45 * counts.sum()
    again = fit_probe(context)
    assert again.confusion == probe.confusion
    assert fit_probe(replace(context, seed=4)).confusion != probe.confusion


def test_unknown_truth_is_left_out():
    training = labelled(0)
    groups = training.images.groups["band"].astype("<U7")
    groups[:100] = "unknown"
    training = LabelledImages(replace(training.images, groups={"band": groups}), training.features)
    probe = fit_probe(AttributeContext("band", training, labelled(1), 0))
    assert "200 labelled" in probe.limits
    assert probe.confusion.classes == ("a", "b", "c")


def test_too_few_labelled_images_of_a_class_are_named():
    training = labelled(0)
    rows = np.flatnonzero(training.images.groups["band"] == "c")[MIN_PER_CLASS - 1 :]
    groups = training.images.groups["band"].astype("<U7")
    groups[rows] = "unknown"
    short = LabelledImages(replace(training.images, groups={"band": groups}), training.features)
    with pytest.raises(DataError, match=r"'c' 19.*Label more"):
        fit_probe(AttributeContext("band", short, labelled(1), 0))
    with pytest.raises(DataError, match="count its errors"):
        fit_probe(AttributeContext("band", labelled(1), short, 0))


def test_a_class_without_training_images_is_refused():
    with pytest.raises(DataError, match="'c' 0"):
        fit_probe(AttributeContext("band", labelled(0, classes=("a", "b")), labelled(1), 0))


def test_one_class_alone_is_refused():
    with pytest.raises(DataError, match="two classes"):
        fit_probe(AttributeContext("band", labelled(0, classes=("a",)), labelled(1, classes=("a",)), 0))


def test_missing_labels_say_what_there_is():
    with pytest.raises(DataError, match=r"they carry band.*Did you mean 'band'"):
        fit_probe(AttributeContext("bands", labelled(0), None, 0))
    with pytest.raises(DataError, match="no groups"):
        fit_probe(AttributeContext("band", None, None, 0))


def test_images_without_features_are_refused():
    probe = fit_probe(AttributeContext("band", labelled(0), labelled(1), 0))
    with pytest.raises(DataError, match="2 images and 1"):
        probe.classify(np.zeros((2, 3, 2, 2), np.uint8), np.zeros((1, 6), np.float32))


def test_the_plugin_offers_the_check_the_suite_and_the_probe():
    catalogue = Catalogue.discover(disabled=["fairness"], extra=["ldm_eval_fairness"])
    assert "fairness/representation" in catalogue.checks
    assert catalogue.suites["fairness"].checks == ("fairness/*",)
    spec = catalogue.attribute_classifiers["probe"]
    assert spec.needs_labels
    assert spec.load(AttributeContext("band", labelled(0), labelled(1), 0)).name == "probe"
