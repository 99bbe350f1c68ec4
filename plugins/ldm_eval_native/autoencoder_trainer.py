"""Training of the KL autoencoder, the first half of a latent model (arXiv:1312.6114, 2112.10752)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import nn
from torch.nn.functional import l1_loss, mse_loss

from ldm_eval.api import Scalar, TrainProgress, TrainRequest, TrainResult
from ldm_eval_native.atomic import refuse_unwritable
from ldm_eval_native.autoencoder import AutoencoderConfig, KLAutoencoder, Reconstruction
from ldm_eval_native.autoencoder_file import StoredAutoencoder, save_autoencoder
from ldm_eval_native.batches import PictureBatch, PictureBatches, evaluation_pictures
from ldm_eval_native.compute import choose_device, reproducible
from ldm_eval_native.loop import Forward, Task, Training, check_request, shared_settings, training_record
from ldm_eval_native.options import AutoencoderOptions, parse_autoencoder_options
from ldm_eval_native.previews import write_grid

__all__ = ["AutoencoderTrainer"]

_COLUMNS = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Everything about a training that is fixed before its first step."""

    request: TrainRequest
    options: AutoencoderOptions
    config: AutoencoderConfig
    device: torch.device

    def settings(self) -> dict[str, Scalar]:
        """What shapes the weights, beside the number of steps."""
        return {"trainer": "autoencoder", **shared_settings(self.request, self.options, self.device)}


def _plan(request: TrainRequest) -> _Plan:
    options = parse_autoencoder_options(request.options)
    check_request(request)
    config = AutoencoderConfig(
        image_shape=request.data.shape,
        latent_channels=options.latent_channels,
        channels=options.channels,
        multipliers=options.multiplier_values,
        blocks=options.blocks,
    )
    return _Plan(request, options, config, choose_device(request.device))


@final
class _Autoencoding(Task[PictureBatch]):
    """Error per pixel value + weight x KL divergence in nats per pixel value.

    Both terms are divided by the same C H W. So ``kl`` weighs as in arXiv:2112.10752 (1e-6 there), and with ``mse`` the
    loss is, up to constants, the negative bound of a decoder with variance ``kl / 2`` in every pixel value.
    """

    loss_name = "error + weighted KL, per pixel value"

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        request = plan.request
        self._batches = PictureBatches(
            request.data,
            latent_shape=plan.config.latent_shape,
            batch_size=request.batch_size,
            seed=request.seed,
            horizontal_flip=request.horizontal_flip,
        )

    def network(self) -> nn.Module:
        return KLAutoencoder(self._plan.config)

    def batch(self, step: int) -> PictureBatch:
        return self._batches.at(step)

    def loss(self, forward: Forward, batch: PictureBatch) -> torch.Tensor:
        found: Reconstruction = forward(batch.images, batch.noise)
        error = l1_loss if self._plan.options.reconstruction == "l1" else mse_loss
        divergence = found.posterior.divergence().mean() / batch.images[0].numel()
        return error(found.images, batch.images) + self._plan.options.kl * divergence

    def watched(self, holdout: bool) -> PictureBatch:
        request = self._plan.request
        data = request.holdout if holdout and request.holdout is not None else request.data
        return evaluation_pictures(data, latent_shape=self._plan.config.latent_shape, seed=request.seed)

    def preview(self, network: nn.Module, step: int, path: Path) -> None:
        """Sixteen held-out images, each above its reconstruction.

        Nothing without held-out images: those of the training are not copied to disk.
        """
        if self._plan.request.holdout is None or not isinstance(network, KLAutoencoder):
            return
        device = self._plan.device
        images = next(self.watched(holdout=True).pieces(2 * _COLUMNS)).images
        with torch.inference_mode(), reproducible(device):
            again = network.decode(network.encode(images.to(device)).mean).clamp(-1.0, 1.0).cpu()
        rows = [
            part
            for pair in zip(torch.split(images, _COLUMNS), torch.split(again, _COLUMNS), strict=True)
            for part in pair
        ]
        write_grid(torch.cat(rows), path, columns=min(_COLUMNS, len(images)))

    def stored(self, weights: Mapping[str, torch.Tensor], steps: int) -> StoredAutoencoder:
        """The autoencoder with ``weights`` after ``steps`` steps."""
        plan = self._plan
        return StoredAutoencoder(
            architecture=plan.config,
            weights=weights,
            training=training_record(plan.request, steps),
            licence=plan.options.licence,
            settings={**plan.settings(), "weights": plan.options.weights},
        )


@final
class AutoencoderTrainer:
    """Trains a KL autoencoder and writes the file that ``-o autoencoder=`` of the diffusion trainer reads."""

    def train(self, request: TrainRequest, report: Callable[[TrainProgress], None]) -> TrainResult:
        """Train to ``request.steps`` steps in all.

        Losses are reconstruction error per pixel value plus ``kl`` times the KL divergence in nats per pixel value;
        watched ones are those of the averaged weights on at most 512 images with fixed noise. There is no perceptual
        and no adversarial term: both need another network's weights.

        Raises:
            ConfigError: for settings that cannot be used, or that differ from those of the training to be resumed.
            DataError: for images that do not fit.
            ModelError: when the loss is no longer finite, or the training state is damaged.
            StoreError: when the file or the state cannot be written.
        """
        plan = _plan(request)
        refuse_unwritable(request.output)
        task = _Autoencoding(plan)
        training = Training(task, request, plan.options, plan.settings(), plan.device)
        training.run(report)
        weights = training.shipped_weights()
        stored = save_autoencoder(request.output, task.stored(weights, training.step))
        losses = training.finish(weights)
        return TrainResult(
            checkpoint=request.output,
            identity=stored.identity(request.output.stem),
            loss=losses.training,
            holdout_loss=losses.holdout,
        )
