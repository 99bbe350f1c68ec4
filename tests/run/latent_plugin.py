"""A plugin with latent models small enough to check by hand: ``latent:KIND``, and checks that read reconstructions.

The autoencoder of ``halves`` keeps the mean of every 2x2 block; the other kinds break. Sample i of a class-conditional
model is a flat picture whose level is its class.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from ldm_eval.api import (
    Alarm,
    BackendSpec,
    CheckSpec,
    DiffusionParts,
    Evidence,
    Finding,
    Images,
    Interval,
    ModelIdentity,
    ModelRef,
    Needs,
    PhantomCase,
    Phantoms,
    SampleRequest,
    SamplingSettings,
    ScoreSpec,
)
from ldm_eval.hooks import hookimpl

CLASSES = 5
SHAPE = (1, 8, 8)
_CASE = PhantomCase("tests.nowhere:nothing", "none")
_PHANTOMS = Phantoms("error", Alarm("low", ">", 1.0), _CASE, _CASE)


class Autoencoder:
    image_shape = SHAPE
    latent_shape = (1, 4, 4)
    scale = 0.5

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        if self._kind == "raises":
            raise RuntimeError("no code today")
        return self.scale * torch.nn.functional.avg_pool2d(images, 2)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        images = torch.nn.functional.interpolate(latents / self.scale, scale_factor=2.0)
        if self._kind == "nan":
            return images * float("nan")
        return images[:, :, :4] if self._kind == "small" else images


class LatentModel:
    capacity: int | None = None
    image_shape = SHAPE

    def __init__(self, kind: str) -> None:
        self._kind = kind
        classes = CLASSES if kind == "classes" else 0
        self.identity = ModelIdentity(kind, "latent", kind, "two-by-two means", classes=classes)

    def resolve(self, settings: SamplingSettings) -> SamplingSettings:
        return SamplingSettings("none", 1, settings.guidance)

    def network_calls(self, settings: SamplingSettings) -> int:
        return 1

    def generate(self, requests: Sequence[SampleRequest]) -> Images:
        pictures = [torch.full(SHAPE, (request.label or 0) / 127.5 - 1.0) for request in requests]
        return Images(torch.stack(pictures))

    def white_box(self) -> DiffusionParts | None:
        if self._kind == "closed":
            return None
        coder = None if self._kind == "pixels" else Autoencoder(self._kind)
        nothing: Any = None
        return DiffusionParts(nothing, nothing, SHAPE, torch.device("cpu"), coder)


class LatentBackend:
    name = "latent"

    def recognises(self, ref: ModelRef) -> float:
        return float(ref.text.startswith("latent:"))

    def load(self, ref: ModelRef, device: str) -> Any:
        return LatentModel(ref.text.removeprefix("latent:"))


class PixelError:
    """Mean absolute error of the reconstructions, and whether they stand in the order of the images."""

    id: ClassVar[str] = "latent/error"
    title: ClassVar[str] = "Error"
    question: ClassVar[str] = "How far are reconstructions from images?"
    needs: ClassVar[Needs] = Needs(roles=("holdout", "reconstruction"))
    phantoms: ClassVar[Phantoms] = _PHANTOMS

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        images, made = evidence.images("holdout"), evidence.images("reconstruction")
        if images.ids != made.ids:
            raise ValueError("no pairs")
        error = float(np.abs(images.pixels.astype(float) - made.pixels).mean())
        return [_measurement(evidence, "error", error, len(made))]


class OptionalError(PixelError):
    """Reads reconstructions where there are any."""

    id: ClassVar[str] = "latent/optional"
    needs: ClassVar[Needs] = Needs(samples=2, optional=("reconstruction",))

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        return [_measurement(evidence, "there", float(evidence.has("reconstruction")), 2)]


class LevelError(PixelError):
    """The classes of the samples as the check sees them."""

    id: ClassVar[str] = "latent/levels"
    needs: ClassVar[Needs] = Needs(samples=2)

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        samples = evidence.images("samples")
        if samples.labels is not None and (samples.pixels[:, 0, 0, 0] != samples.labels).any():
            raise ValueError("samples of other classes than they say")
        labelled = float(samples.labels is not None)
        return [
            _measurement(evidence, "level", float(samples.pixels.mean()), len(samples)),
            _measurement(evidence, "labelled", labelled, len(samples)),
        ]


class ScoredError(PixelError):
    """Reads a white-box score of the reconstructions."""

    id: ClassVar[str] = "latent/scored"
    needs: ClassVar[Needs] = Needs(scores=(ScoreSpec("sum", "latent_plugin:level_score", ("reconstruction",), 9, 1),))

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        values = evidence.scores("sum", "reconstruction").values
        return [_measurement(evidence, "sum", float(values.mean()), len(values))]


def level_score(parts: Any, images: torch.Tensor, seed: int, parameters: Any) -> Any:
    return images.flatten(1).mean(dim=1, keepdim=True).numpy()


class UnluckyError(PixelError):
    """Crashes while the test says so, and reads everything there is."""

    id: ClassVar[str] = "latent/unlucky"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        if os.environ.get("LATENT_TODAY") == "crash":
            raise MemoryError("too little of it today")
        return super().run(evidence)


def _measurement(evidence: Evidence, name: str, value: float, n: int) -> Finding:
    return evidence.measurement(name, value, Interval(value, value, 0.95, "none"), n=n, unit="", direction="none")


@hookimpl
def ldm_eval_backends() -> list[BackendSpec]:
    return [BackendSpec("latent", "small latent models", LatentBackend)]


@hookimpl
def ldm_eval_checks() -> list[CheckSpec]:
    return [CheckSpec.of(check) for check in (PixelError, OptionalError, LevelError, ScoredError, UnluckyError)]
