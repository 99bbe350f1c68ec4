"""DINOv2's vision transformers of patch 14 (arXiv:2304.07193): the class token after the last layer norm.

State-dict names are those of the published ``dinov2_vit?14_pretrain.pth``; ``published_names`` takes the names of the
same networks in Hugging Face's repositories as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import gelu, interpolate

from ldm_eval_features.attention import attend
from ldm_eval_features.weight_names import packed, renamed

SIZE = 224
_EPS = 1e-6
_OFFSET = 0.1


@dataclass(frozen=True, slots=True)
class Architecture:
    """Width, depth and heads of a vision transformer.

    Attributes:
        trained: Patches along a side of the images that its positions were learned for: 37 is 518 pixels.
    """

    width: int
    depth: int
    heads: int
    patch: int = 14
    trained: int = 37


VIT_S14 = Architecture(width=384, depth=12, heads=6)
VIT_B14 = Architecture(width=768, depth=12, heads=12)
VIT_L14 = Architecture(width=1024, depth=24, heads=16)


class _Patches(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, 3, H, W)`` -> ``(N, patches, width)``, row by row."""
        patches: torch.Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return patches


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, T, width)`` -> the same shape."""
        out: torch.Tensor = self.proj(attend(self.qkv(x), self.heads))
        return out


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, T, width)`` -> the same shape; the exact GELU."""
        out: torch.Tensor = self.fc2(gelu(self.fc1(x)))
        return out


class _Scale(nn.Module):
    """One learned factor for each channel of a residual branch (LayerScale, arXiv:2103.17239)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, T, width)`` -> the same shape."""
        return x * self.gamma


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = _Attention(width, heads)
        self.ls1: nn.Module = _Scale(width)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = _Mlp(width)
        self.ls2: nn.Module = _Scale(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, T, width)`` -> the same shape."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        out: torch.Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out

    def fold(self) -> None:
        """Put the factors of both branches into the linear layers before them."""
        for last, name in ((self.attn.proj, "ls1"), (self.mlp.fc2, "ls2")):
            gamma = getattr(self, name).gamma.double()
            last.weight = _frozen(last.weight.double() * gamma[:, None], last.weight)
            last.bias = _frozen(last.bias.double() * gamma, last.bias)
            setattr(self, name, nn.Identity())


class DinoV2(nn.Module):
    """``(N, 3, 224, 224)`` normalised images -> ``(N, width)``: the class token, after the last norm."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._architecture = architecture
        width = architecture.width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + architecture.trained**2, width))
        self.patch_embed = _Patches(width, architecture.patch)
        self.blocks = nn.ModuleList(_Block(width, architecture.heads) for _ in range(architecture.depth))
        self.norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of normalised images; ``fold`` comes first, unless they are of the size it was trained at."""
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), self.patch_embed(x)], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        out: torch.Tensor = self.norm(x[:, 0])
        return out

    @property
    def dimension(self) -> int:
        """Features of an image."""
        return self._architecture.width

    @property
    def classifier(self) -> None:
        """It does not classify."""
        return None

    def fold(self) -> None:
        """Bring the positions to 16 x 16 patches, and LayerScale into the layers before it."""
        side = SIZE // self._architecture.patch
        self.pos_embed = _frozen(positions_at(self.pos_embed, side), self.pos_embed)
        for block in self.blocks:
            if isinstance(block, _Block):
                block.fold()


def positions_at(learned: torch.Tensor, side: int) -> torch.Tensor:
    """``(1, 1 + M^2, D)`` learned positions -> ``(1, 1 + side^2, D)``, as the published code interpolates them.

    Bicubic without antialias, and with the factor ``(side + 0.1) / M`` where ``side / M`` would be expected: the tenth
    was a guard against rounding and is part of what the published figures were computed with. (Hugging Face's port
    interpolates to the size, without it: another network by a little.)
    """
    trained = math.isqrt(learned.shape[1] - 1)
    if trained == side:
        return learned
    grid = learned[:, 1:].reshape(1, trained, trained, -1).permute(0, 3, 1, 2)
    factor = (side + _OFFSET) / trained
    moved = interpolate(grid, scale_factor=(factor, factor), mode="bicubic", antialias=False)
    return torch.cat([learned[:, :1], moved.flatten(2).transpose(1, 2)], dim=1)


def _frozen(values: torch.Tensor, like: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(like.dtype).detach(), requires_grad=False)


_RENAMED = (
    (r"^dinov2\.", ""),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.", ""),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.(?:attention\.)?(query|key|value|[qkv]_proj)\.", r".attn.\1."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)
_PARTS = (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"))


def published_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under the names of the published files, from there or from Hugging Face's; unknown names stay.

    The token of masked patches, which takes no part in features, is left out.
    """
    known = renamed(tensors, _RENAMED)
    known.pop("mask_token", None)
    return packed(known, ".attn.", _PARTS, "qkv.")
