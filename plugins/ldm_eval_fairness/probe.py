"""The classifier ``probe``: told by the user's own labels what the groups are, and counted on images it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import UNKNOWN, AttributeClassifier, AttributeContext, ConfusionCounts, LabelledImages
from ldm_eval.errors import DataError, did_you_mean
from ldm_eval.stats.linear import LinearClassifier, fit_logistic

__all__ = ["CONFIDENCE", "MIN_PER_CLASS", "PENALTY", "Probe", "fit_probe"]

CONFIDENCE = 0.6
"""An image whose most probable class is less probable than this gets the label ``"unknown"``. Fixed beforehand, not
tuned: the errors are counted with the same rule, so that the correction of shares accounts for it."""

MIN_PER_CLASS = 20
"""Fewer labelled images of a class than this, to fit on or to count errors on, are refused."""

PENALTY = 0.003
"""Ridge penalty on standardised features; fixed beforehand (on MNIST, where 0.003 to 0.1 recognise 92 to 85 %)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Labelled:
    """``features (N, D)`` of real images whose group is known, their ``truth (N,)``, and where they came from."""

    features: NDArray[np.float32]
    truth: NDArray[np.str_]
    source: str

    def part(self, rows: NDArray[np.int64], source: str) -> _Labelled:
        return _Labelled(self.features[rows], self.truth[rows], source)


@final
class Probe:
    """A logistic regression on features, with its errors on labelled images it was not fitted on."""

    name = "probe"
    licence = "Apache-2.0"

    def __init__(self, attribute: str, classifier: LinearClassifier, fitted: str, counted: _Labelled) -> None:
        """Count the errors of ``classifier`` on ``counted``."""
        self.attribute = attribute
        self._classifier = classifier
        self.confusion = _confusion(self._label(counted.features), counted, classifier)
        self.limits = (
            f"A linear classifier fitted on {fitted}; its errors are those on other real images and may differ on "
            "generated ones."
        )

    def classify(self, images: NDArray[np.uint8], features: NDArray[np.float32]) -> NDArray[np.str_]:
        """``(N, D)`` features -> ``(N,)`` class names or ``"unknown"``; the pixels are not looked at."""
        if len(images) != len(features):
            raise DataError(f"Each image needs its features; found {len(images)} images and {len(features)} features.")
        return self._label(features)

    def _label(self, features: NDArray[np.float32]) -> NDArray[np.str_]:
        chances = self._classifier.probabilities(features)
        names = np.array([*self._classifier.classes, UNKNOWN])
        best = chances.argmax(axis=1)
        best[chances.max(axis=1) < CONFIDENCE] = len(names) - 1
        labels: NDArray[np.str_] = names[best]
        return labels


def fit_probe(context: AttributeContext) -> AttributeClassifier:
    """Fit on the training images and count errors on the holdout; with one labelled set only, on a half of it each.

    Images whose group is ``"unknown"`` are left out of both.

    Raises:
        DataError: when neither set is labelled, or a class has too few labelled images.
    """
    training = _labelled(context.training, context.attribute)
    holdout = _labelled(context.holdout, context.attribute)
    only = training if training is not None else holdout
    if only is None:
        raise DataError(_nothing_labelled(context))
    if training is not None and holdout is not None:
        fit_on, count_on = training, holdout
    else:
        fit_on, count_on = _halves(only, context.seed)
    classes = np.unique(np.concatenate([fit_on.truth, count_on.truth]))
    if len(classes) < 2:
        raise DataError(
            f"A probe for '{context.attribute}' needs labelled images of two classes or more; found {classes.tolist()}."
        )
    for labelled, purpose in ((fit_on, "to fit on"), (count_on, "to count its errors on")):
        _refuse_few(labelled, classes, context.attribute, purpose)
    classifier = fit_logistic(fit_on.features, fit_on.truth, penalty=PENALTY)
    return Probe(context.attribute, classifier, fit_on.source, count_on)


def _labelled(given: LabelledImages | None, attribute: str) -> _Labelled | None:
    if given is None or attribute not in given.images.groups:
        return None
    truth = np.asarray(given.images.groups[attribute])
    rows = np.flatnonzero(truth != UNKNOWN)
    if not len(rows):
        return None
    where = f"{given.images.name}:{given.images.split}" if given.images.split else given.images.name
    return _Labelled(given.features[rows], truth[rows], f"{len(rows):,} labelled real images of {where}")


def _halves(labelled: _Labelled, seed: int) -> tuple[_Labelled, _Labelled]:
    """Split one set in two, class by class, so that both halves hold every class."""
    generator = np.random.Generator(np.random.PCG64(seed))
    fit_rows, count_rows = [], []
    for name in np.unique(labelled.truth):
        rows = generator.permutation(np.flatnonzero(labelled.truth == name))
        fit_rows.append(rows[: len(rows) // 2])
        count_rows.append(rows[len(rows) // 2 :])
    fitted, counted = np.sort(np.concatenate(fit_rows)), np.sort(np.concatenate(count_rows))
    return (
        labelled.part(fitted, f"a half ({len(fitted):,}) of {labelled.source}"),
        labelled.part(counted, f"the other half ({len(counted):,}) of {labelled.source}"),
    )


def _confusion(given: NDArray[np.str_], counted: _Labelled, classifier: LinearClassifier) -> ConfusionCounts:
    classes = tuple(str(name) for name in classifier.classes)
    rows = []
    for name in classes:
        of_class = given[counted.truth == name]
        rows.append(tuple(int(np.count_nonzero(of_class == label)) for label in (*classes, UNKNOWN)))
    return ConfusionCounts(classes, tuple(rows), counted.source)


def _refuse_few(labelled: _Labelled, classes: NDArray[np.str_], attribute: str, purpose: str) -> None:
    few = {str(name): int(np.count_nonzero(labelled.truth == name)) for name in classes}
    few = {name: count for name, count in few.items() if count < MIN_PER_CLASS}
    if few:
        found = ", ".join(f"'{name}' {count}" for name, count in few.items())
        raise DataError(
            f"The probe for '{attribute}' needs {MIN_PER_CLASS} labelled images of each class {purpose}; "
            f"{labelled.source} hold too few: {found}. Label more of them, or mark these images '{UNKNOWN}'."
        )


def _nothing_labelled(context: AttributeContext) -> str:
    known = sorted(
        {name for given in (context.training, context.holdout) if given is not None for name in given.images.groups}
    )
    offered = f"they carry {', '.join(known)}" if known else "they carry no groups"
    return (
        f"No training or holdout image has a label for '{context.attribute}'; {offered}."
        f"{did_you_mean(context.attribute, known)} Put a CSV with that column beside the data."
    )
