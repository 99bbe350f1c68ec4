"""Known answers: with the exact denoiser of a Gaussian every term of the bound has a closed form.

The expectation of a term depends on the images only through E[x_0^2] and E[(x_0 - guess)^2], so one image with these
values gives the expectation itself, without random numbers.
"""

import itertools
import math

import pytest
import torch
from scipy.stats import norm
from torch.distributions import Normal, kl_divergence

from ldm_eval.diffusion.likelihood import (
    decoder_term,
    decoder_variance,
    prior_term,
    transition_term,
    variational_bound,
)
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.parameterisation import convert
from ldm_eval.diffusion.quantise import to_float
from ldm_eval.diffusion.randomness import sample_seed
from ldm_eval.diffusion.schedules import SCHEDULES, linear_schedule, make_schedule
from ldm_eval.errors import ConfigError, DataError, ModelError
from ldm_eval.testing.denoisers import GaussianDenoiser

MEAN, STD = 0.3, 0.25
ENTROPY = 0.5 * math.log2(2 * math.pi * math.e * STD**2)


def levels(schedule):
    t = torch.arange(schedule.steps)
    return schedule.alpha(t), schedule.sigma(t)


def posterior_spread(schedule):
    """Var[x_0 | x_t] of the Gaussian, for every t: the error that no denoiser can go below."""
    alpha, sigma = levels(schedule)
    return STD**2 * sigma**2 / (alpha**2 * STD**2 + sigma**2)


def pixel(values):
    return torch.as_tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)


def total(terms):
    decoded, transitions, prior = terms
    return decoded + transitions.sum().item() + prior


def expected_terms(schedule, variance="posterior", decoder=None, bias=0.0):
    """(L_0, L_1 .. L_{T-1}, L_T) in expectation over N(MEAN, STD^2), from the functions under test."""
    spread = posterior_spread(schedule) + bias**2
    t = torch.arange(1, schedule.steps)
    zero = torch.zeros(len(t), 1, 1, 1, dtype=torch.float64)
    transitions = transition_term(schedule, t, pixel(spread[1:].sqrt()), zero, variance=variance)
    decoded = decoder_term(
        pixel([spread[0].sqrt()]), pixel([0.0]), decoder or decoder_variance(schedule), decoder="gaussian"
    )
    prior = prior_term(schedule, pixel([math.sqrt(MEAN**2 + STD**2)]))
    return decoded.item(), transitions, prior.item()


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_transitions_are_the_divergence_of_the_two_gaussians(name, variance):
    schedule = make_schedule(name, 50)
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(1, 50)
    x0, guess, x_t = torch.randn((3, 49, 2, 3, 3), generator=generator, dtype=torch.float64)
    alpha, sigma = levels(schedule)
    a, b, s, r = (values[i].reshape(-1, 1, 1, 1) for values in (alpha, sigma) for i in (t, t - 1))
    beta = 1 - (a / b) ** 2

    def mean(image):  # arXiv:2006.11239, equation 7
        return b * beta / s**2 * image + a / b * r**2 / s**2 * x_t

    q_scale = (beta * r**2 / s**2).sqrt()
    p_scale = q_scale if variance == "posterior" else beta.sqrt()
    divergence = kl_divergence(Normal(mean(x0), q_scale.expand_as(x0)), Normal(mean(guess), p_scale.expand_as(x0)))
    expected = divergence.flatten(1).mean(1) / math.log(2)
    found = transition_term(schedule, t, x0, guess, variance=variance)
    assert torch.allclose(found, expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_the_prior_is_the_divergence_from_pure_noise(name):
    schedule = make_schedule(name, 50)
    x0 = torch.linspace(-1, 1, 18, dtype=torch.float64).reshape(2, 1, 3, 3)
    alpha, sigma = (float(values[-1]) for values in levels(schedule))
    expected = kl_divergence(Normal(alpha * x0, sigma), Normal(0.0, 1.0)).flatten(1).mean(1) / math.log(2)
    assert torch.allclose(prior_term(schedule, x0), expected, rtol=1e-9, atol=1e-15)
    if schedule.ends_in_pure_noise:
        assert prior_term(schedule, x0).abs().max() == 0.0


def true_reverse_variances(schedule):
    """Variance of q(x_{t-1} | x_t), t = 1 .. T-1: Gaussian, because the data are."""
    alpha, sigma = levels(schedule)
    beta = 1 - (alpha[1:] / alpha[:-1]) ** 2
    gain = alpha[:-1] * beta / sigma[1:] ** 2
    return beta * (sigma[:-1] / sigma[1:]) ** 2 + gain**2 * posterior_spread(schedule)[1:]


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("steps", [50, 1000])
def test_with_the_true_reverse_variances_the_bound_is_the_entropy(name, steps):
    """Nothing is lost but what the prior misses: the divergence of q(x_{T-1}) from pure noise."""
    schedule = make_schedule(name, steps)
    a = float(levels(schedule)[0][-1])
    terms = expected_terms(schedule, true_reverse_variances(schedule), float(posterior_spread(schedule)[0]))
    shrunk = a**2 * (STD**2 - 1)  # variance of x_{T-1}, less 1
    missed = 0.5 * (a**2 * MEAN**2 + shrunk - math.log1p(shrunk)) / math.log(2)
    assert total(terms) == pytest.approx(ENTROPY + missed, abs=1e-9)


def test_a_denoiser_of_another_law_pays_their_divergence():
    """Code length of N(MEAN, STD^2) under N(MEAN + .2, STD^2): (.2/STD)^2/2 nats more than the entropy."""
    schedule = make_schedule("zero-terminal-snr", 200)  # its prior is exact for both laws
    alpha, sigma = levels(schedule)
    bias = 0.2 * sigma**2 / (alpha**2 * STD**2 + sigma**2)
    variances = true_reverse_variances(schedule), float(posterior_spread(schedule)[0])
    right, wrong = (total(expected_terms(schedule, *variances, bias=b)) for b in (0 * bias, bias))
    assert right == pytest.approx(ENTROPY, abs=1e-9)
    assert wrong - right == pytest.approx((0.2 / STD) ** 2 / 2 / math.log(2), abs=1e-9)


@pytest.mark.parametrize(("variance", "fastest"), [("posterior", 1.2), ("beta", 1.9)])
def test_the_bound_is_above_the_entropy_and_tightens_with_more_timesteps(variance, fastest):
    gaps = [total(expected_terms(linear_schedule(steps), variance)) - ENTROPY for steps in (50, 100, 200, 400, 800)]
    assert gaps[-1] > 0
    assert all(fastest < before / after < 2.1 for before, after in itertools.pairwise(gaps)), gaps


@pytest.mark.parametrize("kind", ["epsilon", "x0", "v"])
def test_the_bound_of_a_network_is_its_closed_form_term_by_term(kind):
    schedule = linear_schedule(50)
    exact = GaussianDenoiser(torch.full((1, 8, 8), MEAN), STD**2, schedule)

    class InKind:
        prediction = kind

        def __call__(self, x_t, t, labels=None):
            return convert(exact(x_t, t), "epsilon", kind, x_t, schedule.alpha(t), schedule.sigma(t))

    n = 256
    x0 = MEAN + STD * torch.randn((n, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    noise = SampleNoise([sample_seed(0, i) for i in range(n)])
    bound = variational_bound(InKind(), schedule, x0, noise, decoder="gaussian")
    decoded, transitions, prior = expected_terms(schedule)
    found = torch.cat([bound.decoder[:, None], bound.transitions, bound.prior[:, None]], dim=1)
    expected = torch.tensor([decoded, *transitions.tolist(), prior])
    z = (found.mean(0) - expected) / (found.std(0) / math.sqrt(n))
    assert z.abs().max() < 4.0  # 51 terms, independent noise
    error = bound.total.std().item() / math.sqrt(n)
    assert error < 0.05
    assert abs(bound.total.mean().item() - expected.sum().item()) < 4 * error


@pytest.mark.parametrize("std", [0.003, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("mean", [-1.0, -0.37, 0.0, 1.2])
def test_the_masses_of_the_256_levels_add_up_to_one(mean, std):
    every = to_float(torch.arange(256, dtype=torch.uint8)).reshape(256, 1, 1, 1)
    bits = decoder_term(every, torch.full_like(every, mean), std**2)
    assert torch.exp2(-bits).sum().item() == pytest.approx(1.0, abs=1e-12)
    assert torch.isfinite(bits).all()


def test_the_mass_of_a_level_is_that_between_its_edges_however_far_out():
    image = to_float(torch.tensor([0, 1, 128, 254, 255], dtype=torch.uint8)).reshape(5, 1, 1, 1)
    x = (torch.tensor([0, 1, 128, 254, 255], dtype=torch.float64) / 127.5 - 1).tolist()
    for mean, std in ((0.1, 0.5), (-0.9, 0.02)):
        low = [-math.inf, *(v - 1 / 255 for v in x[1:])]
        high = [*(v + 1 / 255 for v in x[:-1]), math.inf]
        masses = []
        for a, b in zip(low, high, strict=True):
            a, b = ((a - mean) / std, (b - mean) / std) if a < mean else ((mean - b) / std, (mean - a) / std)
            masses.append((norm.logcdf(b) + math.log(-math.expm1(norm.logcdf(a) - norm.logcdf(b)))) / -math.log(2))
        found = decoder_term(image, torch.full_like(image, mean, dtype=torch.float64), std**2)
        assert found.tolist() == pytest.approx(masses, rel=1e-9)


def test_a_wide_decoder_gives_the_density_times_the_width_of_a_level():
    image = to_float(torch.arange(40, 200, dtype=torch.uint8)).reshape(160, 1, 1, 1)
    guess = torch.zeros_like(image)
    discrete = decoder_term(image, guess, 0.5**2)
    density = decoder_term(image, guess, 0.5**2, decoder="gaussian")
    assert torch.allclose(discrete, density + math.log2(127.5), atol=1e-4)


def test_the_decoders_variance_is_never_zero():
    assert decoder_variance(linear_schedule(1000)) == pytest.approx(1e-4, rel=1e-9)
    image = torch.zeros(1, 1, 1, 1)
    for variance in (0.0, -1.0, math.nan):
        with pytest.raises(ConfigError, match="greater than zero"):
            decoder_term(image, image, variance, decoder="gaussian")


def test_what_the_bound_cannot_take_is_refused():
    schedule = make_schedule("zero-terminal-snr", 50)
    image = torch.full((1, 1, 2, 2), 0.1)
    exact = GaussianDenoiser(torch.zeros(1, 2, 2), 1.0, schedule)
    with pytest.raises(DataError, match="8-bit"):
        decoder_term(image, image, 0.1)
    with pytest.raises(DataError, match="8-bit"):
        decoder_term(image * 0 + 1 + 2 / 255, image, 0.1)
    with pytest.raises(ConfigError, match=r"1 \.\. T-1"):
        transition_term(schedule, torch.tensor([0]), image, image)
    with pytest.raises(ConfigError, match="one noise generator"):
        variational_bound(exact, schedule, image, SampleNoise([1, 2]), decoder="gaussian")
    with pytest.raises(ModelError, match="alpha is zero"):
        variational_bound(exact, schedule, image, SampleNoise([1]), decoder="gaussian")


def test_the_bound_of_an_image_does_not_depend_on_its_batch():
    schedule = linear_schedule(25)
    exact = GaussianDenoiser(torch.full((1, 4, 4), MEAN), STD**2, schedule)
    x0 = to_float(torch.randint(256, (6, 1, 4, 4), generator=torch.Generator().manual_seed(2)).to(torch.uint8))

    def bound(rows):
        noise = SampleNoise([sample_seed(0, i) for i in rows])
        return variational_bound(exact, schedule, x0[list(rows)], noise).total

    assert torch.equal(bound(range(6))[2:4], bound(range(2, 4)))
