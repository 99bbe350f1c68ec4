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


@hookimpl
def ldm_eval_backends() -> list[BackendSpec]:
    """Checkpoints that ``ldm-eval train`` wrote."""
    return [BackendSpec("native", "pixel diffusion models trained by ldm-eval (.pt)", _load_backend)]


@hookimpl
def ldm_eval_trainers() -> list[TrainerSpec]:
    """A small pixel-diffusion U-Net."""
    from ldm_eval_native.options import option_help

    summary = "pixel diffusion: U-Net with attention, EMA; predicts epsilon, x0 or v"
    return [TrainerSpec("native", summary, _load_trainer, option_help())]
