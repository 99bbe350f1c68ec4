"""Training: what a trainer is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ldm_eval.api.models import ModelIdentity, Scalar

if TYPE_CHECKING:
    from ldm_eval.api.images import ImageSet


@dataclass(frozen=True, slots=True, eq=False)
class TrainRequest:
    """What ``ldm-eval train`` asks of a trainer.

    Attributes:
        data: Images to learn from; without the canaries that were left out.
        data_digest: Digest of all that ``data_ref`` names, written into the checkpoint.
        canaries: See TrainingRecord; written into the checkpoint.
        data_ref: The reference the user typed for them, written into the checkpoint.
        holdout: Images kept aside, only their loss is watched; None when there are none.
        holdout_ref: Their reference, or an empty string.
        output: Checkpoint file to write.
        steps: Optimiser steps in total, also when resumed.
        batch_size: Images per step.
        learning_rate: Peak rate after warm-up.
        seed: Seed of initialisation, order and noise.
        device: ``"cpu"``, ``"cuda"``, ...
        resume: Continue from the training state beside ``output`` when there is one.
        horizontal_flip: Show mirrored images with probability one half.
        options: Trainer-specific settings (``channels``, ``schedule``...), checked by the trainer.
    """

    data: ImageSet
    data_ref: str
    holdout: ImageSet | None
    holdout_ref: str
    output: Path
    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    device: str
    resume: bool
    horizontal_flip: bool = False
    options: Mapping[str, Scalar] = field(default_factory=dict)
    data_digest: str = ""
    canaries: str = ""


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """One line of news from training: step ``step`` of ``steps``, smoothed training loss, last held-out loss."""

    step: int
    steps: int
    loss: float
    holdout_loss: float | None = None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished training: the checkpoint, its identity, the final losses."""

    checkpoint: Path
    identity: ModelIdentity
    loss: float
    holdout_loss: float | None


class Trainer(Protocol):
    """What a backend that can train offers to ``ldm-eval train``."""

    def train(self, request: TrainRequest, report: Callable[[TrainProgress], None]) -> TrainResult:
        """Train and write the checkpoint. Raises ConfigError, DataError, ModelError, StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class TrainerSpec:
    """A light description of a trainer; ``load`` imports it. ``options``: name -> one line of help."""

    name: str
    summary: str
    load: Callable[[], Trainer]
    options: Mapping[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    extra: str = ""
