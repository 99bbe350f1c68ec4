"""The one training loop: AdamW, warm-up, gradient clipping, an average of the weights, and a state to go on from.

What is learned is a ``Task``; the diffusion trainer and the autoencoder's each write one.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, final

import torch
from torch import nn

from ldm_eval.api import ImageSet, Scalar, TrainingRecord, TrainProgress, TrainRequest
from ldm_eval.diffusion.randomness import derived_seed
from ldm_eval.errors import ConfigError, DataError, ModelError
from ldm_eval_native.archive import read_archive, write_archive
from ldm_eval_native.batches import TensorBatch
from ldm_eval_native.compute import lower_precision, reproducible
from ldm_eval_native.history import LossHistory, write_curves
from ldm_eval_native.options import LoopOptions
from ldm_eval_native.outputs import check_output, previews_folder, state_path

__all__ = [
    "FinalLosses",
    "Forward",
    "Task",
    "Training",
    "check_request",
    "shared_settings",
    "training_record",
]

_STATE_FORMAT = "ldm-eval-native-training"
_STATE_WHAT = "a training state of ldm-eval"
_REPORT_EVERY = 10
_WATCHED_AT_ONCE = 64

Forward = Callable[..., Any]
"""A network's forward pass, with the weights of the moment or with others."""

_B = TypeVar("_B", bound=TensorBatch)


class Task(ABC, Generic[_B]):
    """What a training learns. Everything it gives is a function of the request and the arguments alone."""

    loss_name: ClassVar[str]
    """The loss and its unit, for the axis of the curves."""

    @abstractmethod
    def network(self) -> nn.Module:
        """A new network; called with the global generator seeded, because initialisers take no other."""

    @abstractmethod
    def batch(self, step: int) -> _B:
        """What step ``step`` (0, 1, 2, ...) is shown, on the CPU."""

    @abstractmethod
    def loss(self, forward: Forward, batch: _B) -> torch.Tensor:
        """The loss of ``batch``, a mean over its rows, in float32."""

    @abstractmethod
    def watched(self, holdout: bool) -> _B:
        """Fixed rows of the training images, or of those held out, to judge weights on."""

    @abstractmethod
    def preview(self, network: nn.Module, step: int, path: Path) -> None:
        """Draw what ``network``, in inference mode, makes after ``step`` steps; or nothing, if there is nothing."""


@dataclass(frozen=True, slots=True)
class FinalLosses:
    """Losses of the weights that ship, on training images and on those held out (None: there are none)."""

    training: float
    holdout: float | None


def check_request(request: TrainRequest) -> None:
    """Refuse what no trainer here can use. Raises ConfigError or DataError."""
    numbers = {
        "--steps": request.steps,
        "--batch-size": request.batch_size,
        "--learning-rate": request.learning_rate,
    }
    for name, value in numbers.items():
        if not 0 < value < float("inf"):
            raise ConfigError(f"{name} must be greater than zero; found {value}.")
    check_output(request.output, request.data, request.data_ref, "the training data")
    if len(request.data) == 0:
        raise DataError(f"'{request.data_ref}' has no images to train on.")
    if request.holdout is not None:
        check_output(request.output, request.holdout, request.holdout_ref, "the held-out images")
        _check_holdout(request.data, request.data_digest, request.holdout, request.holdout_ref)


def _check_holdout(data: ImageSet, data_digest: str, holdout: ImageSet, holdout_ref: str) -> None:
    if len(holdout) == 0 or holdout.shape != data.shape:
        raise DataError(
            f"Held-out images must have the shape of the training images, {data.shape}; '{holdout_ref}' has "
            f"{len(holdout)} of {holdout.shape}. Name another --holdout, or none."
        )
    if holdout.pixels.dtype != data.pixels.dtype:
        raise DataError(
            f"The training images have {8 * data.pixels.itemsize} bits per channel, those of '{holdout_ref}' "
            f"{8 * holdout.pixels.itemsize}: their losses would differ by the rounding too. Save both alike."
        )
    if holdout.digest in (data.digest, data_digest):
        raise DataError(
            f"The images of '{holdout_ref}' are the training images themselves, so nothing would be held out. "
            "Name another --holdout, or none."
        )


def training_record(request: TrainRequest, steps: int) -> TrainingRecord:
    """What a file says of its own training."""
    return TrainingRecord(
        data=request.data_ref,
        data_digest=request.data_digest or request.data.digest,
        data_size=len(request.data),
        holdout=request.holdout_ref,
        steps=steps,
        horizontal_flip=request.horizontal_flip,
        seed=request.seed,
        canaries=request.canaries,
    )


def shared_settings(request: TrainRequest, options: LoopOptions, device: torch.device) -> dict[str, Scalar]:
    """What shapes the weights in any training, beside the number of steps."""
    lowered: dict[str, Scalar] = {"precision": "bfloat16"} if lower_precision(options.precision, device) else {}
    flipped: dict[str, Scalar] = {"canaries": len(request.canaries.split())} if request.canaries else {}
    return {
        "data digest": request.data.digest,
        "batch size": request.batch_size,
        "learning rate": request.learning_rate,
        "seed": request.seed,
        "horizontal flip": request.horizontal_flip,
        **options.shaping_weights(),
        **lowered,
        **flipped,
    }


@final
class Training(Generic[_B]):
    """The part of a training that changes: weights, their average, the optimiser, the step, the losses so far.

    Args:
        task: What is learned.
        request: Steps, learning rate, seed, where to write.
        options: Of the trainer.
        settings: Everything that shapes the weights: equal, or a resumed training is another training.
        device: Where to train.
    """

    def __init__(
        self,
        task: Task[_B],
        request: TrainRequest,
        options: LoopOptions,
        settings: Mapping[str, Scalar],
        device: torch.device,
    ) -> None:
        self._task, self._request, self._options = task, request, options
        self._settings, self._device = dict(settings), device
        self._lowered = lower_precision(options.precision, device)
        with torch.random.fork_rng(devices=[]):  # PyTorch's initialisers take no generator
            torch.default_generator.manual_seed(derived_seed(request.seed, "initialisation"))
            network = task.network()
        self._network = network.to(device)
        self._weights = dict(self._network.state_dict())  # views: they change with every step
        self._average = {name: value.clone() for name, value in self._weights.items()}
        self._optimiser = torch.optim.AdamW(
            self._network.parameters(), lr=request.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        self._history = LossHistory.empty()
        self._loss = torch.zeros((), device=device)
        self.step = 0

    def run(self, report: Callable[[TrainProgress], None]) -> None:
        """Train to ``request.steps`` steps in all, from the state on disk where there is one and it is wanted.

        ``TrainProgress.loss`` is the smoothed loss of the raw weights; held-out losses are those of the averaged ones.

        Raises:
            ConfigError: for a state with other settings, or with more steps than are asked for.
            ModelError: when the loss is no longer finite, or the state is damaged.
            StoreError: when the state, a curve or a grid cannot be written.
        """
        request, options = self._request, self._options
        state_file = state_path(request.output)
        if request.resume and state_file.exists():
            self._restore(state_file)
        holdout_loss: float | None = None
        while self.step < request.steps:
            self._advance()
            done, last = self.step, self.step == request.steps
            watched: float | None = None
            if done % options.evaluate_every == 0 and request.holdout is not None:
                watched = holdout_loss = self._judge(self._average, holdout=True)
            if done % _REPORT_EVERY == 0 or done == 1 or watched is not None:
                self._history = self._history.add(done, self._finite_loss(), watched)
            if done % _REPORT_EVERY == 0 or done == 1 or last:
                report(TrainProgress(done, request.steps, self._finite_loss(), holdout_loss))
            if done % options.save_every == 0 or last:
                self._save(state_file)
            if options.preview_every and done % options.preview_every == 0:
                self._preview()

    def finish(self, weights: Mapping[str, torch.Tensor]) -> FinalLosses:
        """Judge exactly the weights that ship, on at most 512 images with fixed noise, and draw the curves."""
        rounded = {name: value.float() for name, value in weights.items()}
        holdout = None if self._request.holdout is None else self._judge(rounded, holdout=True)
        losses = FinalLosses(self._judge(rounded, holdout=False), holdout)
        if self._options.curves:
            whole = self._history.add(self.step, self._finite_loss(), holdout)
            write_curves(whole, self._request.output, loss_name=self._task.loss_name)
        return losses

    def shipped_weights(self) -> dict[str, torch.Tensor]:
        """The averaged weights in the type they are stored in."""
        dtype = torch.float16 if self._options.weights == "float16" else torch.float32
        return {name: value.to(dtype) for name, value in self._average.items()}

    def _advance(self) -> None:
        """One optimiser step."""
        options = self._options
        batch = self._task.batch(self.step).to(self._device)
        warm = min(1.0, (self.step + 1) / max(options.warmup, 1))
        for group in self._optimiser.param_groups:
            group["lr"] = self._request.learning_rate * warm
        self._network.train()
        with reproducible(self._device):
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._lowered):
                loss = self._task.loss(self._network, batch)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), options.clip)
        self._optimiser.step()
        # Early on the average follows quickly, or it would still hold the initial weights.
        keep = min(options.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self._weights.items():
                self._average[name].lerp_(value, 1.0 - keep)
        memory = min(0.98, self.step / (self.step + 1))
        self._loss = memory * self._loss + (1.0 - memory) * loss.detach()
        self.step += 1

    def _finite_loss(self) -> float:
        loss = float(self._loss)
        if not loss < float("inf"):
            raise ModelError(
                f"Training diverged: the loss at step {self.step} is {loss}. Train again with a lower --learning-rate."
            )
        return loss

    def _judge(self, weights: dict[str, torch.Tensor], *, holdout: bool) -> float:
        """The loss with ``weights`` on the rows that are watched, in float32."""

        def forward(*inputs: torch.Tensor | None) -> Any:
            return torch.func.functional_call(self._network, weights, inputs)

        batch, total = self._task.watched(holdout), 0.0
        with torch.no_grad(), reproducible(self._device):
            for piece in batch.pieces(_WATCHED_AT_ONCE):
                total += float(self._task.loss(forward, piece.to(self._device))) * len(piece)
        return total / len(batch)

    def _preview(self) -> None:
        network = copy.deepcopy(self._network)
        network.load_state_dict(self._average)
        path = previews_folder(self._request.output) / f"step-{self.step:06d}.png"
        self._task.preview(network.eval().requires_grad_(False), self.step, path)

    def _save(self, state_file: Path) -> None:
        """Everything needed to go on bit for bit, as plain values and tensors; and the curves so far."""
        self._finite_loss()
        state = {
            "format": _STATE_FORMAT,
            "settings": self._settings,
            "step": self.step,
            "network": self._weights,
            "average": self._average,
            "optimiser": self._optimiser.state_dict(),
            "loss": self._loss,
            "history": self._history.state(),
        }
        write_archive(state_file, state)
        if self._options.curves and self.step < self._request.steps:
            write_curves(self._history, self._request.output, loss_name=self._task.loss_name)

    def _restore(self, path: Path) -> None:
        """Go on from the state in ``path``. Raises ModelError or ConfigError."""
        state = read_archive(path, _STATE_FORMAT, _STATE_WHAT).document
        try:
            _refuse_differences(path, dict(state["settings"]), self._settings)
            self._network.load_state_dict(state["network"])
            self._average = self._like_the_weights(state["average"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._loss = state["loss"].to(self._device)
            self.step = int(state["step"])
            if self.step < 0:
                raise ValueError(self.step)
            self._history = LossHistory.from_state(state.get("history", []))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ModelError(f"{path} is damaged ({type(error).__name__}). Delete it to train afresh.") from error
        if self.step > self._request.steps:
            raise ConfigError(
                f"--steps {self._request.steps} was asked for; the training in {path} has already done "
                f"{self.step}. Ask for more steps, or train afresh with --no-resume."
            )

    def _like_the_weights(self, stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """``stored``, on the device. Raises ValueError unless it has the names and shapes of the network's weights."""
        if {name: value.shape for name, value in stored.items()} != {n: w.shape for n, w in self._weights.items()}:
            raise ValueError("average")
        return {name: value.to(self._device) for name, value in stored.items()}


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
