"""Which groups are told apart by what, and the labels of every image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import (
    UNKNOWN,
    AttributeClassifierSpec,
    AttributeContext,
    AttributeLabels,
    ImageSet,
    LabelledImages,
    Role,
)
from ldm_eval.errors import ConfigError, DataError, did_you_mean
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig

__all__ = ["AttributePlan", "label_sets", "plan_attributes"]


@dataclass(frozen=True, slots=True)
class AttributePlan:
    """Which groups will be told apart by what, or why not (``reason``)."""

    attribute: str = ""
    classifier: AttributeClassifierSpec | None = None
    reason: str = ""


def plan_attributes(config: RunConfig, sets: Mapping[Role, ImageSet], catalogue: Catalogue) -> AttributePlan:
    """Choose the group column and the classifier.

    Raises:
        ConfigError: when the user names one that is not there.
    """
    columns = sorted({name for role in ("training", "holdout") if role in sets for name in sets[role].groups})
    known = catalogue.attribute_classifiers
    if config.attribute_classifier and config.attribute_classifier not in known:
        hint = did_you_mean(config.attribute_classifier, known)
        raise ConfigError(
            f"--attribute-classifier {config.attribute_classifier}: there is no such classifier.{hint} "
            f"Known: {', '.join(sorted(known))}."
        )
    if config.attribute and columns and config.attribute not in columns:
        hint = did_you_mean(config.attribute, columns)
        raise ConfigError(f"--attribute {config.attribute}: the data have the columns {', '.join(columns)}.{hint}")
    names = {sets[role].name for role in ("training", "holdout") if role in sets}
    spec = known.get(config.attribute_classifier) or _default_classifier(names, config.attribute, known)
    if spec is None:
        return AttributePlan(reason="needs an attribute classifier, and none is installed")
    if spec.attribute and config.attribute not in ("", spec.attribute):
        raise ConfigError(
            f"--attribute {config.attribute}: the classifier '{spec.name}' tells '{spec.attribute}' only. Leave out "
            "--attribute-classifier, or ask for what it tells."
        )
    if not columns and spec.needs_labels:
        return AttributePlan(reason="needs group labels: put a labels.csv with a group column beside the real images")
    if len(columns) > 1 and not (config.attribute or spec.attribute):
        return AttributePlan(
            reason=f"the data have several group columns ({', '.join(columns)}); name one with --attribute"
        )
    return AttributePlan(config.attribute or spec.attribute or (columns[0] if columns else ""), spec)


def _default_classifier(
    names: set[str], attribute: str, known: Mapping[str, AttributeClassifierSpec]
) -> AttributeClassifierSpec | None:
    """One that was made for these data and this attribute, else the first that is not made for particular data."""
    made = [spec for spec in known.values() if names & set(spec.made_for) and attribute in ("", spec.attribute)]
    return next(iter([*made, *(spec for spec in known.values() if not spec.made_for)]), None)


def label_sets(
    plan: AttributePlan,
    roles: tuple[Role, ...],
    sets: Mapping[Role, ImageSet],
    features: Mapping[str, str],
    seed: int,
) -> dict[Role, AttributeLabels]:
    """Fit or load the attribute classifier and label the images in ``roles``; ``features``: image digest -> file.

    Raises:
        DataError: when the labelled data are not enough for the classifier.
    """
    if plan.classifier is None:
        raise DataError(plan.reason)

    def labelled(role: Role) -> LabelledImages | None:
        if role not in sets or plan.attribute not in sets[role].groups:
            return None
        return LabelledImages(sets[role], _values(sets[role], features))

    context = AttributeContext(plan.attribute, labelled("training"), labelled("holdout"), seed)
    classifier = plan.classifier.load(context)
    declared = _shares(sets["training"].groups[plan.attribute]) if context.training else {}
    return {
        role: AttributeLabels(
            classifier.attribute,
            classifier.name,
            classifier.limits,
            classifier.classify(sets[role].rgb(), _values(sets[role], features)),
            classifier.confusion,
            declared,
        )
        for role in roles
    }


def _values(images: ImageSet, features: Mapping[str, str]) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.load(features[images.digest], mmap_mode="r", allow_pickle=False)
    return array


def _shares(groups: NDArray[np.str_]) -> dict[str, float]:
    counts = Counter(str(group) for group in groups if group != UNKNOWN)
    total = sum(counts.values())
    return {name: count / total for name, count in sorted(counts.items())}
