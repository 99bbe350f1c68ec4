"""Known answers: the bound on Gaussians, on rounded Gaussians and on mixtures, against integrals in one dimension."""

import itertools
import math

import numpy as np
import pytest
import torch

from ldm_eval.diffusion.likelihood import (
    decoder_term,
    decoder_variance,
    prior_term,
    transition_term,
    variational_bound,
)
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.parameterisation import predict
from ldm_eval.diffusion.quantise import to_float
from ldm_eval.diffusion.schedules import SCHEDULES, make_schedule
from ldm_eval.testing.bounds import (
    Mode,
    expected_bound,
    gaussian_errors,
    mixture_entropy,
    mixture_errors,
    rounded_decoder,
    rounded_normal,
)
from ldm_eval.testing.denoisers import GaussianDenoiser, MixtureDenoiser
from ldm_eval.testing.limits import Moments

MODES = (Mode(0.3, -0.5, 0.2), Mode(0.7, 0.4, 0.1))
SECOND = sum(m.weight * (m.mean**2 + m.std**2) for m in MODES)
LAW = Moments(0.3, 0.0625)


class Together:
    """Stands for SampleNoise: one generator for all rows, quick for many rows of one pixel."""

    def __init__(self, rows):
        self.rows, self.generator = rows, torch.Generator().manual_seed(4)

    def __len__(self):
        return self.rows

    def draw(self, shape):
        return torch.randn((self.rows, *shape), generator=self.generator)


def column(values):
    return torch.as_tensor(np.sqrt(values), dtype=torch.float64).reshape(-1, 1, 1, 1)


def kinds(schedule):
    return ("x0", "v") if schedule.ends_in_pure_noise else ("epsilon", "x0", "v")


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_the_terms_are_those_of_the_formulas_stated_a_second_time(name, variance):
    schedule = make_schedule(name, 1000)
    errors = gaussian_errors(schedule, LAW)
    expected = expected_bound(schedule, errors, LAW.mean**2 + LAW.variance, variance=variance)
    t = torch.arange(1, 1000)
    zero = torch.zeros(999, 1, 1, 1, dtype=torch.float64)
    transitions = transition_term(schedule, t, column(errors[1:]), zero, variance=variance)
    decoded = decoder_term(column(errors[:1]), zero[:1], decoder_variance(schedule), decoder="gaussian")
    prior = prior_term(schedule, column([LAW.mean**2 + LAW.variance]))
    assert np.allclose(expected.transitions, transitions.numpy(), rtol=1e-9, atol=1e-13)
    assert expected.decoder == pytest.approx(decoded.item(), rel=1e-12)
    assert expected.prior == pytest.approx(prior.item(), rel=1e-7, abs=1e-14)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_a_mixture_of_one_is_the_gaussian(name):
    schedule = make_schedule(name, 100)
    mode = (Mode(2.0, LAW.mean, math.sqrt(LAW.variance)),)
    assert np.allclose(mixture_errors(schedule, mode), gaussian_errors(schedule, LAW), rtol=1e-12)
    assert mixture_entropy(mode) == pytest.approx(0.5 * math.log2(2 * math.pi * math.e * LAW.variance), abs=1e-12)


def mixture_denoiser(schedule, kind):
    weights, means, stds = (torch.tensor([getattr(m, n) for m in MODES]).double() for n in ("weight", "mean", "std"))
    shape = (-1, 1, 1, 1)
    return MixtureDenoiser(weights, means.reshape(shape), stds.reshape(shape) ** 2, schedule, kind)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_the_bound_of_a_mixture_is_its_integral_term_by_term(name):
    """10,000 images of one pixel, for every prediction the schedule allows, each with the same noise."""
    schedule = make_schedule(name, 30)
    expected = expected_bound(schedule, mixture_errors(schedule, MODES), SECOND)
    n = 10_000
    generator = torch.Generator().manual_seed(3)
    second = torch.rand(n, generator=generator) < MODES[1].weight
    means, stds = (torch.where(second, *(torch.tensor(getattr(m, k)) for m in MODES[::-1])) for k in ("mean", "std"))
    x0 = (means + stds * torch.randn(n, generator=generator)).reshape(n, 1, 1, 1).double()
    wanted = torch.tensor([expected.decoder, *expected.transitions, expected.prior], dtype=torch.float64)
    totals = []
    for kind in kinds(schedule):
        bound = variational_bound(mixture_denoiser(schedule, kind), schedule, x0, Together(n), decoder="gaussian")
        found = torch.cat([bound.decoder[:, None], bound.transitions, bound.prior[:, None]], dim=1)
        z = (found.mean(0) - wanted) / (found.std(0) / math.sqrt(n)).clamp_min(1e-12)
        assert z.abs().max() < 4.0, (kind, z)
        totals.append(bound.total)
    for one, other in itertools.pairwise(totals):
        assert torch.allclose(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_the_bound_of_a_mixture_is_above_its_entropy_and_tightens(variance):
    entropy = mixture_entropy(MODES)
    gaps = []
    for steps in (50, 100, 200, 400):
        schedule = make_schedule("linear", steps)
        errors = mixture_errors(schedule, MODES)
        gaps.append(expected_bound(schedule, errors, SECOND, variance=variance).total - entropy)
    assert gaps[-1] > 0
    assert all(1.2 < before / after < 2.1 for before, after in itertools.pairwise(gaps)), gaps


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_prediction_gives_the_same_bound(name):
    """In float64 the parameterisations are one; in float32 they differ by rounding, most for epsilon (1/alpha)."""
    schedule = make_schedule(name, 1000)
    x0 = LAW.mean + LAW.variance**0.5 * torch.randn((2, 1, 6, 6), generator=torch.Generator().manual_seed(1))
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        totals = []
        for kind in kinds(schedule):
            exact = GaussianDenoiser(torch.full((1, 6, 6), LAW.mean), LAW.variance, schedule, kind)
            bound = variational_bound(exact, schedule, x0.to(dtype), SampleNoise([1, 2]), decoder="gaussian")
            totals.append(bound.total)
        assert all(torch.allclose(total, totals[0], rtol=0, atol=tolerance) for total in totals)


@pytest.mark.parametrize("name", ["linear", "scaled-linear"])
def test_the_discretised_decoder_of_a_rounded_gaussian_is_its_integral(name):
    schedule = make_schedule(name, 1000)
    shares = rounded_normal(LAW)
    assert shares.sum() == pytest.approx(1.0, abs=1e-14)
    expected = rounded_decoder(schedule, LAW, shares)
    assert expected == pytest.approx(rounded_decoder(schedule, LAW, shares, nodes=40), abs=1e-9)
    n = 400
    generator = torch.Generator().manual_seed(2)
    drawn = torch.multinomial(torch.from_numpy(shares), n * 256, replacement=True, generator=generator)
    x0 = to_float(drawn.to(torch.uint8)).reshape(n, 1, 16, 16)
    t = torch.zeros(n, dtype=torch.int64)
    noise = torch.randn(x0.shape, generator=generator)
    x_t = schedule.alpha(t).reshape(-1, 1, 1, 1).float() * x0 + schedule.sigma(t).reshape(-1, 1, 1, 1).float() * noise
    exact = GaussianDenoiser(torch.full((1, 16, 16), LAW.mean), LAW.variance, schedule)
    bits = decoder_term(x0, predict(exact, schedule, "x0", x_t, t), decoder_variance(schedule))
    assert abs(bits.mean().item() - expected) < 4 * bits.std().item() / math.sqrt(n)


def main():
    """Print the largest differences between predictions: ``python tests/diffusion/test_expected_bounds.py``."""
    for name, dtype in itertools.product(sorted(SCHEDULES), (torch.float64, torch.float32)):
        schedule = make_schedule(name, 1000)
        x0 = LAW.mean + LAW.variance**0.5 * torch.randn((2, 1, 6, 6), generator=torch.Generator().manual_seed(1))
        totals = {}
        for kind in kinds(schedule):
            exact = GaussianDenoiser(torch.full((1, 6, 6), LAW.mean), LAW.variance, schedule, kind)
            bound = variational_bound(exact, schedule, x0.to(dtype), SampleNoise([1, 2]), decoder="gaussian")
            totals[kind] = bound.total
        apart = {kind: float((total - totals["v"]).abs().max()) for kind, total in totals.items()}
        print(f"{name:18s} {dtype}: bound of v {totals['v'].mean():.4f}, others apart by {apart}")
    for name in sorted(SCHEDULES):
        schedule = make_schedule(name, 1000)
        bound = expected_bound(schedule, mixture_errors(schedule, MODES), SECOND)
        beta = expected_bound(schedule, mixture_errors(schedule, MODES), SECOND, variance="beta")
        print(
            f"{name:18s} mixture: bound {bound.total:.4f} (beta {beta.total:.4f}), entropy {mixture_entropy(MODES):.4f}"
        )


if __name__ == "__main__":
    main()
