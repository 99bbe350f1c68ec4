"""The embedded default: a dataset, a checkpoint trained on it by ``ldm-eval train``, and a policy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ldm_eval.api import (
    AttributeClassifier,
    AttributeClassifierSpec,
    AttributeContext,
    DataRef,
    DatasetSpec,
    ImageSet,
    ModelSpec,
)
from ldm_eval.hooks import hookimpl

if TYPE_CHECKING:
    from ldm_eval_demo.classifier import Attribute

DEMO = "demo"
"""What the user types after ``--model`` and ``--policy``."""

PORTRAITS = "portraits"
"""What the user types after ``--data`` for the painted portraits."""

_HERE = Path(__file__).parent
_TOLD: Final[tuple[Attribute, ...]] = ("skin tone", "age band")


def _recognises(ref: DataRef) -> float:
    return 1.0 if ref.name_and_split[0] == PORTRAITS else 0.0


def _load_classifier(attribute: Attribute, context: AttributeContext) -> AttributeClassifier:
    from ldm_eval_demo.classifier import load_classifier

    return load_classifier(attribute, context)


def _load_portraits(ref: DataRef, split: str) -> ImageSet:
    from ldm_eval_demo.portraits import load

    return load(ref, split)


@hookimpl
def ldm_eval_datasets() -> list[DatasetSpec]:
    """The demo's painted portraits."""
    return [
        DatasetSpec(
            name=PORTRAITS,
            summary="2,400 painted portraits of nobody, 32x32 colour, with declared attributes and planted truths",
            licence="Apache-2.0; skin tones CC-BY-4.0",
            splits=("train", "holdout"),
            recognises=_recognises,
            load=_load_portraits,
            holdout_split="holdout",
        )
    ]


@hookimpl
def ldm_eval_attribute_classifiers() -> list[AttributeClassifierSpec]:
    """Classifiers of the portraits' skin tone and age band, made for them alone."""
    return [
        AttributeClassifierSpec(
            name=f"demo-{attribute.replace(' ', '-')}",
            summary=f"Small network that tells the {attribute} of the demo's portraits, its errors counted on others",
            needs_labels=True,
            load=partial(_load_classifier, attribute),
            attribute=attribute,
            made_for=(PORTRAITS,),
        )
        for attribute in _TOLD
    ]


@hookimpl
def ldm_eval_models() -> list[ModelSpec]:
    """The demo's checkpoint and its policy."""
    return [
        ModelSpec(
            name=DEMO,
            summary="a small latent diffusion model of the demo's portraits",
            path=lambda: _HERE / "demo.pt",
            policy=lambda: _HERE / "policy.toml",
        )
    ]
