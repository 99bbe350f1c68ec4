"""Backend and trainer for the models that ldm-eval trains itself."""

from __future__ import annotations

from ldm_eval.api import Backend, BackendSpec, Trainer, TrainerSpec
from ldm_eval.hooks import hookimpl


def _load_backend() -> Backend:
    from ldm_eval_native.backend import NativeBackend

    return NativeBackend()


def _load_trainer() -> Trainer:
    from ldm_eval_native.trainer import NativeTrainer

    return NativeTrainer()


def _load_autoencoder_trainer() -> Trainer:
    from ldm_eval_native.autoencoder_trainer import AutoencoderTrainer

    return AutoencoderTrainer()


@hookimpl
def ldm_eval_backends() -> list[BackendSpec]:
    """Checkpoints that ``ldm-eval train`` wrote."""
    summary = "pixel and latent diffusion models trained by ldm-eval (.pt, .safetensors)"
    return [BackendSpec("native", summary, _load_backend)]


@hookimpl
def ldm_eval_trainers() -> list[TrainerSpec]:
    """A small diffusion U-Net, and the autoencoder that makes it a latent one."""
    from ldm_eval_native.options import AutoencoderOptions, option_help

    diffusion = "pixel or latent diffusion: U-Net with attention, EMA; predicts epsilon, x0 or v"
    autoencoder = "KL autoencoder, the first half of a latent model (then: -o autoencoder=FILE)"
    return [
        TrainerSpec("native", diffusion, _load_trainer, option_help()),
        TrainerSpec("autoencoder", autoencoder, _load_autoencoder_trainer, option_help(AutoencoderOptions)),
    ]
