"""Does the model exaggerate the skew of its training data? Both are seen through the same classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import (
    Alarm,
    AttributeLabels,
    Evidence,
    Figure,
    Finding,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    Role,
    Series,
    SignatureValue,
    Table,
)
from ldm_eval.errors import ConfigError, DataError
from ldm_eval.stats.class_shares import corrected_shares, label_counts
from ldm_eval.stats.equivalence import total_variation
from ldm_eval.stats.share_changes import ShareChanges, changes_from_known, changes_from_labels
from ldm_eval_fairness.probe import Probe
from ldm_eval_fairness.purity import too_poor

__all__ = ["Amplification"]

_FACTORY = "ldm_eval_fairness.group_phantoms:amplified_share"
_CHOICES = ("classifier", "labels")
_LEVEL = 0.95
_EVEN = 1e-9


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """What was found; ``larger (K,)`` marks the groups that hold more than an equal share of the training data."""

    labels: AttributeLabels
    found: ShareChanges
    larger: NDArray[np.bool_]
    source: str
    n: int

    @property
    def classes(self) -> tuple[str, ...]:
        return self.labels.confusion.classes

    @property
    def signature(self) -> Mapping[str, SignatureValue]:
        confusion = self.labels.confusion
        return {
            "attribute": self.labels.attribute,
            "classifier": self.labels.classifier,
            "classifier_errors": hashlib.sha256(repr((confusion.classes, confusion.counts)).encode()).hexdigest()[:16],
            "training_shares": self.source,
            "larger_groups": ", ".join(self.names(self.larger)),
        }

    def names(self, chosen: NDArray[np.bool_]) -> list[str]:
        return [name for name, taken in zip(self.classes, chosen, strict=True) if taken]


@final
class Amplification:
    """Joint share of the groups that are over-represented in the training data: generated less training.

    Setting: ``training_shares``, ``"classifier"`` (training images labelled by the same classifier) or ``"labels"``
    (those that came with them; the default for the probe, which is fitted on them and knows them better than samples).
    """

    id: ClassVar[str] = "fairness/amplification"
    title: ClassVar[str] = "Amplification of the training data's skew"
    question: ClassVar[str] = "Does the model exaggerate how uneven the groups of its training data are?"
    settings: ClassVar[tuple[str, ...]] = ("training_shares",)
    planning: ClassVar[Mapping[str, Planning]] = {"*": Planning("mean", perfect=0.0)}
    needs: ClassVar[Needs] = Needs(samples=100, roles=("training",), attributes=("samples", "training"))
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="amplification",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(
            _FACTORY,
            "60 % of the training data are of one group and 70 % of the samples",
            {"share": 0.7, "training": 0.6},
            truth=0.1,
        ),
        leaves_alone=PhantomCase(
            _FACTORY,
            "60 % of both, seen through a classifier that is wrong on 4 % of the images",
            {"share": 0.6, "training": 0.6},
            truth=0.0,
        ),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Compare the shares. NotApplicable where nothing is uneven, or labels are asked for and there are none."""
        case = _case(evidence)
        if not isinstance(case, _Case):
            return case
        return [_amplification(evidence, case), *_changes(evidence, case), _table(case), _figure(case)]


def _case(evidence: Evidence) -> _Case | NotApplicable | Invalid:
    labels = evidence.attributes("samples")
    choice = _choice(evidence, labels)
    declared = _declared(labels)
    if choice == "labels" and declared is None:
        return NotApplicable(
            "The training images carry no labels of all groups that the classifier tells. Label them, or set "
            'training_shares = "classifier" for a classifier that was not fitted on them.'
        )
    after = _counted(evidence.attributes("samples"), "samples")
    if isinstance(after, Invalid):
        return after
    if choice == "labels" and declared is not None:
        found = changes_from_known(after, declared, labels.confusion)
        source = "labels that came with the training data"
    else:
        before = _counted(evidence.attributes("training"), "training")
        if isinstance(before, Invalid):
            return before
        found = changes_from_labels(after, before, labels.confusion)
        source = "the same classifier"
    known = found.before if declared is None else declared
    larger = known > 1 / len(known) + _EVEN
    if not larger.any():
        return NotApplicable("The groups of the training data are exactly even, so there is no skew to exaggerate.")
    return _Case(labels, found, larger, source, int(after.sum()))


def _choice(evidence: Evidence, labels: AttributeLabels) -> str:
    default = "labels" if labels.classifier == Probe.name else "classifier"
    choice = evidence.parameters.get("training_shares", default)
    if choice not in _CHOICES:
        raise ConfigError(
            f"training_shares = {choice!r} for {evidence.check}: known are {', '.join(_CHOICES)}. "
            f"Leave it out for '{default}'."
        )
    return str(choice)


def _declared(labels: AttributeLabels) -> NDArray[np.float64] | None:
    """Shares in the training data by their own labels, in the classifier's order; None where they do not fit it."""
    known = {name: share for name, share in labels.declared.items() if share > 0}
    if not known or set(known) - set(labels.confusion.classes):
        return None
    shares = np.array([known.get(name, 0.0) for name in labels.confusion.classes])
    normalised: NDArray[np.float64] = shares / shares.sum()
    return normalised


def _counted(labels: AttributeLabels, role: Role) -> NDArray[np.int64] | Invalid:
    """Labels of a set, or why its shares cannot be known."""
    try:
        counts = label_counts(labels.labels, labels.confusion.classes)
    except DataError as error:
        return Invalid(str(error))
    refused = too_poor(labels, counts, role)
    if refused is not None:
        return refused
    for name, share in zip(labels.confusion.classes, corrected_shares(counts, labels.confusion), strict=True):
        if share.outside:
            shown = "generated" if role == "samples" else role
            return Invalid(
                f"{share.raw:.1%} of the {shown} images were called '{name}', which no true share explains: "
                f"'{labels.classifier}' errs otherwise on these images than on the labelled ones. Count its errors on "
                "labelled images of this kind, or use another classifier."
            )
    return counts


def _amplification(evidence: Evidence, case: _Case) -> Measurement:
    even = np.full(len(case.classes), 1 / len(case.classes))
    before, after = total_variation(case.found.before, even), total_variation(case.found.after, even)
    names = ", ".join(f"'{name}'" for name in case.names(case.larger))
    trained, made = float(case.found.before[case.larger].sum()), float(case.found.after[case.larger].sum())
    note = (
        f"Joint share of {names}: {trained:.3f} of the training data ({case.source}), {made:.3f} of the samples. "
        f"Distance from equal shares (total variation): {before:.3f} and {after:.3f}."
    )
    return _measurement(evidence, case, "amplification", case.larger, note)


def _changes(evidence: Evidence, case: _Case) -> list[Measurement]:
    found = []
    for index, name in enumerate(case.classes):
        note = f"{case.found.before[index]:.3f} of the training data, {case.found.after[index]:.3f} of the samples."
        chosen = np.arange(len(case.classes)) == index
        found.append(_measurement(evidence, case, "share_change", chosen, note, group=name))
    return found


def _measurement(
    evidence: Evidence, case: _Case, name: str, chosen: NDArray[np.bool_], note: str, *, group: str | None = None
) -> Measurement:
    return evidence.measurement(
        name,
        float(case.found.changes[chosen].sum()),
        case.found.together(chosen, _LEVEL),
        n=case.n,
        unit="share",
        direction="lower" if group is None else "none",
        against="training",
        uses_extractor=False,
        group=group,
        floor=None,
        note=note,
        **case.signature,
    )


def _table(case: _Case) -> Table:
    rows = []
    for index, name in enumerate(case.classes):
        bounds = case.found.together(np.arange(len(case.classes)) == index, _LEVEL)
        rows.append(
            (
                name,
                float(case.found.before[index]),
                float(case.found.after[index]),
                float(case.found.changes[index]),
                bounds.low,
                bounds.high,
                "yes" if case.larger[index] else "no",
            )
        )
    columns = (case.labels.attribute, "training", "generated", "change", "low", "high", "more than an equal share")
    note = (
        f"Shares corrected for the errors of '{case.labels.classifier}', counted on {case.labels.confusion.source}; "
        f"those of the training data by {case.source}. Each interval holds alone. {case.labels.limits}"
    )
    return Table(
        "amplification", f"Shares of {case.labels.attribute}, training and generated", columns, tuple(rows), note
    )


def _figure(case: _Case) -> Figure:
    bounds = [case.found.together(np.arange(len(case.classes)) == index, _LEVEL) for index in range(len(case.classes))]
    return Figure(
        name="share_changes",
        kind="intervals",
        title=f"Shares of {case.labels.attribute}: generated less training",
        alt="One interval for each perceived group. A group with more than an equal share of the training data whose "
        "interval lies above zero is exaggerated, and so is one with less whose interval lies below.",
        x_label=case.labels.attribute,
        y_label="change of share",
        series=(
            Series(
                "generated less training",
                case.classes,
                tuple(float(change) for change in case.found.changes),
                tuple(one.low for one in bounds),
                tuple(one.high for one in bounds),
            ),
        ),
        lines={"no change": 0.0},
    )
