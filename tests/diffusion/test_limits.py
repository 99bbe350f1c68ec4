"""Known answers without random numbers: every unclipped sampler against the exact law of what it makes of a Gaussian.

With the exact denoiser a sampler is affine in its starting noise and in the noise it draws on the way, so one run per
unit impulse reads off every coefficient, and with them the mean and the variance of its samples.
"""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from ldm_eval.api import SamplingSettings
from ldm_eval.diffusion.samplers import SAMPLERS, DDPMSampler, Sampler, make_sampler
from ldm_eval.diffusion.schedules import SCHEDULES, linear_schedule, make_schedule
from ldm_eval.errors import ConfigError
from ldm_eval.testing import impulses
from ldm_eval.testing.limits import LIMITS, Moments, sampled_moments

DATA = Moments(0.4, 0.25)
TOLERANCE = 1e-10
UNCLIPPED = sorted(name for name in SAMPLERS if not name.endswith("-clipped"))


def read_off(sampler, schedule, prediction="v"):
    """Mean and variance of the sampler's samples, from its answers to impulses."""
    return impulses.read_off(sampler, schedule, DATA, prediction)


def assert_is_the_limit(found, wanted):
    assert found.mean == pytest.approx(wanted.mean, abs=TOLERANCE)
    assert found.variance == pytest.approx(wanted.variance, rel=TOLERANCE)


def cases():
    for name, schedule, steps in itertools.product(UNCLIPPED, sorted(SCHEDULES), (1, 2, 3, 20, 150)):
        for eta in (0.0, 0.6) if name.startswith("ddim") else (0.0,):
            yield SamplingSettings(name, steps, eta=eta), schedule


@pytest.mark.parametrize(("settings", "name"), list(cases()))
def test_every_unclipped_sampler_gives_the_law_of_the_closed_form(settings, name):
    schedule = make_schedule(name, 1000)
    assert_is_the_limit(read_off(make_sampler(settings), schedule), sampled_moments(DATA, schedule, settings))


@pytest.mark.parametrize("name", UNCLIPPED)
@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_the_prediction_of_the_network_does_not_change_the_law(name, schedule):
    schedule, sampler = make_schedule(schedule, 1000), make_sampler(SamplingSettings(name, 20))
    kinds = ("x0",) if schedule.ends_in_pure_noise else ("x0", "epsilon")
    for kind in kinds:
        assert_is_the_limit(read_off(sampler, schedule, kind), read_off(sampler, schedule, "v"))


def test_a_limit_is_known_for_exactly_the_samplers_that_do_not_clip():
    assert sorted(LIMITS) == UNCLIPPED
    with pytest.raises(ConfigError, match="No closed form"):
        sampled_moments(DATA, linear_schedule(100), SamplingSettings("heun-clipped", 10))


@pytest.mark.parametrize("name", UNCLIPPED)
def test_the_law_tends_to_the_data(name):
    """From pure noise, the law of q at T-1, only the sampler's own error is left and the step from sigma_0 = .029."""
    schedule = make_schedule("zero-terminal-snr", 1000)
    laws = [sampled_moments(DATA, schedule, SamplingSettings(name, steps)) for steps in (20, 200, 800)]
    errors = [abs(math.sqrt(law.variance) - math.sqrt(DATA.variance)) for law in laws]
    assert errors[0] > errors[1], errors
    assert errors[2] < 0.007
    assert all(law.mean == pytest.approx(DATA.mean, abs=2e-3) for law in laws)


WEAK_STEPS = (40, 80, 160, 320, 640)


def weak_errors(name, eta=0.0):
    """Error of the standard deviation against N(.4, .5^2), on a schedule so fine that only the steps show."""
    schedule = linear_schedule(100_000)
    laws = [sampled_moments(DATA, schedule, SamplingSettings(name, steps, eta=eta)) for steps in WEAK_STEPS]
    return [abs(math.sqrt(law.variance) - math.sqrt(DATA.variance)) for law in laws]


@pytest.mark.parametrize(("name", "eta"), [("ddpm", 0.0), ("ddpm-beta", 0.0), ("ddim", 0.5), ("ddim-karras", 1.0)])
def test_samplers_that_draw_noise_are_of_first_weak_order(name, eta):
    """Their samples have no path to compare, but their law has an exact error; it halves with the step."""
    found = [before / after for before, after in itertools.pairwise(weak_errors(name, eta))]
    assert all(1.4 < ratio < 2.4 for ratio in found), found
    assert 1.75 < found[-1] < 2.2, found


class Tutorial(Sampler):
    """The often-copied update: eps is not divided by sqrt(1 - alpha_bar) and no noise is added."""

    method = "tutorial"

    def step(self, x_t, guess, move, around):
        return (x_t - move.beta * guess.epsilon) * (move.alpha_s / move.alpha_t)


class TutorialWithNoise(Sampler):
    """Half corrected: the noise is added, the division is still missing."""

    method = "tutorial-with-noise"

    def step(self, x_t, guess, move, around):
        mean = Tutorial(self.steps).step(x_t, guess, move, around)
        return mean if move.last else mean + math.sqrt(move.posterior_variance) * around.draw()


class TutorialWithDivision(Sampler):
    """Half corrected the other way: the right mean, and no noise."""

    method = "tutorial-with-division"

    def step(self, x_t, guess, move, around):
        silent = replace(around, draw=lambda: torch.zeros_like(x_t))
        return DDPMSampler(self.steps).step(x_t, guess, move, silent)


class NoiseOnTheLastStep(Sampler):
    """Ancestral sampling that adds the noise of variance beta on the step to the data, too."""

    method = "noise-on-the-last-step"

    def step(self, x_t, guess, move, around):
        x_s = DDPMSampler(self.steps, variance="beta").step(x_t, guess, move, around)
        return x_s + math.sqrt(move.beta) * around.draw() if move.last else x_s


WRONG = {
    Tutorial: "ddpm",
    TutorialWithNoise: "ddpm",
    TutorialWithDivision: "ddpm",
    NoiseOnTheLastStep: "ddpm-beta",
}


@pytest.mark.parametrize("wrong", list(WRONG), ids=lambda wrong: wrong.method)
@pytest.mark.parametrize("steps", [25, 250, 1000])
def test_wrong_updates_miss_the_limit(wrong, steps):
    """At T = steps = 1000 too, where respacing is no excuse."""
    schedule = linear_schedule(1000)
    limit = sampled_moments(DATA, schedule, SamplingSettings(WRONG[wrong], steps))
    found = read_off(wrong(steps), schedule)
    with pytest.raises(AssertionError):
        assert_is_the_limit(found, limit)
    # by far: no tolerance that a real sampler needs would let it through
    assert abs(found.mean - limit.mean) > 0.01 or abs(found.variance / limit.variance - 1) > 2e-4


def main():
    """Print weak orders and what the wrong updates make of N(.4, .5^2): ``python tests/diffusion/test_limits.py``."""
    worst = 0.0
    for settings, name in cases():
        schedule = make_schedule(name, 1000)
        found, wanted = read_off(make_sampler(settings), schedule), sampled_moments(DATA, schedule, settings)
        worst = max(worst, abs(found.mean - wanted.mean), abs(found.variance - wanted.variance))
    print(f"largest difference of a sampler's law from its closed form, {len(list(cases()))} cases: {worst:.1e}")
    for name, eta in (("ddpm", 0.0), ("ddpm-beta", 0.0), ("ddim", 0.5), ("ddim-karras", 1.0)):
        errors = weak_errors(name, eta)
        falls = " ".join(f"{before / after:.2f}" for before, after in itertools.pairwise(errors))
        print(f"{name:12s} eta {eta}: {WEAK_STEPS} steps: {' '.join(f'{e:.1e}' for e in errors)}; ratios {falls}")
    schedule = linear_schedule(1000)
    for steps in (25, 250, 1000):
        for name in ("ddpm", "ddpm-beta"):
            law = sampled_moments(DATA, schedule, SamplingSettings(name, steps))
            print(f"{steps:5d} steps, {name:24s} mean {law.mean:.4f}, standard deviation {math.sqrt(law.variance):.4f}")
        for wrong in WRONG:
            law = read_off(wrong(steps), schedule)
            print(
                f"{steps:5d} steps, {wrong.method:24s} mean {law.mean:.4f}, standard deviation "
                f"{math.sqrt(law.variance):.4f}"
            )


if __name__ == "__main__":
    main()
