import math

import pytest
import torch

from ldm_eval.api import NoiseSchedule
from ldm_eval.diffusion.schedules import (
    SCHEDULES,
    DiscreteSchedule,
    cosine_schedule,
    linear_schedule,
    make_schedule,
    scaled_linear_schedule,
    with_zero_terminal_snr,
    zero_terminal_snr_schedule,
)
from ldm_eval.errors import ConfigError


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("steps", [25, 100, 1000, 4000])
def test_signal_and_noise_preserve_variance_and_noise_grows(name, steps):
    schedule: NoiseSchedule = make_schedule(name, steps)
    t = torch.arange(steps)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    assert alpha.dtype == sigma.dtype == torch.float64
    assert (alpha**2 + sigma**2 - 1).abs().max() < 1e-14
    assert bool((sigma.diff() > 0).all())
    assert bool((alpha.diff() < 0).all())
    assert schedule.steps == steps
    assert schedule.name == name


def test_linear_schedule_has_the_published_betas():
    schedule = linear_schedule(1000)
    assert schedule.betas[0].item() == pytest.approx(1e-4, rel=1e-12)
    assert schedule.betas[-1].item() == pytest.approx(0.02, rel=1e-12)
    # arXiv:2006.11239 reports a final KL of about 1e-5 bits/dim, i.e. alpha_bar_T near 4e-5.
    assert schedule.alpha_bar[-1].item() == pytest.approx(4.036e-5, rel=1e-3)
    exact = math.prod(1 - b for b in schedule.betas.tolist())
    assert schedule.alpha_bar[-1].item() == pytest.approx(exact, rel=1e-12)


def test_shorter_linear_schedules_end_at_the_same_noise():
    ends = [math.log(linear_schedule(steps).alpha_bar[-1].item()) for steps in (200, 1000, 4000)]
    assert max(ends) - min(ends) < 0.5


def test_cosine_schedule_follows_its_formula_where_it_is_not_capped():
    schedule = cosine_schedule(1000)
    f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]
    expected = torch.tensor([f[t + 1] / f[0] for t in range(990)], dtype=torch.float64)
    assert torch.allclose(schedule.alpha_bar[:990], expected, rtol=1e-10)
    assert schedule.betas.max().item() <= 0.999


def test_scaled_linear_schedule_is_that_of_latent_diffusion():
    schedule = scaled_linear_schedule(1000)
    assert schedule.betas[0].item() == pytest.approx(0.00085, rel=1e-12)
    assert schedule.betas[-1].item() == pytest.approx(0.012, rel=1e-12)
    middle = (0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * 499 / 999) ** 2
    assert schedule.betas[499].item() == pytest.approx(middle, rel=1e-12)
    # arXiv:2305.08891, table 1: sqrt(alpha_bar_T) = 0.068265 for Stable Diffusion's schedule.
    assert schedule.alpha(torch.tensor([999])).item() == pytest.approx(0.068265, abs=5e-7)


@pytest.mark.parametrize("base", [linear_schedule(1000), scaled_linear_schedule(1000), scaled_linear_schedule(50)])
def test_zero_terminal_snr_follows_the_published_algorithm(base):
    rescaled = with_zero_terminal_snr(base, "mine")
    roots = [math.sqrt(value) for value in base.alpha_bar.tolist()]
    expected = [(root - roots[-1]) * roots[0] / (roots[0] - roots[-1]) for root in roots]
    t = torch.arange(base.steps)
    assert torch.allclose(rescaled.alpha(t), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=0)
    assert rescaled.alpha(t[-1:]).item() == 0.0
    assert rescaled.sigma(t[-1:]).item() == 1.0
    assert rescaled.alpha(t[:1]).item() == pytest.approx(roots[0], rel=1e-12)
    assert rescaled.ends_in_pure_noise
    assert not base.ends_in_pure_noise


def test_the_named_zero_terminal_schedule_is_the_scaled_linear_one_rescaled():
    named, mine = zero_terminal_snr_schedule(200), with_zero_terminal_snr(scaled_linear_schedule(200), "mine")
    assert torch.equal(named.betas, mine.betas)
    assert [name for name in SCHEDULES if make_schedule(name, 100).ends_in_pure_noise] == ["zero-terminal-snr"]


def test_one_timestep_cannot_lose_its_signal():
    with pytest.raises(ConfigError, match="at least 2"):
        with_zero_terminal_snr(cosine_schedule(1), "mine")


@pytest.mark.parametrize("t", [[-1], [1000], [0, 5, 2000]])
def test_timesteps_outside_the_schedule_are_refused(t):
    with pytest.raises(ConfigError, match=r"0 \.\. 999"):
        linear_schedule().alpha(torch.tensor(t))


def test_an_unknown_schedule_is_answered_with_a_suggestion():
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        make_schedule("cosin", 100)


@pytest.mark.parametrize(
    "make", [lambda: linear_schedule(20), lambda: cosine_schedule(0), lambda: scaled_linear_schedule(14)]
)
def test_impossible_lengths_are_refused(make):
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize("betas", [[], [0.0], [1.0], [0.1, 1.0, 0.2], [0.1, 1.1], [0.1, float("nan")], [[0.1]]])
def test_impossible_betas_are_refused(betas):
    with pytest.raises(ConfigError):
        DiscreteSchedule("mine", torch.tensor(betas))
