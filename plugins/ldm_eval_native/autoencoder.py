"""A small KL autoencoder (arXiv:1312.6114, arXiv:2112.10752): images to Gaussians over latents, latents to images.

Convolutions, group norm and residual blocks; no attention, so that its cost grows with the pixels. Any height and width
work: every level halves the side and rounds up, and on the way back features are cropped to the side of the level they
reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import silu

from ldm_eval.errors import ConfigError
from ldm_eval_native.layers import enlarge, group_norm, zeroed

__all__ = ["AutoencoderConfig", "KLAutoencoder", "Posterior", "Reconstruction"]

_LOG_VARIANCE = (-30.0, 20.0)  # the bounds of arXiv:2112.10752's code: beyond them exp() is of no use to float32


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """Architecture of a ``KLAutoencoder``.

    Attributes:
        image_shape: ``(C, H, W)`` of the images.
        latent_channels: c of a latent.
        channels: Feature channels at full resolution.
        multipliers: Channel multiplier of each resolution level; L levels make latents 2^(L-1) times smaller.
        blocks: Residual blocks per level, in the encoder and in the decoder.
    """

    image_shape: tuple[int, int, int]
    latent_channels: int = 4
    channels: int = 32
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be built, or is so large that a file naming it is damaged or hostile.

        Raises:
            ConfigError: for any of these.
        """
        image_channels, height, width = self.image_shape
        limits = {
            "image channels": (image_channels, 1, 4),
            "image height": (height, 1, 4096),
            "image width": (width, 1, 4096),
            "latent channels": (self.latent_channels, 1, 64),
            "channels": (self.channels, 4, 1024),
            "number of levels": (len(self.multipliers), 1, 6),
            "smallest multiplier": (min(self.multipliers, default=0), 1, 16),
            "largest multiplier": (max(self.multipliers, default=0), 1, 16),
            "blocks": (self.blocks, 1, 8),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise ConfigError(f"An autoencoder's {name} must lie between {low} and {high}; found {value}.")

    @property
    def sides(self) -> tuple[tuple[int, int], ...]:
        """``(height, width)`` of each level, the image's first and the latent's last."""
        _, height, width = self.image_shape
        sides = [(height, width)]
        for _ in self.multipliers[1:]:
            sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
        return tuple(sides)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """``(c, h, w)`` of a latent."""
        return (self.latent_channels, *self.sides[-1])

    def __str__(self) -> str:
        """E.g. ``3x32x32 -> 4x8x8``."""
        return " -> ".join("x".join(map(str, shape)) for shape in (self.image_shape, self.latent_shape))


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """q(z | x), a diagonal Gaussian: ``mean, log_variance (N, c, h, w)``, the latter within [-30, 20]."""

    mean: torch.Tensor
    log_variance: torch.Tensor

    @property
    def std(self) -> torch.Tensor:
        """Standard deviation ``(N, c, h, w)``."""
        return torch.exp(0.5 * self.log_variance)

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """``mean + std * noise``."""
        return self.mean + self.std * noise

    def divergence(self) -> torch.Tensor:
        """``(N,)`` KL(q(z | x) || N(0, I)) in nats per image: sum of (mean^2 + variance - 1 - log variance) / 2."""
        terms = self.mean.square() + self.log_variance.exp() - 1.0 - self.log_variance
        return 0.5 * terms.flatten(1).sum(dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """``images (N, C, H, W)`` decoded from a latent (not clamped), and the ``posterior`` it was drawn from."""

    images: torch.Tensor
    posterior: Posterior


class _Block(nn.Module):
    """norm, SiLU, conv, norm, SiLU, conv (starts at zero), + input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_in = group_norm(channels)
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm_out = group_norm(channels)
        self.conv_out = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv_in(silu(self.norm_in(x)))
        out: torch.Tensor = x + self.conv_out(silu(self.norm_out(h)))
        return out


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(channels) for _ in range(count)))


class _Encoder(nn.Module):
    """Images ``(N, C, H, W)`` -> mean and log variance, ``(N, 2c, h, w)``."""

    def __init__(self, config: AutoencoderConfig, widths: list[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(config.image_shape[0], widths[0], 3, padding=1)
        self.levels = nn.ModuleList(_blocks(width, config.blocks) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.middle = _Block(widths[-1])
        self.norm = group_norm(widths[-1])
        self.out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.stem(x)
        for i, level in enumerate(self.levels):
            h = level(h)
            if i < len(self.shrink):
                h = self.shrink[i](h)
        out: torch.Tensor = self.out(silu(self.norm(self.middle(h))))
        return out


class _Decoder(nn.Module):
    """Latents ``(N, c, h, w)`` -> images ``(N, C, H, W)``, not clamped."""

    def __init__(self, config: AutoencoderConfig, widths: list[int]) -> None:
        super().__init__()
        self._sides = config.sides[::-1][1:]
        rising = widths[::-1]
        self.stem = nn.Conv2d(config.latent_channels, rising[0], 3, padding=1)
        self.middle = _Block(rising[0])
        self.levels = nn.ModuleList(_blocks(width, config.blocks) for width in rising)
        # Fewer channels at once where the pixels get more: a third less work than growing first, shrinking later.
        self.grow = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(rising))
        self.norm = group_norm(rising[-1])
        self.out = nn.Conv2d(rising[-1], config.image_shape[0], 3, padding=1)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.middle(self.stem(latents))
        for i, level in enumerate(self.levels):
            h = level(h)
            if i < len(self.grow):
                h = self.grow[i](enlarge(h, *self._sides[i]))
        out: torch.Tensor = self.out(silu(self.norm(h)))
        return out


class KLAutoencoder(nn.Module):
    """``images (N, C, H, W)``, ``noise (N, c, h, w)`` -> their ``Reconstruction`` from a posterior sample."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels * m for m in config.multipliers]
        self.encoder = _Encoder(config, widths)
        self.decoder = _Decoder(config, widths)

    def encode(self, images: torch.Tensor) -> Posterior:
        """The Gaussian over latents, in float32."""
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(*_LOG_VARIANCE))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images of latents (not scaled), in float32, not clamped."""
        images: torch.Tensor = self.decoder(latents)
        return images.float()

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> Reconstruction:
        """Encode, draw with ``noise``, decode."""
        posterior = self.encode(images)
        return Reconstruction(self.decode(posterior.sample(noise)), posterior)
