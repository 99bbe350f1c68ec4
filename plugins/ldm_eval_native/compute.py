"""Where the tensors live, and the settings under which the same inputs give the same numbers."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

from ldm_eval.errors import ConfigError

__all__ = ["choose_device", "lower_precision", "reproducible"]


def choose_device(text: str) -> torch.device:
    """Return the device ``text`` names. Raises ConfigError when this machine does not have it."""
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise ConfigError(f"There is no device '{text}'. Use cpu, cuda or cuda:1.") from error
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise ConfigError(
            f"Device '{text}' was asked for; PyTorch sees {torch.cuda.device_count()} CUDA devices here. "
            "Use --device cpu, or install a CUDA build of PyTorch."
        )
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"Device '{text}' is not supported; use cpu or cuda.")
    return device


def reproducible(device: torch.device) -> AbstractContextManager[None]:
    """Full float32 and fixed kernels in cuDNN for as long as the context lasts; nothing to do on a CPU.

    TF32 convolutions, the default on newer GPUs, keep ten bits of mantissa: images would change with the device.
    """
    if device.type != "cuda":
        return contextlib.nullcontext()
    manager: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return manager


def lower_precision(wanted: str, device: torch.device) -> bool:
    """Whether a training asked for ``wanted`` (float32, bfloat16 or auto) multiplies in bfloat16 on ``device``.

    auto: on GPUs that have it in hardware (compute capability 8.0). On a CPU without matrix units for it, it is slower
    than float32; it may still be asked for.
    """
    if wanted != "auto":
        return wanted == "bfloat16"
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
