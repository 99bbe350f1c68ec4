"""Class labels of the samples: which class image i shows, a function of (run seed, i) and the policy alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import ModelIdentity, SampleRequest, SamplingSettings, SignatureValue
from ldm_eval.diffusion.randomness import derived_seed
from ldm_eval.errors import ConfigError, did_you_mean
from ldm_eval.store.atomic import canonical_json

__all__ = ["POLICIES", "choose_labels", "classes_of", "needs_training_labels"]

POLICIES = ("balanced", "drawn", "training")
_PURPOSE = "class label"
_UNIT = 2.0**63


def choose_labels(
    policy: str,
    count: int,
    run_seed: int,
    identity: ModelIdentity,
    settings: SamplingSettings,
    training_labels: NDArray[np.int64] | None = None,
) -> tuple[int, ...] | None:
    """One class label per sample, or None where the model is left to its own default (no class).

    Args:
        policy: ``""`` (none), ``balanced`` (i mod K), ``drawn`` (each class equally likely), ``training`` (each class
            as likely as among the training images), or classes such as ``0,3,7``, taken in turn.
        count: How many samples.
        run_seed: Seed of the run.
        identity: The model, for the number of its classes.
        settings: How it is sampled.
        training_labels: ``(N,) int64`` labels of the training images, when they are known.

    Raises:
        ConfigError: for classes that the model does not have, guidance without a class, or a policy that cannot be
            followed.
    """
    classes = identity.classes
    if not policy:
        if classes and settings.guidance != 1.0:
            raise ConfigError(
                f"--guidance {settings.guidance:g} was asked for without classes, so there is nothing to be guided "
                f"towards: '{identity.name}' knows {classes} classes; say which with --classes balanced, drawn, "
                "training, or numbers such as 0,3,7."
            )
        return None
    if not classes:
        raise ConfigError(f"--classes {policy}: '{identity.name}' has no classes to choose from; leave --classes out.")
    if policy == "balanced":
        return tuple(i % classes for i in range(count))
    if policy == "drawn":
        return tuple(derived_seed(run_seed, _PURPOSE, i) % classes for i in range(count))
    if policy == "training":
        return _like_training(_usable(training_labels, identity), count, run_seed)
    chosen = _numbers(policy, identity)
    return tuple(chosen[i % len(chosen)] for i in range(count))


def needs_training_labels(policy: str) -> bool:
    """True when the labels of the training images decide the classes."""
    return policy == "training"


def classes_of(policy: str, requests: Sequence[SampleRequest]) -> dict[str, SignatureValue]:
    """What the classes add to a protocol: the policy and a digest of the labels; nothing where there are none."""
    labels = [request.label for request in requests]
    if all(label is None for label in labels):
        return {}
    digest = hashlib.sha256(canonical_json(labels, indent=None).encode()).hexdigest()
    return {"classes": policy, "class_labels_digest": digest}


def _like_training(labels: NDArray[np.int64], count: int, run_seed: int) -> tuple[int, ...]:
    """Sample i takes the label of the training image at a place drawn for i: the shares without a table of them."""
    ordered = np.sort(labels)
    places = [int(derived_seed(run_seed, _PURPOSE, i) / _UNIT * len(ordered)) for i in range(count)]
    return tuple(int(ordered[min(place, len(ordered) - 1)]) for place in places)


def _usable(labels: NDArray[np.int64] | None, identity: ModelIdentity) -> NDArray[np.int64]:
    if labels is None or not len(labels):
        raise ConfigError(
            "--classes training: the training images have no class labels, or are not there. Name labelled ones with "
            "--data (a column 'label' in labels.csv), or choose balanced, drawn, or numbers such as 0,3,7."
        )
    outside = labels[(labels < 0) | (labels >= identity.classes)]
    if len(outside):
        raise ConfigError(
            f"--classes training: the training images have the label {outside[0]}, and '{identity.name}' knows the "
            f"classes 0 .. {identity.classes - 1}. Name the images it was trained on with --data."
        )
    return labels


def _numbers(policy: str, identity: ModelIdentity) -> tuple[int, ...]:
    words = [word.strip() for word in policy.split(",")]
    if not all(word.isdecimal() for word in words):
        known = ", ".join(POLICIES)
        raise ConfigError(
            f"--classes {policy}: found neither a policy nor numbers.{did_you_mean(policy, POLICIES)} "
            f"Use {known}, or classes such as 0,3,7."
        )
    numbers = tuple(int(word) for word in words)
    if max(numbers) >= identity.classes:
        known = f"0 .. {identity.classes - 1}"
        raise ConfigError(f"--classes {policy}: '{identity.name}' knows the classes {known}; found {max(numbers)}.")
    return numbers
