"""Known answers: for Gaussian data with the exact denoiser every sampler is linear and its limit has a closed form."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from ldm_eval.api import SamplingSettings
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.randomness import sample_seed
from ldm_eval.diffusion.samplers import (
    SAMPLERS,
    DDIMSampler,
    DDPMSampler,
    DPMSolverSampler,
    HeunSampler,
    Sampler,
    make_sampler,
)
from ldm_eval.diffusion.schedules import linear_schedule, make_schedule
from ldm_eval.errors import ConfigError, ModelError

MEAN, STD = 0.4, 0.5
SCHEDULE = linear_schedule(1000)
SHAPE = (1, 64, 64)


class GaussianDenoiser:
    """E[. | x_t] for x_0 ~ N(MEAN, STD^2) in every pixel, exactly and in any parameterisation, also at alpha = 0."""

    def __init__(self, prediction="epsilon", schedule=SCHEDULE):
        self.prediction = prediction
        self.schedule = schedule
        self.calls = 0

    def __call__(self, x_t, t, labels=None):
        self.calls += 1
        x = x_t.double()
        a, s = (f(t).reshape(-1, 1, 1, 1) for f in (self.schedule.alpha, self.schedule.sigma))
        centred = (x - a * MEAN) / (a**2 * STD**2 + s**2)
        x0, epsilon = MEAN + a * STD**2 * centred, s * centred
        return {"epsilon": epsilon, "x0": x0, "v": a * epsilon - s * x0}[self.prediction].to(x_t.dtype)


class TutorialSampler(Sampler):
    """The often-copied update: eps is not divided by sqrt(1 - alpha_bar) and no noise is added."""

    method = "tutorial"

    def step(self, x_t, guess, move, around):
        return (x_t - move.beta * guess.epsilon) * (move.alpha_s / move.alpha_t)


class ForgetfulSampler(Sampler):
    """Right mean, no noise: every sample collapses towards the mean."""

    method = "forgetful"

    def step(self, x_t, guess, move, around):
        silent = replace(around, draw=lambda: torch.zeros_like(x_t))
        return DDPMSampler(self.steps).step(x_t, guess, move, silent)


class FullChainBetas(Sampler):
    """Strided timesteps with the betas of the full chain instead of respaced ones."""

    method = "full-chain"

    def step(self, x_t, guess, move, around):
        t = int((SCHEDULE.alpha(torch.arange(1000)) - move.alpha_t).abs().argmin())
        beta = SCHEDULE.betas[t].item()
        mean = (x_t - beta / move.sigma_t * guess.epsilon) / math.sqrt(1 - beta)
        return mean if move.last else mean + math.sqrt(beta) * around.draw()


def noise(n, run_seed=0):
    return SampleNoise([sample_seed(run_seed, i) for i in range(n)])


def moments(sampler, seed=0, prediction="epsilon"):
    images = sampler.sample(GaussianDenoiser(prediction), SCHEDULE, noise(16, seed), SHAPE)
    return images.mean().item(), images.std().item()


def assert_reproduces_the_gaussian(sampler, bias=0.01):
    n = 16 * 64 * 64
    mean, std = moments(sampler)
    assert abs(mean - MEAN) < 4 * STD / math.sqrt(n) + bias
    assert abs(std - STD) < 4 * STD / math.sqrt(2 * n) + bias


@pytest.mark.parametrize(
    "sampler",
    [
        DDPMSampler(250),
        DDPMSampler(1000, variance="beta"),
        DDIMSampler(250),
        DDIMSampler(250, eta=0.5),
        DDIMSampler(250, spacing="karras"),
        DPMSolverSampler(50),
        DPMSolverSampler(50, spacing="karras"),
        HeunSampler(25),
        HeunSampler(50, spacing="karras"),
    ],
    ids=lambda s: f"{s.name}-{s.steps}",
)
def test_samplers_reproduce_the_mean_and_variance_of_gaussian_data(sampler):
    assert_reproduces_the_gaussian(sampler)


@pytest.mark.parametrize(
    "sampler", [TutorialSampler(250), ForgetfulSampler(250), FullChainBetas(100)], ids=lambda s: s.name
)
def test_wrong_updates_found_in_the_wild_are_noticed(sampler):
    with pytest.raises(AssertionError):
        assert_reproduces_the_gaussian(sampler)


class FixedStart:
    """Stands for SampleNoise: x_T = 0 and x_T = 1, which reads off a linear map's offset and slope."""

    device = torch.device("cpu")

    def __len__(self):
        return 2

    def draw(self, shape):
        return torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(2, 1, 1, 1)


def ddim_error(steps):
    """Largest error of slope and offset against the probability-flow limit (continuous time, same x_T)."""
    start, end = DDIMSampler(steps).sample(GaussianDenoiser(), SCHEDULE, FixedStart(), (1, 1, 1)).flatten().tolist()
    last = torch.tensor([999])
    a, s = SCHEDULE.alpha(last).item(), SCHEDULE.sigma(last).item()
    slope = STD / math.sqrt(a**2 * STD**2 + s**2)
    offset = MEAN - slope * a * MEAN
    return max(abs(end - start - slope), abs(start - offset))


def test_ddim_converges_to_the_probability_flow_at_first_order():
    errors = [ddim_error(steps) for steps in (25, 50, 100, 200)]
    ratios = [before / after for before, after in itertools.pairwise(errors)]
    assert errors[0] < 0.06
    assert all(1.7 < ratio < 2.3 for ratio in ratios), (errors, ratios)


def ddpm_moments(steps, variance):
    """Mean and variance of ancestral sampling by the linear recursion, no random numbers."""
    mean, var = 0.0, 1.0
    visited = DDPMSampler(steps).timesteps(SCHEDULE)
    alphas = [*SCHEDULE.alpha(torch.tensor(visited)).tolist(), 1.0]
    for a_t, a_s in itertools.pairwise(alphas):
        s2_t, s2_s = 1 - a_t**2, 1 - a_s**2
        total = a_t**2 * STD**2 + s2_t
        # x_s | x_0, x_t has mean c x_0 + d x_t and the posterior variance; x_0 is replaced by E[x_0 | x_t].
        beta = 1 - (a_t / a_s) ** 2
        c, d = a_s * beta / s2_t, (a_t / a_s) * s2_s / s2_t
        gain = c * STD**2 * a_t / total + d
        offset = c * (MEAN - STD**2 * a_t / total * a_t * MEAN)
        added = 0.0 if s2_s == 0 else (beta if variance == "beta" else beta * s2_s / s2_t)
        mean, var = gain * mean + offset, gain**2 * var + added
    return mean, math.sqrt(var)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("steps", [10, 50])
def test_ancestral_sampling_on_a_subset_follows_its_exact_recursion(steps, variance):
    mean, std = moments(DDPMSampler(steps, variance=variance))
    expected_mean, expected_std = ddpm_moments(steps, variance)
    n = 16 * 64 * 64
    assert abs(mean - expected_mean) < 4 * STD / math.sqrt(n)
    assert abs(std - expected_std) < 4 * STD / math.sqrt(2 * n)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_ancestral_error_shrinks_with_steps(variance):
    errors = [abs(ddpm_moments(steps, variance)[1] - STD) for steps in (10, 50, 250, 1000)]
    assert all(after < 0.5 * before for before, after in itertools.pairwise(errors)), errors


def test_ddim_with_full_noise_is_ancestral_sampling():
    ancestral = DDPMSampler(40).sample(GaussianDenoiser(), SCHEDULE, noise(3), (1, 8, 8))
    ddim = DDIMSampler(40, eta=1.0).sample(GaussianDenoiser(), SCHEDULE, noise(3), (1, 8, 8))
    assert torch.allclose(ancestral, ddim, atol=2e-5)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_the_parameterisation_of_the_network_does_not_matter(name):
    def drawn(prediction):
        sampler = make_sampler(SamplingSettings(sampler=name, steps=20))
        return sampler.sample(GaussianDenoiser(prediction), SCHEDULE, noise(2), (1, 8, 8))

    for other in ("x0", "v"):
        assert torch.allclose(drawn("epsilon"), drawn(other), atol=1e-4)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_sample_does_not_depend_on_its_batch(name):
    sampler = make_sampler(SamplingSettings(sampler=name, steps=10))

    def drawn(ids):
        chosen = SampleNoise([sample_seed(5, i) for i in ids])
        return sampler.sample(GaussianDenoiser(), SCHEDULE, chosen, (2, 4, 4))

    whole = drawn(range(64))
    for size in (1, 7):
        parts = torch.cat([drawn(range(i, min(i + size, 64))) for i in range(0, 64, size)])
        assert torch.equal(whole, parts)


def test_clipping_is_off_unless_the_name_says_so():
    wide = [make_sampler(SamplingSettings(sampler=n, steps=50)) for n in ("ddim", "ddim-clipped")]
    free, clipped = (s.sample(GaussianDenoiser(), SCHEDULE, noise(4), SHAPE) for s in wide)
    assert free.max() > 1.5
    assert clipped.max() <= 1.0
    assert [s.name for s in wide] == ["ddim", "ddim-clipped"]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "zero-terminal-snr"])
@pytest.mark.parametrize("steps", [1, 2, 9, 30])
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_network_calls_are_counted_as_they_are_made(name, steps, schedule):
    schedule = make_schedule(schedule, 200)
    sampler = make_sampler(SamplingSettings(sampler=name, steps=steps))
    denoiser = GaussianDenoiser("v", schedule)
    sampler.sample(denoiser, schedule, noise(1), (1, 2, 2))
    assert denoiser.calls == sampler.network_calls(schedule)
    if not name.startswith("heun"):
        assert denoiser.calls == steps


def test_heun_calls_twice_except_to_the_data_and_from_hardly_any_signal():
    assert HeunSampler(30).network_calls(make_schedule("linear", 1000)) == 59
    assert HeunSampler(30).network_calls(make_schedule("cosine", 1000)) == 58
    assert HeunSampler(30).network_calls(make_schedule("zero-terminal-snr", 1000)) == 58


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("steps", [1, 20])
def test_where_no_signal_is_left_epsilon_is_refused_and_the_others_agree(name, steps):
    schedule = make_schedule("zero-terminal-snr", 1000)
    sampler = make_sampler(SamplingSettings(sampler=name, steps=steps))
    with pytest.raises(ModelError, match=r"alpha is zero.*predicts v"):
        sampler.sample(GaussianDenoiser("epsilon", schedule), schedule, noise(2), (1, 4, 4))
    v, x0 = (sampler.sample(GaussianDenoiser(kind, schedule), schedule, noise(2), (1, 8, 8)) for kind in ("v", "x0"))
    assert torch.isfinite(v).all()
    assert torch.allclose(v, x0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "steps"), [("ddpm", 250), ("ddim", 250), ("dpm-solver++-karras", 50), ("heun-karras", 50), ("heun", 50)]
)
def test_gaussian_data_come_back_from_pure_noise(name, steps):
    schedule = make_schedule("zero-terminal-snr", 1000)
    sampler = make_sampler(SamplingSettings(sampler=name, steps=steps))
    images = sampler.sample(GaussianDenoiser("v", schedule), schedule, noise(16), SHAPE)
    n = 16 * 64 * 64
    assert abs(images.mean().item() - MEAN) < 4 * STD / math.sqrt(n) + 0.01
    assert abs(images.std().item() - STD) < 4 * STD / math.sqrt(2 * n) + 0.015


@pytest.mark.parametrize("name", ["dpm-solver++", "dpm-solver++-clipped", "heun", "heun-clipped"])
def test_second_order_samplers_with_one_step_are_ddim(name):
    ddim = "ddim" + name.removeprefix("heun").removeprefix("dpm-solver++")
    for steps in (1, 2) if name.startswith("dpm") else (1,):  # nothing to extrapolate from, or to look ahead to
        one, other = (
            make_sampler(SamplingSettings(n, steps)).sample(GaussianDenoiser(), SCHEDULE, noise(3), (1, 8, 8))
            for n in (name, ddim)
        )
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_samplers_are_found_under_their_own_name(name):
    assert make_sampler(SamplingSettings(sampler=name, steps=5)).name == name


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 999, 1000])
def test_visited_timesteps_fall_strictly_from_the_noisiest_to_zero(steps):
    visited = DDIMSampler(steps).timesteps(SCHEDULE)
    assert len(visited) == len(set(visited)) == steps
    assert visited == sorted(visited, reverse=True)
    assert visited[0] == 999
    assert steps == 1 or visited[-1] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SamplingSettings("dddim", 10), "Did you mean 'ddim'"),
        (SamplingSettings("ddim", 0), "at least one step"),
        (SamplingSettings("ddim", 10, eta=1.5), "between 0"),
        (SamplingSettings("ddpm", 10, eta=0.5), "belongs to DDIM"),
        (SamplingSettings("heun", 10, eta=0.5), "belongs to DDIM"),
        (SamplingSettings("dpm-solver", 10), "Did you mean 'dpm-solver\\+\\+'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_sampler(settings)


def test_more_steps_than_timesteps_are_refused():
    with pytest.raises(ConfigError, match="1000 timesteps"):
        DDIMSampler(1001).timesteps(SCHEDULE)
