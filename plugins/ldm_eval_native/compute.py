"""Where the tensors live, and the settings under which the same inputs give the same numbers."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

from ldm_eval.errors import ConfigError

__all__ = ["choose_device", "reproducible"]


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
