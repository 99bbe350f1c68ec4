"""Train the demo's attribute classifier: ``python -m ldm_eval_demo.train_classifier`` writes ``classifier.npz``.

Sitters are drawn from seeds of their own, every tone and age band equally often: the network learns what the groups
look like and not how often they come. Each time a portrait is shown it is blurred, noisy, coarser in its levels, lit
differently and mirrored at random. On the same machine with as many threads the weights come out bit for bit.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import conv2d, cross_entropy, pad

from ldm_eval_demo.attributes import draw
from ldm_eval_demo.classifier import PortraitNetwork, write_network
from ldm_eval_demo.renderer import render
from ldm_eval_demo.sitters import Quotas

__all__ = ["BALANCED", "EPOCHS", "SEED", "train", "with_nuisance"]

BALANCED: Final = Quotas(tones=(4800, 4800, 4800), ages=(4800, 4800, 4800), glasses=3600)
EPOCHS: Final = 8
SEED: Final = 515
_BATCH: Final = 128
_RATE: Final = 2e-3


def with_nuisance(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """What cameras, codecs and generators do to portraits: ``(N, 3, H, W)`` in [-1, 1] -> the same shape and range.

    Mirrored with chance 1/2; blurred with a 3x3 binomial kernel, from not at all to fully; exposure within 10 %;
    each channel tinted within 4 %; noise with a deviation of up to 12 grey levels; rounded to steps of up to 12.
    """

    def between(low: float, high: float, channels: int = 1) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(images), channels, 1, 1, generator=generator)

    mirrored = torch.where(between(0, 1) < 0.5, images.flip(3), images)
    kernel = torch.tensor([1.0, 2.0, 1.0])
    weights = (kernel[:, None] * kernel[None, :] / 16.0).expand(3, 1, 3, 3).contiguous()
    soft = conv2d(pad(mirrored, (1, 1, 1, 1), mode="replicate"), weights, groups=3)
    level = (mirrored + (soft - mirrored) * between(0, 1) + 1.0) * 127.5
    level = level * between(0.9, 1.1) * between(0.96, 1.04, 3)
    level = level + torch.randn(images.shape, generator=generator) * between(0, 12)
    step = between(1, 12)
    return (torch.round(level / step) * step).clamp(0, 255) / 127.5 - 1.0


def train(
    pixels: NDArray[np.uint8],
    tones: NDArray[np.int64],
    ages: NDArray[np.int64],
    *,
    epochs: int = EPOCHS,
    seed: int = SEED,
) -> tuple[PortraitNetwork, list[float]]:
    """Train with Adam and a cosine rate; return the network and the mean loss (nats, both heads) of each epoch.

    Args:
        pixels: ``(N, 3, 32, 32)``.
        tones: ``(N,)`` true classes.
        ages: ``(N,)`` true classes.
        epochs: Passes over the portraits.
        seed: Seed of initialisation, order and nuisance.
    """
    with torch.random.fork_rng(devices=[]):  # the one place where torch offers no generator: initialisation
        torch.manual_seed(seed)
        network = PortraitNetwork()
    generator = torch.Generator().manual_seed(seed)
    images, truth = torch.from_numpy(np.array(pixels)), (torch.from_numpy(tones), torch.from_numpy(ages))
    optimiser = torch.optim.Adam(network.parameters(), lr=_RATE)
    batches = (len(images) + _BATCH - 1) // _BATCH
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
    losses = []
    for _ in range(epochs):
        order, total = torch.randperm(len(images), generator=generator), 0.0
        for rows in torch.split(order, _BATCH):
            shown = with_nuisance(images[rows].float() / 127.5 - 1.0, generator)
            tone, age = network(shown)
            loss = cross_entropy(tone, truth[0][rows]) + cross_entropy(age, truth[1][rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
            total += float(loss.detach()) * len(rows)
        losses.append(total / len(images))
    return network.eval(), losses


def main() -> None:
    """Paint, train, write."""
    sitters = draw(BALANCED, SEED)
    network, losses = train(render(sitters), sitters.tone, sitters.age)
    write_network(network)
    print(", ".join(f"{loss:.3f}" for loss in losses))  # noqa: T201  # the command's only output


if __name__ == "__main__":
    main()
