"""What is known of membership: a law leaks nothing about its draws, a memorised set gives every member away."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import bdtr
from scipy.stats import rankdata

from ldm_eval.api import Denoiser
from ldm_eval.diffusion.parameterisation import add_noise
from ldm_eval.diffusion.schedules import linear_schedule
from ldm_eval.testing.denoisers import GaussianDenoiser, MixtureDenoiser, OptimalDenoiser

SCHEDULE = linear_schedule(1000)
SHAPE = (1, 8, 8)
N = 60


def _losses(denoiser: Denoiser, images: torch.Tensor, seed: int) -> NDArray[np.float64]:
    """``(N,)`` squared error of the predicted noise at t = 100, averaged over 4 noises that all images share."""
    # Not the seed of the draws: noise that equals the members' own draws gives them away without any model.
    generator = torch.Generator().manual_seed(1_000_000 + seed)
    t = torch.full((len(images),), 100)
    losses = torch.zeros(len(images), dtype=torch.float64)
    for _ in range(4):
        noise = torch.randn(SHAPE, generator=generator).expand_as(images)
        error = denoiser(add_noise(SCHEDULE, images, noise, t), t) - noise
        losses += error.double().square().mean(dim=(1, 2, 3)) / 4
    return losses.numpy()


def _auc(members: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """P(a member's loss is the smaller one), ties half."""
    ranks = rankdata(np.concatenate([others, members]))[: len(others)]
    return float((ranks.sum() - len(others) * (len(others) + 1) / 2) / (len(others) * len(members)))


def _draws(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((2 * N, *SHAPE), generator=generator) * 0.4
    return images[:N], images[N:]


@pytest.mark.parametrize("law", ["gaussian", "mixture"])
def test_the_exact_law_is_not_accused(law: str) -> None:
    exact: Denoiser = GaussianDenoiser(torch.zeros(SHAPE), 0.16, SCHEDULE)
    if law == "mixture":
        exact = MixtureDenoiser(torch.ones(2), torch.zeros(2, *SHAPE), 0.16, SCHEDULE)
    aucs = []
    for seed in range(40):
        members, others = _draws(seed)
        aucs.append(_auc(_losses(exact, members, seed), _losses(exact, others, seed)))
    # Mann-Whitney: under equal laws the AUC has mean 1/2 and variance (2N + 1) / (12 N^2).
    deviation = ((2 * N + 1) / (12 * N * N)) ** 0.5
    assert abs(np.mean(aucs) - 0.5) < 4 * deviation / 40**0.5
    accused = sum(abs(auc - 0.5) > 1.96 * deviation for auc in aucs)
    assert bdtr(40 - accused, 40, 0.95) > 0.001


def test_the_optimal_denoiser_gives_every_member_away() -> None:
    for seed in range(5):
        members, others = _draws(seed)
        memoriser = OptimalDenoiser(members, SCHEDULE)
        assert _auc(_losses(memoriser, members, seed), _losses(memoriser, others, seed)) > 0.99
