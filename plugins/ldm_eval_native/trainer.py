"""Training of the native U-Net: AdamW, warm-up, gradient clipping, EMA (arXiv:2006.11239); epsilon, x0 or v."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch.nn.functional import mse_loss

from ldm_eval.api import (
    ImageSet,
    Prediction,
    SamplingSettings,
    Scalar,
    TrainingRecord,
    TrainProgress,
    TrainRequest,
    TrainResult,
)
from ldm_eval.diffusion.parameterisation import add_noise, training_target
from ldm_eval.diffusion.randomness import derived_seed
from ldm_eval.diffusion.samplers import make_sampler
from ldm_eval.diffusion.schedules import DiscreteSchedule, make_schedule
from ldm_eval.errors import ConfigError, DataError, ModelError
from ldm_eval_native.archive import read_archive, write_archive
from ldm_eval_native.batches import Batch, TrainingBatches, evaluation_batch
from ldm_eval_native.checkpoint import Checkpoint, save_checkpoint
from ldm_eval_native.compute import choose_device, reproducible
from ldm_eval_native.options import TrainingOptions, parse_options
from ldm_eval_native.unet import UNet, UNetConfig

__all__ = ["NativeTrainer", "state_path"]

_STATE_FORMAT = "ldm-eval-native-training"
_STATE_WHAT = "a training state of ldm-eval"
_REPORT_EVERY = 10


def state_path(output: Path) -> Path:
    """Where the state of the training that writes ``output`` is kept."""
    return output.with_name(output.name.removesuffix(".pt") + ".state.pt")


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Everything about a training that is fixed before its first step."""

    request: TrainRequest
    options: TrainingOptions
    config: UNetConfig
    schedule: DiscreteSchedule
    prediction: Prediction
    sampling: SamplingSettings
    device: torch.device

    def settings(self) -> dict[str, Scalar]:
        """What shapes the weights, beside the number of steps: equal, or a resumed training is another training."""
        request = self.request
        return {
            "data digest": request.data.digest,
            "batch size": request.batch_size,
            "learning rate": request.learning_rate,
            "seed": request.seed,
            "horizontal flip": request.horizontal_flip,
            **self.options.shaping_weights(),
        }


def _positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ConfigError(f"{name} must be greater than zero; found {value}.")


def _check_data(request: TrainRequest, options: TrainingOptions) -> int:
    """Return the number of classes to condition on (0: none). Raises DataError."""
    data, holdout = request.data, request.holdout
    if len(data) == 0:
        raise DataError(f"'{request.data_ref}' has no images to train on.")
    if holdout is not None and (len(holdout) == 0 or holdout.shape != data.shape):
        raise DataError(
            f"Held-out images must have the shape of the training images, {data.shape}; '{request.holdout_ref}' has "
            f"{len(holdout)} of {holdout.shape}. Name another --holdout, or none."
        )
    if not options.labels:
        return 0
    if data.labels is None or (holdout is not None and holdout.labels is None):
        raise DataError("Option labels=true needs class labels with the images; there are none. Leave the option out.")
    known: list[ImageSet] = [data] if holdout is None else [data, holdout]
    lowest, highest = (f(int(f(s.labels)) for s in known if s.labels is not None) for f in (min, max))
    if lowest < 0:
        raise DataError(f"Class labels count 0, 1, 2, ...; found {lowest}.")
    return highest + 1


def _plan(request: TrainRequest) -> _Plan:
    options = parse_options(request.options)
    _positive("--steps", request.steps)
    _positive("--batch-size", request.batch_size)
    _positive("--learning-rate", request.learning_rate)
    if request.output.is_dir():
        raise ConfigError(f"--output {request.output} is a folder; name the checkpoint file to write, e.g. model.pt.")
    classes = _check_data(request, options)
    config = UNetConfig(
        image_channels=request.data.shape[0],
        channels=options.channels,
        multipliers=options.multiplier_values,
        blocks=options.blocks,
        attention=min(options.attention, len(options.multiplier_values)),
        timesteps=options.timesteps,
        classes=classes,
    )
    schedule = make_schedule(options.schedule, options.timesteps)
    if schedule.ends_in_pure_noise and options.prediction == "epsilon":
        raise ConfigError(
            f"Schedule '{schedule.name}' ends in pure noise, where a prediction of epsilon says nothing of the image. "
            "Add -o prediction=v, or choose another schedule."
        )
    sampling = SamplingSettings(sampler=options.sampler, steps=options.sampling_steps)
    make_sampler(sampling)
    return _Plan(request, options, config, schedule, options.predicted, sampling, choose_device(request.device))


@final
class _Training:
    """The part of a training that changes: weights, their average, the optimiser, the step."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        request, options = plan.request, plan.options
        with torch.random.fork_rng(devices=[]):  # PyTorch's initialisers take no generator
            torch.default_generator.manual_seed(derived_seed(request.seed, "initialisation"))
            network = UNet(plan.config)
        self.network = network.to(plan.device)
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=request.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        self.batches = TrainingBatches(
            request.data,
            batch_size=request.batch_size,
            timesteps=options.timesteps,
            seed=request.seed,
            horizontal_flip=request.horizontal_flip,
            classes=plan.config.classes,
            label_dropout=options.label_dropout,
        )
        self.step = 0
        self.loss = torch.zeros((), device=plan.device)

    def advance(self) -> None:
        """One optimiser step."""
        options, device = self._plan.options, self._plan.device
        batch = self.batches.at(self.step).to(device)
        warm = min(1.0, (self.step + 1) / max(options.warmup, 1))
        for group in self.optimiser.param_groups:
            group["lr"] = self._plan.request.learning_rate * warm
        self.network.train()
        with reproducible(device):
            loss = self._loss(self.network, batch)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), options.clip)
        self.optimiser.step()
        # Early on the average follows quickly, or it would still hold the initial weights.
        keep = min(options.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1.0 - keep)
        memory = min(0.98, self.step / (self.step + 1))
        self.loss = memory * self.loss + (1.0 - memory) * loss.detach()
        self.step += 1

    def _loss(self, network: Callable[..., torch.Tensor], batch: Batch) -> torch.Tensor:
        plan = self._plan
        x_t = add_noise(plan.schedule, batch.images, batch.noise, batch.t)
        target = training_target(plan.schedule, plan.prediction, batch.images, batch.noise, batch.t)
        return mse_loss(network(x_t, batch.t, batch.labels), target)

    def evaluate(self, data: ImageSet, weights: dict[str, torch.Tensor]) -> float:
        """Mean squared error, per pixel, of what the network predicts with ``weights``; for epsilon 1 is no skill."""
        plan = self._plan
        batch = evaluation_batch(
            data, timesteps=plan.options.timesteps, seed=plan.request.seed, labels=bool(plan.config.classes)
        ).to(plan.device)

        def network(*inputs: torch.Tensor | None) -> torch.Tensor:
            result: torch.Tensor = torch.func.functional_call(self.network, weights, inputs)
            return result

        with torch.no_grad(), reproducible(plan.device):
            return float(self._loss(network, batch))

    def shipped_weights(self) -> dict[str, torch.Tensor]:
        """The averaged weights in the type they are stored in."""
        dtype = torch.float16 if self._plan.options.weights == "float16" else torch.float32
        return {name: value.to(dtype) for name, value in self.average.items()}

    def state(self) -> dict[str, Any]:
        """Everything needed to go on bit for bit, as plain values and tensors."""
        return {
            "format": _STATE_FORMAT,
            "settings": self._plan.settings(),
            "step": self.step,
            "network": dict(self.network.state_dict()),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "loss": self.loss,
        }

    def restore(self, path: Path) -> None:
        """Go on from the state in ``path``. Raises ModelError or ConfigError."""
        state = read_archive(path, _STATE_FORMAT, _STATE_WHAT).document
        _refuse_differences(path, state.get("settings", {}), self._plan.settings())
        try:
            self.network.load_state_dict(state["network"])
            self.average = {name: value.to(self._plan.device) for name, value in state["average"].items()}
            self.optimiser.load_state_dict(state["optimiser"])
            self.loss = state["loss"].to(self._plan.device)
            self.step = int(state["step"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ModelError(f"{path} is damaged ({type(error).__name__}). Delete it to train afresh.") from error
        if self.step > self._plan.request.steps:
            raise ConfigError(
                f"--steps {self._plan.request.steps} was asked for; the training in {path} has already done "
                f"{self.step}. Ask for more steps, or train afresh with --no-resume."
            )


def _refuse_differences(path: Path, before: dict[str, Any], now: dict[str, Scalar]) -> None:
    differ = [
        f"{name}: {before.get(name, 'not set')!r} then, {now.get(name, 'not set')!r} now"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if differ:
        raise ConfigError(
            f"The training in {path} was started with other settings: {'; '.join(differ)}. Use those again, choose "
            "another --output, or train afresh with --no-resume."
        )


@final
class NativeTrainer:
    """Trains a pixel-diffusion U-Net and writes a checkpoint that the ``native`` backend loads."""

    def train(self, request: TrainRequest, report: Callable[[TrainProgress], None]) -> TrainResult:
        """Train to ``request.steps`` steps in all.

        ``TrainProgress.loss`` is the smoothed loss of the raw weights; held-out losses, and both losses of the result,
        are those of the averaged weights on at most 512 images with fixed noise, so they can be compared (between
        trainings with the same ``prediction``: a loss is that of the network's own output).

        Raises:
            ConfigError: for settings that cannot be used, or that differ from those of the training to be resumed.
            DataError: for images or labels that do not fit.
            ModelError: when the loss is no longer finite, or the training state is damaged.
            StoreError: when the checkpoint or the state cannot be written.
        """
        plan = _plan(request)
        training = _Training(plan)
        state_file = state_path(request.output)
        if request.resume and state_file.exists():
            training.restore(state_file)
        holdout_loss: float | None = None
        while training.step < request.steps:
            training.advance()
            done = training.step
            if done % plan.options.evaluate_every == 0 and request.holdout is not None and done < request.steps:
                holdout_loss = training.evaluate(request.holdout, training.average)
            if done % _REPORT_EVERY == 0 or done in (1, request.steps):
                report(_progress(training, request.steps, holdout_loss))
            if done % plan.options.save_every == 0 or done == request.steps:
                write_archive(state_file, training.state())
        return _finish(plan, training)


def _progress(training: _Training, steps: int, holdout_loss: float | None) -> TrainProgress:
    loss = float(training.loss)
    if not loss < float("inf"):
        raise ModelError(
            f"Training diverged: the loss at step {training.step} is {loss}. Train again with a lower --learning-rate."
        )
    return TrainProgress(training.step, steps, loss, holdout_loss)


def _finish(plan: _Plan, training: _Training) -> TrainResult:
    """Write the checkpoint and judge exactly the weights that it holds."""
    request = plan.request
    weights = training.shipped_weights()
    checkpoint = Checkpoint(
        architecture=plan.config,
        schedule=plan.schedule.name,
        weights=weights,
        image_shape=request.data.shape,
        training=TrainingRecord(
            data=request.data_ref,
            data_digest=request.data.digest,
            data_size=len(request.data),
            holdout=request.holdout_ref,
            steps=training.step,
            horizontal_flip=request.horizontal_flip,
            seed=request.seed,
        ),
        sampling=plan.sampling,
        prediction=plan.prediction,
        licence=plan.options.licence,
        settings={**plan.settings(), "weights": plan.options.weights},
    )
    sha256 = save_checkpoint(request.output, checkpoint)
    rounded = {name: value.float() for name, value in weights.items()}
    return TrainResult(
        checkpoint=request.output,
        identity=checkpoint.identity(request.output.stem, sha256),
        loss=training.evaluate(request.data, rounded),
        holdout_loss=None if request.holdout is None else training.evaluate(request.holdout, rounded),
    )
