"""Branches of one block whose first convolution is 1x1 and sees the same input: those convolutions done as one.

The input, the largest tensor of the block, is then read once instead of four times. A mean over a window and a 1x1
convolution may change places (both are linear, one in space and one in channels, and the mean leaves a constant bias
as it is), so a pooled branch takes part as well and pools a quarter of the channels. Only rounding differs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, relu_


class Fork(nn.Module):
    """Two modules on the same input, one after the other in the channels of the output."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` -> ``(N, C' + C'', H', W')``."""
        return torch.cat([self.first(x), self.second(x)], 1)


class Branches(nn.Module):
    """A block of folded convolutions as one 1x1 convolution, the rest of each branch, and a concatenation.

    Args:
        heads: For each branch its first convolution, 1x1 with bias and followed by ReLU, and what comes after.
        averaged: Convolution of a branch that is ReLU(conv(3x3 mean over the pixels that exist)); it comes last.
        beside: A branch that does not begin with a 1x1 convolution; it comes last.
    """

    def __init__(
        self,
        heads: Sequence[tuple[nn.Conv2d, nn.Module]],
        averaged: nn.Conv2d | None = None,
        beside: nn.Module | None = None,
    ) -> None:
        super().__init__()
        convs = [conv for conv, _ in heads] + ([averaged] if averaged is not None else [])
        self.weight = _joined([conv.weight for conv in convs])
        self.bias = _joined([conv.bias for conv in convs if conv.bias is not None])
        self.tails = nn.ModuleList(tail for _, tail in heads)
        self.beside = beside
        self._averaged = averaged is not None
        self._sizes = [conv.out_channels for conv in convs]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` -> ``(N, C', H', W')``."""
        parts = list(torch.split(conv2d(x, self.weight, self.bias), self._sizes, dim=1))
        last = []
        if self._averaged:
            last.append(relu_(avg_pool2d(parts.pop(), 3, stride=1, padding=1, count_include_pad=False)))
        if self.beside is not None:
            last.append(self.beside(x))
        return torch.cat([tail(relu_(part)) for part, tail in zip(parts, self.tails, strict=True)] + last, 1)


def _joined(tensors: Sequence[torch.Tensor]) -> nn.Parameter:
    return nn.Parameter(torch.cat([tensor.detach() for tensor in tensors]), requires_grad=False)
