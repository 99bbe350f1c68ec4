"""Folding batch norm into the convolution before it: the same function, a third of the memory traffic."""

from __future__ import annotations

import torch
from torch import nn


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution with bias that equals ``norm(conv(x))`` in inference mode; products are taken in float64.

    Args:
        conv: Convolution without bias.
        norm: Its batch norm with running statistics and affine weights.
    """
    mean, variance = _statistic(norm.running_mean), _statistic(norm.running_var)
    gain = norm.weight.double() / torch.sqrt(variance + norm.eps)
    with torch.device("meta"):  # parameters are assigned below; nothing is drawn from the global generator
        result = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            (conv.kernel_size[0], conv.kernel_size[1]),
            stride=(conv.stride[0], conv.stride[1]),
            padding=(int(conv.padding[0]), int(conv.padding[1])),
            groups=conv.groups,
        )
    weight = (conv.weight.double() * gain[:, None, None, None]).float()
    bias = (norm.bias.double() - mean * gain).float()
    result.weight = nn.Parameter(weight.detach(), requires_grad=False)
    result.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return result


def _statistic(value: torch.Tensor | None) -> torch.Tensor:
    if value is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    return value.double()
