"""A small U-Net, predicting epsilon, x0 or v: residual blocks, time embedding, attention at the low resolutions.

Any height and width work: every level halves the side and rounds up, and on the way back features are cropped to
the size of the skip connection they meet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import silu

from ldm_eval.errors import ConfigError
from ldm_eval_native.layers import enlarge, group_norm, zeroed

__all__ = ["UNet", "UNetConfig"]


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """Architecture of a ``UNet``.

    Attributes:
        image_channels: C of what it denoises: 1 or 3 for images, more for latents.
        channels: Feature channels at full resolution.
        multipliers: Channel multiplier of each resolution level; their number is the number of levels.
        blocks: Residual blocks per level.
        attention: How many of the lowest levels have self-attention.
        timesteps: T of the schedule; the embedding sees 1000 t / T.
        classes: Number of class labels, 0 for an unconditional net. Label ``classes`` means "no label".
    """

    image_channels: int
    channels: int = 32
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 2
    attention: int = 1
    timesteps: int = 1000
    classes: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be built, or is so large that a file naming it is damaged or hostile.

        Raises:
            ConfigError: for any of these.
        """
        levels = len(self.multipliers)
        limits = {
            "image_channels": (self.image_channels, 1, 64),
            "channels": (self.channels, 4, 1024),
            "number of levels": (levels, 1, 6),
            "smallest multiplier": (min(self.multipliers, default=0), 1, 16),
            "largest multiplier": (max(self.multipliers, default=0), 1, 16),
            "blocks": (self.blocks, 1, 8),
            "attention": (self.attention, 0, levels),
            "timesteps": (self.timesteps, 1, 100_000),
            "classes": (self.classes, 0, 100_000),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise ConfigError(f"A U-Net's {name} must lie between {low} and {high}; found {value}.")
        if self.channels % 4:
            raise ConfigError(f"A U-Net's channels must be a multiple of 4; found {self.channels}.")


class _ResidualBlock(nn.Module):
    """norm, SiLU, conv, + embedding, norm, SiLU, conv (starts at zero), + input."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.norm_in = group_norm(inputs)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.embed = nn.Linear(embedding, outputs)
        self.norm_out = group_norm(outputs)
        self.conv_out = zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        h = self.conv_in(silu(self.norm_in(x))) + self.embed(embedding)[:, :, None, None]
        out: torch.Tensor = self.skip(x) + self.conv_out(silu(self.norm_out(h)))
        return out


class _Attention(nn.Module):
    """Self-attention over all positions, one head, starts as the identity.

    Written with plain matrix products: the fused kernels' backward pass is not deterministic on CUDA.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, 3, c, h * w).unbind(1)
        weights = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(c), dim=-1)
        mixed = (v @ weights.transpose(1, 2)).reshape(n, c, h, w)
        result: torch.Tensor = x + self.out(mixed)
        return result


class _Stage(nn.Module):
    """A residual block, followed by attention where the level has it."""

    def __init__(self, inputs: int, outputs: int, embedding: int, attention: bool) -> None:
        super().__init__()
        self.block = _ResidualBlock(inputs, outputs, embedding)
        self.attention = _Attention(outputs) if attention else nn.Identity()

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.attention(self.block(x, embedding))
        return out


class UNet(nn.Module):
    """``x_t (N, C, H, W) float32``, ``t (N,) int64``, optional ``labels (N,) int64`` -> prediction ``(N, C, H, W)``."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels * m for m in config.multipliers]
        attends = [level >= len(widths) - config.attention for level in range(len(widths))]
        embedding = 4 * config.channels
        self.time = nn.Sequential(nn.Linear(config.channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.label = nn.Embedding(config.classes + 1, embedding) if config.classes else None
        self.stem = nn.Conv2d(config.image_channels, widths[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        below = widths[0]
        for level, width in enumerate(widths):
            for _ in range(config.blocks):
                self.down.append(_Stage(below, width, embedding, attends[level]))
                below = width
            if level + 1 < len(widths):
                self.shrink.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
        self.middle_in = _Stage(below, below, embedding, config.attention > 0)
        self.middle_out = _Stage(below, below, embedding, False)
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(config.blocks):
                self.up.append(_Stage(below + width, width, embedding, attends[level]))
                below = width
            if level:
                self.grow.append(nn.Conv2d(width, width, 3, padding=1))
        self.norm = group_norm(below)
        self.out = zeroed(nn.Conv2d(below, config.image_channels, 3, padding=1))

    def _embedding(self, t: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        half = self.config.channels // 2
        rates = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * (-math.log(10_000.0) / half))
        angles = (t.to(torch.float32) * (1000.0 / self.config.timesteps))[:, None] * rates
        embedding: torch.Tensor = self.time(torch.cat([angles.cos(), angles.sin()], dim=1))
        if self.label is None:
            return silu(embedding)
        chosen = torch.full_like(t, self.config.classes) if labels is None else labels
        return silu(embedding + self.label(chosen))

    def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Predict what it was trained to; ``labels`` are ignored by an unconditional net."""
        embedding = self._embedding(t, labels)
        blocks, levels = self.config.blocks, len(self.config.multipliers)
        h: torch.Tensor = self.stem(x)
        skips: list[torch.Tensor] = []
        for i, stage in enumerate(self.down):
            h = stage(h, embedding)
            skips.append(h)
            if (i + 1) % blocks == 0 and (i + 1) // blocks < levels:
                h = self.shrink[i // blocks](h)
        h = self.middle_out(self.middle_in(h, embedding), embedding)
        for i, stage in enumerate(self.up):
            h = stage(torch.cat([h, skips.pop()], dim=1), embedding)
            if (i + 1) % blocks == 0 and (i + 1) // blocks < levels:
                h = self.grow[i // blocks](enlarge(h, *skips[-1].shape[-2:]))
        out: torch.Tensor = self.out(silu(self.norm(h)))
        return out
