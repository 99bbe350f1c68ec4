"""Weights as files hold them: plain float tensors, checked before a network takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ldm_eval.errors import ModelError

__all__ = ["filled", "plain", "read_weights", "refuse_nan", "stored_as"]

_N = TypeVar("_N", bound=nn.Module)


def plain(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights as a file holds them: on the CPU, contiguous."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}


def read_weights(entry: Any) -> dict[str, torch.Tensor]:
    """The weights in a file's entry.

    Raises:
        TypeError: for anything but plain float32 and float16 tensors whose values are all in the file: a sparse one, or
            one number standing for a billion, would be found by whoever computes with it.
    """
    weights = dict(entry)
    for name, tensor in weights.items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in (torch.float32, torch.float16):
            raise TypeError(f"weight {name!r} is not a float tensor")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise TypeError(f"weight {name!r} is not a plain tensor")
    return weights


def stored_as(weights: Mapping[str, torch.Tensor]) -> str:
    """``"float32"`` or ``"float16"``."""
    return "+".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()}))


def refuse_nan(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raise ModelError when a weight is no number."""
    broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelError(
            f"{len(broken)} of {len(weights)} weight tensors of {path} contain NaN or infinite values (first: "
            f"'{broken[0]}'). Training has diverged or the file is damaged: train again with a lower --learning-rate."
        )


def filled(make: Callable[[], _N], weights: Mapping[str, torch.Tensor], path: Path) -> _N:
    """Return the network that ``make`` lays out with ``weights`` in float32, on the CPU, in inference mode.

    It is laid out without memory and without random numbers first, and the names and shapes compared, so that a file
    of another architecture costs nothing and gets one clear error.

    Raises:
        ModelError: when weights and architecture do not belong together.
    """
    with torch.device("meta"):
        network = make()
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
        details = [
            f"{title} {len(names)} (first: '{names[0]}')"
            for title, names in (
                ("missing", sorted(expected.keys() - found.keys())),
                ("unknown", sorted(found.keys() - expected.keys())),
                ("of another shape", wrong),
            )
            if names
        ]
        raise ModelError(
            f"The weights in {path} are those of another architecture than the file names: {'; '.join(details)}. "
            "Load the checkpoint that was trained, unchanged."
        )
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    return network.eval().requires_grad_(False)
