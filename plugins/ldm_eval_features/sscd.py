"""SSCD, a descriptor for finding copies of images (arXiv:2202.10261): a ResNet-50 with GeM pooling.

Two images whose descriptors have a cosine above 0.75 are copies with a precision of 90 % on DISC, say its authors of
``sscd_disc_mixup``. State-dict names are those of their ``.torchvision.pt`` files; ``NAMES`` brings those of their
``.classy.pt`` files to them.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import max_pool2d, normalize, relu_

from ldm_eval_features.folding import folded

FEATURES = 512
SIZE = 320
_POWER = 3
_SMALLEST = 1e-6

NAMES = (
    (r"^backbone\.initial_block\._module\.0\.", "backbone.conv1."),
    (r"^backbone\.initial_block\._module\.1\.", "backbone.bn1."),
    *[(rf"^backbone\.blocks\.{i}\.(?:block{i}-)?(\d+)\.", rf"backbone.layer{i + 1}.\1.") for i in range(4)],
    *[
        (rf"\.convolutional_block\.{place}\.", f".{name}.")
        for place, name in ((0, "conv1"), (1, "bn1"), (3, "conv2"), (4, "bn2"), (6, "conv3"))
    ],
    (r"(layer\d\.\d+)\.bn\.", r"\1.bn3."),
    (r"^embeddings\.1\.", "backbone.fc."),
)
"""Patterns and replacements, for ``weight_names.renamed``."""


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 and the shortcut."""

    def __init__(self, inputs: int, hidden: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * hidden
        self.conv1 = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, stride=stride, padding=1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(hidden)
        self.conv3 = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.bn3: nn.Module = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` -> ``(N, 4 hidden, H / stride, W / stride)``, not negative."""
        y = relu_(self.bn1(self.conv1(x)))
        y = relu_(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return relu_(y)


class ResNet50(nn.Module):
    """ResNet-50 (arXiv:1512.03385, stride in the 3x3) with GeM pooling in place of the mean."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(64)
        self.layer1 = _layer(64, 64, repeats=3, stride=1)
        self.layer2 = _layer(256, 128, repeats=4, stride=2)
        self.layer3 = _layer(512, 256, repeats=6, stride=2)
        self.layer4 = _layer(1024, 512, repeats=3, stride=2)
        self.fc = nn.Linear(2048, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, 3, H, W)`` -> ``(N, outputs)``."""
        x = max_pool2d(relu_(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        projected: torch.Tensor = self.fc(generalised_mean(x))
        return projected


class Sscd(nn.Module):
    """``(N, 3, 320, 320)`` normalised images -> ``(N, 512)`` descriptors of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet50(FEATURES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Descriptors; their scalar product is a cosine."""
        return normalize(self.backbone(x))

    @property
    def dimension(self) -> int:
        """Features of an image."""
        return FEATURES

    @property
    def classifier(self) -> None:
        """None: it was trained without classes."""
        return None

    def fold(self) -> None:
        """Fold every batch norm into the convolution before it."""
        _fold(self.backbone, "conv1", "bn1")
        for block in self.backbone.modules():
            if isinstance(block, Bottleneck):
                for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")):
                    _fold(block, conv, norm)
                if block.downsample is not None:
                    _fold(block.downsample, "0", "1")


def generalised_mean(x: torch.Tensor) -> torch.Tensor:
    """GeM pooling with p = 3 (arXiv:1711.02512): ``(N, C, H, W)`` -> ``(N, C)``, the cube root of the mean cube."""
    return x.clamp(min=_SMALLEST).pow(_POWER).mean(dim=(2, 3)).pow(1.0 / _POWER)


def _layer(inputs: int, hidden: int, repeats: int, stride: int) -> nn.Sequential:
    rest = [Bottleneck(4 * hidden, hidden, 1) for _ in range(repeats - 1)]
    return nn.Sequential(Bottleneck(inputs, hidden, stride), *rest)


def _fold(owner: nn.Module, conv: str, norm: str) -> None:
    setattr(owner, conv, folded(getattr(owner, conv), getattr(owner, norm)))
    setattr(owner, norm, nn.Identity())
