"""The Inception network of 2015 that FID is defined on (arXiv:1512.00567, arXiv:1706.08500).

It is not torchvision's Inception: average pools leave their padding out of the mean, the last block pools by maximum,
and there are 1008 classes. State-dict names are those of the public ``pt_inception-2015-12-05-6726825d.pth``, the
weights of TensorFlow's ``inception-2015-12-05`` graph.

Modules compute as the graph does until ``fold``, which leaves the same function with fewer and larger steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

from ldm_eval_features.branches import Branches, Fork
from ldm_eval_features.folding import folded

FEATURES = 2048
CLASSES = 1008
SIZE = 299
SPATIAL_CHANNELS = 7
SPATIAL_SIDE = 17

_Size = int | tuple[int, int]


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm (eps 0.001), ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: _Size, stride: int = 1, padding: _Size = 0) -> None:
        super().__init__()
        self.conv: nn.Conv2d = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` -> ``(N, C', H', W')``, not negative."""
        return relu(self.bn(self.conv(x)), inplace=True)

    def fold(self) -> None:
        """Fold the batch norm into the convolution."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv, self.bn = folded(self.conv, self.bn), nn.Identity()


def _average(x: torch.Tensor) -> torch.Tensor:
    """3x3 mean over the pixels that exist: TensorFlow's SAME average pool."""
    return avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """Mixed_5b to 5d, 35x35."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 64, 1)
        self.branch5x5_1 = ConvNorm(inputs, 48, 1)
        self.branch5x5_2 = ConvNorm(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, padding=1)
        self.branch_pool = ConvNorm(inputs, pooled, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, 35, 35)`` -> ``(N, 224 + pooled, 35, 35)``."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_average(x))], 1)

    def fused(self) -> Branches:
        """The same block with its four 1x1 convolutions as one."""
        five = (self.branch5x5_1.conv, self.branch5x5_2)
        double = (self.branch3x3dbl_1.conv, nn.Sequential(self.branch3x3dbl_2, self.branch3x3dbl_3))
        return Branches([(self.branch1x1.conv, nn.Identity()), five, double], averaged=self.branch_pool.conv)


class BlockB(nn.Module):
    """Mixed_6a, 35x35 to 17x17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = ConvNorm(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, 288, 35, 35)`` -> ``(N, 768, 17, 17)``."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, max_pool2d(x, 3, stride=2)], 1)


class BlockC(nn.Module):
    """Mixed_6b to 6e, 17x17, seven-tap separable convolutions."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        wide, tall = (1, 7), (7, 1)
        self.branch1x1 = ConvNorm(768, 192, 1)
        self.branch7x7_1 = ConvNorm(768, hidden, 1)
        self.branch7x7_2 = ConvNorm(hidden, hidden, wide, padding=(0, 3))
        self.branch7x7_3 = ConvNorm(hidden, 192, tall, padding=(3, 0))
        self.branch7x7dbl_1 = ConvNorm(768, hidden, 1)
        self.branch7x7dbl_2 = ConvNorm(hidden, hidden, tall, padding=(3, 0))
        self.branch7x7dbl_3 = ConvNorm(hidden, hidden, wide, padding=(0, 3))
        self.branch7x7dbl_4 = ConvNorm(hidden, hidden, tall, padding=(3, 0))
        self.branch7x7dbl_5 = ConvNorm(hidden, 192, wide, padding=(0, 3))
        self.branch_pool = ConvNorm(768, 192, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, 768, 17, 17)`` -> the same shape."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_average(x))], 1)

    def fused(self) -> Branches:
        """The same block with its four 1x1 convolutions as one."""
        seven = (self.branch7x7_1.conv, nn.Sequential(self.branch7x7_2, self.branch7x7_3))
        rest = [self.branch7x7dbl_2, self.branch7x7dbl_3, self.branch7x7dbl_4, self.branch7x7dbl_5]
        double = (self.branch7x7dbl_1.conv, nn.Sequential(*rest))
        return Branches([(self.branch1x1.conv, nn.Identity()), seven, double], averaged=self.branch_pool.conv)


class BlockD(nn.Module):
    """Mixed_7a, 17x17 to 8x8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = ConvNorm(768, 192, 1)
        self.branch3x3_2 = ConvNorm(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvNorm(768, 192, 1)
        self.branch7x7x3_2 = ConvNorm(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = ConvNorm(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, 768, 17, 17)`` -> ``(N, 1280, 8, 8)``."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, max_pool2d(x, 3, stride=2)], 1)

    def fused(self) -> Branches:
        """The same block with its two 1x1 convolutions as one."""
        three = (self.branch3x3_1.conv, self.branch3x3_2)
        rest = [self.branch7x7x3_2, self.branch7x7x3_3, self.branch7x7x3_4]
        return Branches([three, (self.branch7x7x3_1.conv, nn.Sequential(*rest))], beside=nn.MaxPool2d(3, stride=2))


class BlockE(nn.Module):
    """Mixed_7b and 7c, 8x8; the latter pools by maximum, a peculiarity of the 2015 graph that FID rests on."""

    def __init__(self, inputs: int, pool_by_maximum: bool) -> None:
        super().__init__()
        self.pool_by_maximum = pool_by_maximum
        self.branch1x1 = ConvNorm(inputs, 320, 1)
        self.branch3x3_1 = ConvNorm(inputs, 384, 1)
        self.branch3x3_2a = ConvNorm(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvNorm(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvNorm(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvNorm(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvNorm(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = ConvNorm(inputs, 192, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, C, 8, 8)`` -> ``(N, 2048, 8, 8)``."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = max_pool2d(x, 3, stride=1, padding=1) if self.pool_by_maximum else _average(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(parts, 1)

    def fused(self) -> Branches:
        """The same block with its three or four 1x1 convolutions as one."""
        three = (self.branch3x3_1.conv, Fork(self.branch3x3_2a, self.branch3x3_2b))
        fork = Fork(self.branch3x3dbl_3a, self.branch3x3dbl_3b)
        double = (self.branch3x3dbl_1.conv, nn.Sequential(self.branch3x3dbl_2, fork))
        heads = [(self.branch1x1.conv, nn.Identity()), three, double]
        if not self.pool_by_maximum:
            return Branches(heads, averaged=self.branch_pool.conv)
        pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), self.branch_pool)
        return Branches(heads, beside=pooled)


class InceptionGraph(nn.Module, ABC):
    """All layers under their public names, and the way through them that every kind of feature shares."""

    unfused: ClassVar[frozenset[str]] = frozenset()
    """Blocks that are not run as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3)
        self.Mixed_5b: nn.Module = BlockA(192, 32)
        self.Mixed_5c: nn.Module = BlockA(256, 64)
        self.Mixed_5d: nn.Module = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b: nn.Module = BlockC(128)
        self.Mixed_6c: nn.Module = BlockC(160)
        self.Mixed_6d: nn.Module = BlockC(160)
        self.Mixed_6e: nn.Module = BlockC(192)
        self.Mixed_7a: nn.Module = BlockD()
        self.Mixed_7b: nn.Module = BlockE(1280, pool_by_maximum=False)
        self.Mixed_7c: nn.Module = BlockE(2048, pool_by_maximum=True)
        self.fc: nn.Module = nn.Linear(FEATURES, CLASSES)

    @abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, 3, 299, 299)`` images as ``(v - 128) / 128`` -> ``(N, D)`` features, not negative."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Features of an image."""

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, 3, 299, 299)`` -> ``(N, 768, 17, 17)``, the output of Mixed_6c."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = max_pool2d(x, 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        found: torch.Tensor = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        return found

    def fold(self) -> None:
        """Fold every batch norm into the convolution before it, then fuse the branches of each block."""
        for module in list(self.modules()):
            if isinstance(module, ConvNorm):
                module.fold()
        for name, block in list(self.named_children()):
            if isinstance(block, BlockA | BlockC | BlockD | BlockE) and name not in self.unfused:
                setattr(self, name, block.fused())


class Inception2015(InceptionGraph):
    """The pooled features of FID, ``(N, 2048)`` (``pool_3`` of the graph)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pooled features, not negative."""
        x = self.Mixed_6e(self.Mixed_6d(self.trunk(x)))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean(dim=(2, 3))

    @property
    def dimension(self) -> int:
        """Features of an image."""
        return FEATURES

    @property
    def classifier(self) -> torch.Tensor:
        """``(1008, 2048)`` weights of the last layer."""
        weight: torch.Tensor = self.fc.weight  # type: ignore[assignment]
        return weight


class InceptionSpatial(InceptionGraph):
    """The spatial features of sFID (arXiv:2103.03841), ``(N, 2023)``: where things are, not only what they are.

    They are ``mixed_6/conv:0`` of the graph, 17x17, of which ADM's evaluator keeps the first 7 channels. The graph
    counts its blocks from ``mixed`` = Mixed_5b, so that ``mixed_6`` is Mixed_6d, and ``conv`` is the 1x1 branch after
    its ReLU (a layer of the graph ends in the operation that bears its name). Channels vary fastest, as in TensorFlow.
    """

    unfused = frozenset({"Mixed_6d"})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features ``[row, column, channel]`` in one line, not negative."""
        found: torch.Tensor = self.Mixed_6d.get_submodule("branch1x1")(self.trunk(x))
        return found[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)

    @property
    def dimension(self) -> int:
        """Features of an image."""
        return SPATIAL_SIDE * SPATIAL_SIDE * SPATIAL_CHANNELS

    @property
    def classifier(self) -> None:
        """None: the classifier is far behind these features."""
        return None

    def fold(self) -> None:
        """Drop what lies behind the features, then fold and fuse the rest."""
        for name in ("Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c", "fc"):
            setattr(self, name, nn.Identity())
        super().fold()
