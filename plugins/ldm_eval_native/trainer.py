"""Training of the native U-Net on pixels or on latents (arXiv:2006.11239, 2112.10752); epsilon, x0 or v."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

from ldm_eval.api import (
    ImageSet,
    SampleRequest,
    SamplingSettings,
    Scalar,
    TrainProgress,
    TrainRequest,
    TrainResult,
)
from ldm_eval.diffusion.parameterisation import add_noise, training_target
from ldm_eval.diffusion.randomness import derived_seed
from ldm_eval.diffusion.samplers import make_sampler
from ldm_eval.diffusion.schedules import DiscreteSchedule, make_schedule
from ldm_eval.errors import ConfigError, DataError
from ldm_eval_native.atomic import refuse_unwritable
from ldm_eval_native.autoencoder_file import StoredAutoencoder, load_autoencoder
from ldm_eval_native.backend import assemble, refuse_clipping
from ldm_eval_native.batches import Batch, PixelSource, Source, TrainingBatches, evaluation_batch
from ldm_eval_native.checkpoint import Checkpoint, LatentSpace, is_checkpoint, save_checkpoint
from ldm_eval_native.compute import choose_device
from ldm_eval_native.latents import Latents, LatentSource, encode_images
from ldm_eval_native.loop import Forward, Task, Training, check_request, shared_settings, training_record
from ldm_eval_native.options import TrainingOptions, parse_options
from ldm_eval_native.outputs import refuse_overwriting
from ldm_eval_native.previews import write_grid
from ldm_eval_native.unet import UNet, UNetConfig

__all__ = ["NativeTrainer"]

_PREVIEWS = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Everything about a training that is fixed before its first step; ``autoencoder``: of a latent model."""

    request: TrainRequest
    options: TrainingOptions
    config: UNetConfig
    schedule: DiscreteSchedule
    sampling: SamplingSettings
    device: torch.device
    autoencoder: StoredAutoencoder | None

    def settings(self) -> dict[str, Scalar]:
        """What shapes the weights, beside the number of steps: equal, or a resumed training is another training."""
        shared = shared_settings(self.request, self.options, self.device)
        labels = self.request.data.labels
        if self.config.classes and labels is not None:  # the digest of the images does not cover them
            shared["labels digest"] = hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()
        if self.autoencoder is None:
            return shared
        return {**shared, "autoencoder": self.autoencoder.sha256, "autoencoder weights": self.options.weights}


def _classes(request: TrainRequest, options: TrainingOptions) -> int:
    """Return the number of classes to condition on (0: none). Raises DataError."""
    if not options.labels:
        return 0
    sets = [(request.data_ref, request.data)]
    if request.holdout is not None:
        sets.append((request.holdout_ref, request.holdout))
    found: list[set[int]] = []
    for ref, images in sets:
        if images.labels is None:
            raise DataError(f"Option labels=true needs class labels with the images; '{ref}' has none. Leave it out.")
        found.append({int(label) for label in np.unique(images.labels)})
    learned = found[0]
    if learned != set(range(len(learned))):
        # A class without images would be drawn too, from an embedding that nothing was learned into.
        raise DataError(
            f"Class labels count 0, 1, 2, ... without gaps; those of '{request.data_ref}' are {len(learned)} from "
            f"{min(learned)} to {max(learned)}. Number them anew."
        )
    strange = set().union(*found) - learned
    if strange:
        raise DataError(
            f"Held-out images of '{request.holdout_ref}' have the label {min(strange)}, which no training image has: "
            "a model cannot have learned that class. Leave those images out, or name another --holdout."
        )
    return len(learned)


def _autoencoder(request: TrainRequest, options: TrainingOptions) -> StoredAutoencoder | None:
    """The autoencoder of a latent model, its weights as they will ship; None for a model of pixels."""
    if not options.autoencoder:
        return None
    path = Path(options.autoencoder).expanduser()
    refuse_overwriting(request.output, path, "the autoencoder")
    if is_checkpoint(path):
        raise ConfigError(
            f"-o autoencoder={path}: that is a diffusion model, not an autoencoder. Give the file that "
            "'ldm-eval train --trainer autoencoder' wrote."
        )
    autoencoder = load_autoencoder(path)
    made_for = autoencoder.architecture.image_shape
    if made_for != request.data.shape:
        raise DataError(
            f"The autoencoder {path} was trained on images of shape {made_for}; those of '{request.data_ref}' have "
            f"{request.data.shape}. Train an autoencoder on such images first (--trainer autoencoder)."
        )
    if request.holdout is not None and autoencoder.training.data_digest == request.holdout.digest:
        raise DataError(
            f"The autoencoder {path} was trained on the images that '{request.holdout_ref}' keeps aside, so nothing "
            "would be held out. Train it on other images, or name another --holdout."
        )
    autoencoder.network(path)  # refuses weights that do not fit, before anything is spent
    # Latents are learned from the very weights that ship, so rounding comes first.
    return autoencoder.rounded_to(torch.float16) if options.weights == "float16" else autoencoder


def _plan(request: TrainRequest) -> _Plan:
    options = parse_options(request.options)
    check_request(request)
    autoencoder = _autoencoder(request, options)
    config = UNetConfig(
        image_channels=(request.data.shape[0] if autoencoder is None else autoencoder.architecture.latent_channels),
        channels=options.channels,
        multipliers=options.multiplier_values,
        blocks=options.blocks,
        attention=min(options.attention, len(options.multiplier_values)),
        timesteps=options.timesteps,
        classes=_classes(request, options),
    )
    schedule = make_schedule(options.schedule, options.timesteps)
    if schedule.ends_in_pure_noise and options.prediction == "epsilon":
        raise ConfigError(
            f"Schedule '{schedule.name}' ends in pure noise, where a prediction of epsilon says nothing of the image. "
            "Add -o prediction=v, or choose another schedule."
        )
    sampling = SamplingSettings(sampler=options.sampler, steps=options.sampling_steps)
    make_sampler(sampling)
    if autoencoder is not None:
        refuse_clipping(sampling.sampler, "a model with an autoencoder")
    return _Plan(request, options, config, schedule, sampling, choose_device(request.device), autoencoder)


@dataclass(frozen=True, slots=True, eq=False)
class _Sources:
    """Where x_0 comes from: training images, those held out, and the latent space they are in (None: pixels)."""

    training: Source
    holdout: Source | None
    latent: LatentSpace | None


def _sources(plan: _Plan) -> _Sources:
    """Pixels as they are; or every image encoded once, and the scale measured on the training set."""
    request, stored = plan.request, plan.autoencoder
    data, holdout = request.data, request.holdout
    if stored is None:
        return _Sources(PixelSource(data), None if holdout is None else PixelSource(holdout), None)
    network = stored.network(Path(plan.options.autoencoder)).to(plan.device)

    def encoded(images: ImageSet, mirrored: bool = False) -> Latents:
        return encode_images(network, images, plan.device, mirrored=mirrored)

    plain = encoded(data)
    mirrored = encoded(data, mirrored=True) if request.horizontal_flip else None
    scale = (plain if mirrored is None else plain.joined(mirrored)).scale()
    return _Sources(
        LatentSource(plain, scale, data.labels, mirrored),
        None if holdout is None else LatentSource(encoded(holdout), scale, holdout.labels),
        LatentSpace(stored, scale),
    )


@final
class _Denoising(Task[Batch]):
    """Predicting epsilon, x0 or v: mean squared error per element of the network's own output.

    For epsilon, 1 is no skill. Losses are comparable between trainings with the same ``prediction`` in the same space.
    """

    loss_name = "mean squared error per element of the network's output"

    def __init__(self, plan: _Plan, sources: _Sources) -> None:
        self._plan = plan
        self._sources = sources
        request, options = plan.request, plan.options
        self._batches = TrainingBatches(
            sources.training,
            batch_size=request.batch_size,
            timesteps=options.timesteps,
            seed=request.seed,
            horizontal_flip=request.horizontal_flip,
            classes=plan.config.classes,
            label_dropout=options.label_dropout,
        )

    def network(self) -> nn.Module:
        return UNet(self._plan.config)

    def batch(self, step: int) -> Batch:
        return self._batches.at(step)

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        schedule, prediction = self._plan.schedule, self._plan.options.predicted
        x_t = add_noise(schedule, batch.images, batch.noise, batch.t)
        target = training_target(schedule, prediction, batch.images, batch.noise, batch.t)
        return mse_loss(forward(x_t, batch.t, batch.labels).float(), target)

    def watched(self, holdout: bool) -> Batch:
        source = self._sources.holdout if holdout else None
        return evaluation_batch(
            source or self._sources.training,
            timesteps=self._plan.options.timesteps,
            seed=self._plan.request.seed,
            labels=bool(self._plan.config.classes),
        )

    def preview(self, network: nn.Module, step: int, path: Path) -> None:
        """Sixteen samples with the seeds of a run's first sixteen, class after class."""
        checkpoint = self.checkpoint(network.state_dict(), step)
        model = assemble(checkpoint, checkpoint.identity("preview", ""), self._plan.device, path)
        classes, seed = self._plan.config.classes, self._plan.request.seed
        requests = [
            SampleRequest(
                i, derived_seed(seed, "preview", i), SamplingSettings(), label=i % classes if classes else None
            )
            for i in range(_PREVIEWS)
        ]
        write_grid(model.generate(requests).pixels, path, columns=8)

    def checkpoint(self, weights: Mapping[str, torch.Tensor], steps: int) -> Checkpoint:
        """The model with ``weights`` after ``steps`` steps."""
        plan, request, latent = self._plan, self._plan.request, self._sources.latent
        measured: dict[str, Scalar] = {} if latent is None else {"autoencoder scale": latent.scale}
        return Checkpoint(
            architecture=plan.config,
            schedule=plan.schedule.name,
            weights=weights,
            image_shape=request.data.shape,
            training=training_record(request, steps),
            sampling=plan.sampling,
            prediction=plan.options.predicted,
            licence=plan.options.licence,
            settings={**plan.settings(), **measured, "weights": plan.options.weights},
            latent=latent,
        )


@final
class NativeTrainer:
    """Trains a diffusion U-Net and writes a checkpoint that the ``native`` backend loads.

    With option ``autoencoder`` it works on the latents of that autoencoder, whose weights go into the checkpoint too.
    """

    def train(self, request: TrainRequest, report: Callable[[TrainProgress], None]) -> TrainResult:
        """Train to ``request.steps`` steps in all.

        ``TrainProgress.loss`` is the smoothed loss of the raw weights; held-out losses, and both losses of the result,
        are those of the averaged weights on at most 512 images with fixed noise, so they can be compared (between
        trainings with the same ``prediction``: a loss is that of the network's own output). A latent model learns
        from samples of each image's posterior; its watched losses use the posterior's mean.

        Raises:
            ConfigError: for settings that cannot be used, or that differ from those of the training to be resumed.
            DataError: for images or labels that do not fit.
            ModelError: when the loss is no longer finite, or the training state or the autoencoder cannot be used.
            StoreError: when the checkpoint or the state cannot be written.
        """
        plan = _plan(request)
        refuse_unwritable(request.output)
        task = _Denoising(plan, _sources(plan))
        training = Training(task, request, plan.options, plan.settings(), plan.device)
        training.run(report)
        weights = training.shipped_weights()
        checkpoint = task.checkpoint(weights, training.step)
        sha256 = save_checkpoint(request.output, checkpoint)
        losses = training.finish(weights)
        return TrainResult(
            checkpoint=request.output,
            identity=checkpoint.identity(request.output.stem, sha256),
            loss=losses.training,
            holdout_loss=losses.holdout,
        )
