"""Phantoms as models: the closed-form denoisers and a copier behind the same protocols as any other model.

::

    phantom:gaussian?shape=1x8x8&mean=0&std=0.25      has learned a law, memorised nothing
    phantom:gaussian?prediction=v&schedule=zero-terminal-snr
    phantom:mixture?centres=-0.5,0.5&std=0.1          the same with several modes
    phantom:memoriser?data=digits.npz                 has memorised every training image
    phantom:copier?data=digits.npz&rate=0.1           copies one time in ten, without a network
    phantom:captioned?laws=dark:-0.3,light:0.3        is told in words what to show, has learned what words mean
    phantom:captioned?data=digits.npz&memorised=0.1   knows a tenth of the captioned training images by heart
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from ldm_eval.api import (
    Denoiser,
    DiffusionParts,
    Images,
    ImageSet,
    LoadedModel,
    ModelIdentity,
    ModelRef,
    NoiseSchedule,
    Prediction,
    SampleRequest,
    SamplingSettings,
    TextDenoiser,
    TrainingRecord,
)
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.prompted import PromptedDenoiser
from ldm_eval.diffusion.quantise import to_float
from ldm_eval.diffusion.samplers import make_sampler
from ldm_eval.diffusion.schedules import SCHEDULES, DiscreteSchedule, make_schedule
from ldm_eval.errors import ConfigError, ModelError, did_you_mean
from ldm_eval.testing.denoisers import GaussianDenoiser, MixtureDenoiser, OptimalDenoiser
from ldm_eval.testing.references import PREFIX, PhantomRef, load_images
from ldm_eval.testing.text_phantoms import CaptionedDenoiser, CaptionedLaws, LearnedPairs
from ldm_eval.testing.transforms import DISGUISES

__all__ = ["CopierPhantom", "PhantomBackend", "SampledPhantom"]

DEFAULT_SAMPLER, DEFAULT_STEPS = "ddim", 50
_DATA = frozenset({"data", "holdout"})
_SCHEDULE = frozenset({"schedule", "timesteps", "prediction"})
_PREDICTIONS: Mapping[str, Prediction] = {"epsilon": "epsilon", "x0": "x0", "v": "v"}


@final
class SampledPhantom:
    """A closed-form denoiser sampled by the real samplers, with its inside open to white-box checks."""

    capacity: int | None = None

    def __init__(
        self,
        identity: ModelIdentity,
        denoiser: Denoiser,
        schedule: NoiseSchedule,
        shape: tuple[int, int, int],
        device: str,
        text: TextDenoiser | None = None,
    ) -> None:
        self._identity = identity
        self._denoiser = denoiser
        self._text = text
        self._schedule = schedule
        self._shape = shape
        self._device = torch.device(device)

    @property
    def identity(self) -> ModelIdentity:
        """Named after the phantom; the digest is that of the reference and the data behind it."""
        return self._identity

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        return self._shape

    def resolve(self, settings: SamplingSettings) -> SamplingSettings:
        """Fill in DDIM with 50 steps. Raises ConfigError for guidance, an unknown sampler or too many steps."""
        _refuse_guidance(settings, self._identity.name)
        resolved = SamplingSettings(
            settings.sampler or DEFAULT_SAMPLER, settings.steps or DEFAULT_STEPS, 1.0, settings.eta
        )
        make_sampler(resolved).timesteps(self._schedule)
        return resolved

    def network_calls(self, settings: SamplingSettings) -> int:
        """Calls of the denoiser per sample; Heun makes up to two a step."""
        return make_sampler(settings).network_calls(self._schedule)

    def generate(self, requests: Sequence[SampleRequest]) -> Images:
        """Sample, each request with its own generator; labels are ignored, prompts where it takes no text."""
        return Images(_in_runs(requests, self._sample))

    def _sample(self, settings: SamplingSettings, requests: Sequence[SampleRequest]) -> torch.Tensor:
        noise = SampleNoise([request.seed for request in requests], self._device)
        denoiser = self._denoiser
        if self._text is not None:
            denoiser = PromptedDenoiser(self._text, [request.prompt or "" for request in requests])
        return make_sampler(self.resolve(settings)).sample(denoiser, self._schedule, noise, self._shape)

    def white_box(self) -> DiffusionParts:
        """Schedule and exact denoiser."""
        return DiffusionParts(self._schedule, self._denoiser, self._shape, self._device, text=self._text)


@final
class CopierPhantom:
    """Gives a training image with probability ``rate``, and else an image that has nothing to do with training.

    Whether and what it copies depends on the request's seed alone. What it gives otherwise is image ``sample_id`` of
    ``other`` (from the start again when they run out), or, without ``other``, a draw from the Gaussian that has the
    mean and the standard deviation of each pixel of the training images.
    """

    capacity: int | None = None

    def __init__(
        self, identity: ModelIdentity, training: ImageSet, other: ImageSet | None, rate: float, disguise: str
    ) -> None:
        self._identity = identity
        self._training = training
        self._other = other
        self._rate = rate
        self._disguise = DISGUISES[disguise]
        pixels = np.asarray(training.pixels, dtype=np.float64)
        self._mean, self._std = pixels.mean(axis=0), pixels.std(axis=0)

    @property
    def identity(self) -> ModelIdentity:
        """Named after the phantom; the digest is that of the reference and the data behind it."""
        return self._identity

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of its training images."""
        return self._training.shape

    def resolve(self, settings: SamplingSettings) -> SamplingSettings:
        """Nothing can be chosen. Raises ConfigError when something was."""
        _refuse_guidance(settings, self._identity.name)
        if settings.sampler not in ("", "copier") or settings.steps or settings.eta:
            raise ConfigError(
                f"'{self._identity.name}' has no sampler; leave sampler, steps and eta at their defaults."
            )
        return SamplingSettings("copier")

    def network_calls(self, settings: SamplingSettings) -> int:
        """None at all."""
        return 0

    def copied_row(self, request: SampleRequest) -> int | None:
        """Row of the training image that this request gets a copy of, or None."""
        rng = np.random.Generator(np.random.PCG64(request.seed))
        copies, row = rng.random() < self._rate, int(rng.integers(len(self._training)))
        return row if copies else None

    def generate(self, requests: Sequence[SampleRequest]) -> Images:
        """One image per request."""
        pixels = np.stack([self._image(request) for request in requests])
        return Images(to_float(pixels))

    def _image(self, request: SampleRequest) -> NDArray[np.uint8]:
        row = self.copied_row(request)
        if row is not None:
            copy: NDArray[np.uint8] = self._disguise(np.asarray(self._training.pixels[row : row + 1]))[0]
            return copy
        if self._other is not None:
            other: NDArray[np.uint8] = np.asarray(self._other.pixels[request.sample_id % len(self._other)])
            return other
        rng = np.random.Generator(np.random.PCG64([request.seed, 1]))
        drawn = self._mean + self._std * rng.standard_normal(self._mean.shape)
        rounded: NDArray[np.uint8] = np.rint(drawn).clip(0, 255).astype(np.uint8)
        return rounded

    def white_box(self) -> DiffusionParts | None:
        """None: there is no network."""
        return None


@final
class PhantomBackend:
    """Models whose every number is known, to prove instruments with."""

    name = "phantom"

    def recognises(self, ref: ModelRef) -> float:
        """1 for ``phantom:...``, else 0."""
        return float(ref.text.startswith(PREFIX))

    def load(self, ref: ModelRef, device: str) -> LoadedModel:
        """Build the phantom from its reference alone.

        Raises:
            ModelError: for an unknown phantom, an unknown or impossible parameter, or images that cannot be read.
        """
        parsed = PhantomRef.parse(ref.text)
        if parsed.name not in _KINDS:
            raise ModelError(
                f"There is no phantom '{parsed.name}'.{did_you_mean(parsed.name, _KINDS)} Known: {', '.join(_KINDS)}."
            )
        kind = _KINDS[parsed.name]
        parsed.refuse_unknown(kind.parameters)
        return kind.build(parsed, device)


def _refuse_guidance(settings: SamplingSettings, name: str) -> None:
    if settings.guidance != 1.0:
        raise ConfigError(
            f"guidance = {settings.guidance} was asked for, but '{name}' knows no guidance. Leave it out."
        )


def _in_runs(
    requests: Sequence[SampleRequest], sample: Callable[[SamplingSettings, Sequence[SampleRequest]], torch.Tensor]
) -> torch.Tensor:
    """Sample neighbours that share their settings together; the order stays."""
    parts: list[torch.Tensor] = []
    start = 0
    for stop in range(1, len(requests) + 1):
        if stop == len(requests) or requests[stop].settings != requests[start].settings:
            parts.append(sample(requests[start].settings, requests[start:stop]))
            start = stop
    return torch.cat(parts)


def _schedule(ref: PhantomRef) -> DiscreteSchedule:
    name = ref.choice("schedule", SCHEDULES, "linear")
    return make_schedule(name, ref.integer("timesteps", 1000, low=25))


def _prediction(ref: PhantomRef, schedule: DiscreteSchedule) -> Prediction:
    kind = _PREDICTIONS[ref.choice("prediction", _PREDICTIONS, "epsilon")]
    if kind == "epsilon" and schedule.ends_in_pure_noise:
        raise ModelError(
            f"phantom:{ref.name}: a prediction of epsilon says nothing of the image where the schedule "
            f"'{schedule.name}' has no signal left. Add prediction=v or prediction=x0."
        )
    return kind


def _identity(ref: PhantomRef, summary: str, training: ImageSet | None = None, other: str = "") -> ModelIdentity:
    # Paths are left out of the digest and the name: the same data elsewhere is the same phantom.
    kept = [f"{key}={value}" for key, value in sorted(ref.parameters.items()) if key not in {*_DATA, "other"}]
    text = "\n".join([ref.name, *kept, training.digest if training else "", other])
    return ModelIdentity(
        name=f"phantom-{ref.name}",
        backend=PhantomBackend.name,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        architecture=summary,
        parameters=None,
        licence="Apache-2.0",
        training=None if training is None else _record(ref, training),
    )


def _record(ref: PhantomRef, training: ImageSet) -> TrainingRecord:
    return TrainingRecord(
        data=ref.text("data"),
        data_digest=training.digest,
        data_size=len(training),
        holdout=ref.text("holdout", ""),
        steps=0,
        horizontal_flip=False,
        seed=0,
    )


def _gaussian(ref: PhantomRef, device: str) -> SampledPhantom:
    shape, schedule = ref.shape("shape", "1x8x8"), _schedule(ref)
    mean, std = ref.number("mean", 0.0), ref.number("std", 0.25, low=0.0)
    means = torch.full(shape, mean, dtype=torch.float64, device=device)
    denoiser = GaussianDenoiser(means, std**2, schedule, _prediction(ref, schedule))
    summary = f"exact denoiser of a Gaussian, mean {mean:g}, standard deviation {std:g}, {schedule.name} schedule"
    return SampledPhantom(_identity(ref, summary), denoiser, schedule, shape, device)


def _mixture(ref: PhantomRef, device: str) -> SampledPhantom:
    shape, schedule = ref.shape("shape", "1x8x8"), _schedule(ref)
    centres, std = ref.numbers("centres", "-0.5,0.5"), ref.number("std", 0.1, low=0.0)
    means = torch.tensor(centres, dtype=torch.float64, device=device).reshape(-1, 1, 1, 1).expand(-1, *shape)
    denoiser = MixtureDenoiser(torch.ones(len(centres)), means, std**2, schedule, _prediction(ref, schedule))
    summary = f"exact denoiser of {len(centres)} Gaussians, standard deviation {std:g}, {schedule.name} schedule"
    return SampledPhantom(_identity(ref, summary), denoiser, schedule, shape, device)


def _memoriser(ref: PhantomRef, device: str) -> SampledPhantom:
    schedule = _schedule(ref)
    training = load_images(ref.text("data"))
    denoiser = OptimalDenoiser(to_float(training.pixels).to(device), schedule, _prediction(ref, schedule))
    summary = f"optimal denoiser of {len(training):,} training images, {schedule.name} schedule"
    return SampledPhantom(_identity(ref, summary, training), denoiser, schedule, training.shape, device)


def _copier(ref: PhantomRef, device: str) -> CopierPhantom:
    rate = ref.number("rate", 0.1, low=0.0, high=1.0)
    disguise = ref.choice("disguise", DISGUISES, "exact")
    training = load_images(ref.text("data"))
    other = load_images(ref.text("other")) if "other" in ref.parameters else None
    if other is not None and other.shape != training.shape:
        raise ModelError(f"phantom:copier: 'data' holds images of {training.shape} and 'other' of {other.shape}.")
    summary = f"copies one of {len(training):,} training images ({disguise}) at a rate of {rate:g}"
    identity = _identity(ref, summary, training, other.digest if other else "")
    return CopierPhantom(identity, training, other, rate, disguise)


def _captioned(ref: PhantomRef, device: str) -> SampledPhantom:
    schedule = _schedule(ref)
    training = load_images(ref.text("data")) if "data" in ref.parameters else None
    shape = ref.shape("shape", "1x8x8") if training is None else training.shape
    means = ref.numbers_by_name("laws", "")
    laws = CaptionedLaws(shape, means, ref.number("std", 0.25, low=0.0), ref.number("mean", 0.0))
    pairs = None if training is None else _pairs(ref, training, device)
    text = CaptionedDenoiser(laws, schedule, pairs, _prediction(ref, schedule), device)
    known = "" if pairs is None else f", {int(pairs.memorised.sum()):,} of {len(pairs.captions):,} pairs by heart"
    summary = f"exact denoiser given a caption, {len(means)} words with laws{known}, {schedule.name} schedule"
    identity = _identity(ref, summary, training)
    return SampledPhantom(identity, PromptedDenoiser(text), schedule, shape, device, text)


def _pairs(ref: PhantomRef, training: ImageSet, device: str) -> LearnedPairs:
    if training.prompts is None:
        raise ModelError(
            f"phantom:captioned: the images '{ref.text('data')}' have no captions. Put a column 'prompt' in the CSV "
            "beside them."
        )
    known = round(ref.number("memorised", 1.0, low=0.0, high=1.0) * len(training))
    memorised = torch.zeros(len(training), dtype=torch.bool)
    memorised[np.random.Generator(np.random.PCG64(0)).permutation(len(training))[:known]] = True
    captions = [str(prompt) for prompt in training.prompts]
    images = to_float(training.pixels).to(device)
    return LearnedPairs(images, captions, memorised, ref.number("spread", 0.0, low=0.0))


@dataclass(frozen=True, slots=True)
class _Kind:
    parameters: frozenset[str]
    build: Callable[[PhantomRef, str], LoadedModel]


_KINDS: Mapping[str, _Kind] = {
    "gaussian": _Kind(frozenset({"shape", "mean", "std"}) | _SCHEDULE, _gaussian),
    "mixture": _Kind(frozenset({"shape", "centres", "std"}) | _SCHEDULE, _mixture),
    "memoriser": _Kind(_DATA | _SCHEDULE, _memoriser),
    "captioned": _Kind(_DATA | _SCHEDULE | {"shape", "laws", "std", "mean", "memorised", "spread"}, _captioned),
    "copier": _Kind(_DATA | {"rate", "other", "disguise"}, _copier),
}
