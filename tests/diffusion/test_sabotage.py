"""Would a wrong formula be noticed? The library's own code is altered, and the known answers must refuse it by far.

Four instruments, each passed by the code as it stands:

- the law of a sampler's samples of a Gaussian, read off from impulses, against its closed form (no random numbers);
- every term of the bound of a Gaussian against its closed form, in standard errors of the mean over images;
- the decoder's term in expectation;
- conversions between predictions against the truth.

``python tests/diffusion/test_sabotage.py`` prints what each alteration does.
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass, replace
from unittest import mock

import pytest
import torch

from ldm_eval.api import DiffusionParts, SamplingSettings
from ldm_eval.diffusion import likelihood, parameterisation
from ldm_eval.diffusion.likelihood import variational_bound
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.randomness import sample_seed
from ldm_eval.diffusion.samplers import DDIMSampler, DDPMSampler, DPMSolverSampler, HeunSampler, Move, make_sampler
from ldm_eval.diffusion.schedules import linear_schedule
from ldm_eval.errors import ConfigError
from ldm_eval.testing.denoisers import GaussianDenoiser
from ldm_eval.testing.limits import Moments, sampled_moments

DATA = Moments(0.4, 0.25)
SCHEDULE = linear_schedule(200)
EXACT = 1e-9  # what the right code reaches, relative
FAR = 0.01  # what a wrong one must miss by
CHANCE, CERTAIN = 4.5, 10.0  # standard errors: the largest of 51 terms by chance, and an alteration


class InKind:
    """The exact denoiser of the data, asked for epsilon, x0 or v by formulas of its own, in the dtype it is given."""

    def __init__(self, kind, data=DATA, schedule=SCHEDULE):
        self.prediction, self.data, self.schedule = kind, data, schedule

    def __call__(self, x_t, t, labels=None):
        a, s = (f(t).reshape(-1, 1, 1, 1) for f in (self.schedule.alpha, self.schedule.sigma))
        centred = (x_t.double() - a * self.data.mean) / (a**2 * self.data.variance + s**2)
        x0, epsilon = self.data.mean + a * self.data.variance * centred, s * centred
        return {"epsilon": epsilon, "x0": x0, "v": a * epsilon - s * x0}[self.prediction].to(x_t.dtype)


class Impulses:
    """Stands for SampleNoise: row 0 gets no noise, row i a one at the i-th draw; so a linear sampler is read off."""

    device = torch.device("cpu")

    def __init__(self, rows):
        self.rows, self.drawn = rows, 0

    def __len__(self):
        return self.rows

    def draw(self, shape):
        self.drawn += 1
        noise = torch.zeros(self.rows, *shape, dtype=torch.float64)
        noise[self.drawn] = 1.0
        return noise


def miss_of_the_law(name, steps=25, eta=0.0, kind="v"):
    """How far the samples' law is from its closed form: the larger of mean and variance, relative."""
    settings = SamplingSettings(name, steps, eta=eta)
    ends = make_sampler(settings).sample(InKind(kind), SCHEDULE, Impulses(steps + 2), (1, 1, 1)).flatten()
    mean, variance = ends[0].item(), (ends[1:] - ends[0]).square().sum().item()
    limit = sampled_moments(DATA, SCHEDULE, settings)
    return max(abs(mean / limit.mean - 1), abs(variance / limit.variance - 1))


def closed_form(data, schedule):
    """L_0 .. L_T in expectation, in bits, from the betas alone (posterior variances, Gaussian decoder of beta_0)."""
    beta = schedule.betas
    bar = (1 - beta).cumprod(0)
    error = data.variance * (1 - bar) / (bar * data.variance + 1 - bar)  # Var[x_0 | x_t]
    before, after = bar[:-1], bar[1:]
    posterior = beta[1:] * (1 - before) / (1 - after)
    on_x0 = before.sqrt() * beta[1:] / (1 - after)
    terms = [
        0.5 * (error[:1] / beta[:1] + (2 * math.pi * beta[:1]).log()),
        0.5 * on_x0**2 * error[1:] / posterior,
        0.5 * (bar[-1:] * (data.mean**2 + data.variance) - bar[-1:] - (1 - bar[-1:]).log()),
    ]
    return torch.cat(terms) / math.log(2)


def miss_of_the_bound(kind="v", variance="posterior", data=DATA, states=lambda x: x):
    """Largest distance of a term from its closed form, in standard errors over 256 images of 8x8."""
    n, schedule = 256, linear_schedule(50)
    generator = torch.Generator().manual_seed(1)
    x0 = data.mean + math.sqrt(data.variance) * torch.randn((n, 1, 8, 8), generator=generator, dtype=torch.float64)
    noise = SampleNoise([sample_seed(0, i) for i in range(n)])
    bound = variational_bound(
        InKind(kind, data, schedule), schedule, states(x0), noise, variance=variance, decoder="gaussian"
    )
    found = torch.cat([bound.decoder[:, None], bound.transitions, bound.prior[:, None]], dim=1)
    z = (found.mean(0) - closed_form(data, schedule)) / (found.std(0) / math.sqrt(n))
    return z.abs().max().item()


def miss_of_the_decoder():
    """L_0 in expectation, in bits, at T = 1000. Near its best variance it is flat, so chance would hide a wrong one."""
    schedule = linear_schedule(1000)
    a, s = (f(torch.tensor([0])).item() for f in (schedule.alpha, schedule.sigma))
    error = DATA.variance * s**2 / (a**2 * DATA.variance + s**2)
    x0 = torch.full((1, 1, 1, 1), math.sqrt(error), dtype=torch.float64)
    variance = likelihood.decoder_variance(schedule)
    found = likelihood.decoder_term(x0, torch.zeros_like(x0), variance, decoder="gaussian").item()
    return abs(found - closed_form(DATA, schedule)[0].item())


def miss_of_the_truth(native, wanted):
    """Largest error of a conversion, and of the training target, over the whole schedule; values are of order one."""
    t = torch.arange(SCHEDULE.steps)
    x0, epsilon = torch.randn((2, len(t), 1, 2, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, s = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    columns = [values.reshape(-1, 1, 1, 1) for values in (a, s)]
    truth = {"epsilon": epsilon, "x0": x0, "v": columns[0] * epsilon - columns[1] * x0}
    x_t = parameterisation.add_noise(SCHEDULE, x0, epsilon, t)
    converted = parameterisation.convert(truth[native], native, wanted, x_t, a, s)
    target = parameterisation.training_target(SCHEDULE, native, x0, epsilon, t)
    return max((converted - truth[wanted]).abs().max().item(), (target - truth[native]).abs().max().item())


# The alterations. Each replaces one thing of the library by what is found in the wild.


def tutorial(self, x_t, guess, move, around):
    """Eps is not divided by sqrt(1 - alpha_bar), and no noise is added."""
    return (x_t - move.beta * guess.epsilon) * (move.alpha_s / move.alpha_t)


def posterior_upside_down(self):
    return self.beta * (self.sigma_t / self.sigma_s) ** 2 if self.sigma_s else 0.0


def ddim_with_alpha_bar(self, x_t, guess, move, around):
    """alpha_bar where its root belongs."""
    return move.alpha_s**2 * guess.x0 + move.sigma_s * guess.epsilon


def ddim_without_respacing(self, x_t, guess, move, around):
    """The direction to x_t taken with the noise level that is being left."""
    return move.alpha_s * guess.x0 + (move.sigma_t if not move.last else 0.0) * guess.epsilon


def dpm_without_history(self, x_t, guess, move, around):
    return DPMSOLVER_STEP(self, x_t, guess, move, replace(around, previous=None))


def heun_without_the_half(self, x_t, guess, move, around):
    euler = move.alpha_s * guess.x0 + move.sigma_s * guess.epsilon
    return euler + 2.0 * (HEUN_STEP(self, x_t, guess, move, around) - euler)


def v_with_the_wrong_sign(output, native, wanted, x_t, alpha, sigma):
    return CONVERT(-output if native == "v" else output, native, wanted, x_t, alpha, sigma)


def target_with_the_wrong_sign(schedule, prediction, x0, epsilon, t):
    return TARGET(schedule, prediction, x0, epsilon, t) * (-1.0 if prediction == "v" else 1.0)


def noised_with_alpha_bar(schedule, x0, epsilon, t):
    a = schedule.alpha(t).reshape(-1, 1, 1, 1)
    return NOISED(schedule, x0, epsilon, t) + (a**2 - a) * x0


def posterior_variance_of_the_first_step(schedule):
    """beta-tilde of the first transition in the place of beta_0 ("posterior_log_variance_clipped" does this)."""
    zero, one = torch.tensor([0]), torch.tensor([1])
    beta = 1 - (schedule.alpha(one) / schedule.alpha(zero)) ** 2
    return float(beta * (schedule.sigma(zero) / schedule.sigma(one)) ** 2)


DPMSOLVER_STEP, HEUN_STEP = DPMSolverSampler.step, HeunSampler.step
CONVERT, TARGET, NOISED = parameterisation.convert, parameterisation.training_target, parameterisation.add_noise
BETA = property(lambda move: move.beta)


@dataclass(frozen=True)
class Sabotage:
    """``where.what`` becomes ``by``; ``instrument(**arguments)`` must then read more than ``far``."""

    name: str
    where: object
    what: str
    by: object
    instrument: object
    arguments: dict
    right: float = EXACT
    far: float = FAR

    def applied(self):
        stack = ExitStack()
        stack.enter_context(mock.patch.object(self.where, self.what, self.by))
        return stack

    def reads(self):
        return self.instrument(**self.arguments)


def sampled(name, where, what, by, sampler, **arguments):
    return Sabotage(name, where, what, by, miss_of_the_law, {"name": sampler, **arguments})


def bounded(name, where, what, by, **arguments):
    return Sabotage(name, where, what, by, miss_of_the_bound, arguments, CHANCE, CERTAIN)


def converted(name, what, by, native, wanted):
    arguments = {"native": native, "wanted": wanted}
    return Sabotage(name, parameterisation, what, by, miss_of_the_truth, arguments)


SABOTAGES = (
    sampled("tutorial", DDPMSampler, "step", tutorial, "ddpm"),
    sampled("tutorial-every-step", DDPMSampler, "step", tutorial, "ddpm", steps=200),
    sampled("beta-for-posterior", Move, "posterior_variance", BETA, "ddpm"),
    sampled("posterior-upside-down", Move, "posterior_variance", property(posterior_upside_down), "ddpm"),
    sampled("ddim-alpha-bar", DDIMSampler, "step", ddim_with_alpha_bar, "ddim"),
    sampled("ddim-old-noise-level", DDIMSampler, "step", ddim_without_respacing, "ddim"),
    sampled("ddim-eta-with-beta", Move, "posterior_variance", BETA, "ddim", eta=0.5),
    sampled("heun-uncorrected", HeunSampler, "looks_ahead", lambda self, move: False, "heun"),
    sampled("heun-corrected-twice", HeunSampler, "step", heun_without_the_half, "heun"),
    sampled("dpm-without-history", DPMSolverSampler, "step", dpm_without_history, "dpm-solver++-karras"),
    sampled("v-sign-in-sampling", parameterisation, "convert", v_with_the_wrong_sign, "ddim"),
    converted("v-sign-to-epsilon", "convert", v_with_the_wrong_sign, "v", "epsilon"),
    converted("v-sign-to-x0", "convert", v_with_the_wrong_sign, "v", "x0"),
    converted("v-sign-in-training", "training_target", target_with_the_wrong_sign, "v", "v"),
    converted("noised-with-alpha-bar", "add_noise", noised_with_alpha_bar, "epsilon", "x0"),
    bounded("bound-v-sign", parameterisation, "convert", v_with_the_wrong_sign),
    bounded("bound-noised-with-alpha-bar", likelihood, "add_noise", noised_with_alpha_bar),
    Sabotage(
        "decoder-posterior-variance",
        likelihood,
        "decoder_variance",
        posterior_variance_of_the_first_step,
        miss_of_the_decoder,
        {},
    ),
)


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.name)
def test_the_right_code_passes_and_the_altered_one_misses_by_far(sabotage):
    assert sabotage.reads() < sabotage.right
    with sabotage.applied():
        assert sabotage.reads() > sabotage.far
    assert sabotage.reads() < sabotage.right  # and the library is whole again


def test_a_bound_with_the_other_variance_is_not_taken_for_this_one():
    assert miss_of_the_bound(variance="posterior") < CHANCE
    assert miss_of_the_bound(variance="beta") > CERTAIN


def test_a_decoder_with_the_posterior_variance_of_timestep_0_is_refused():
    """That variance is 0: the likelihood would be infinite, or nothing."""
    with (
        mock.patch.object(likelihood, "decoder_variance", return_value=0.0),
        pytest.raises(ConfigError, match="greater than zero"),
    ):
        miss_of_the_bound()


class Scaled:
    """A linear autoencoder whose latents have the standard deviation ``spread`` before they are scaled."""

    image_shape = latent_shape = (1, 8, 8)

    def __init__(self, spread, applied=True):
        self.scale = 1 / spread
        self._applied = self.scale if applied else 1.0

    def encode(self, images):
        return images * self._applied

    def decode(self, latents):
        return latents / self._applied


def miss_of_a_latent_model(autoencoder, spread):
    """Its network knows N(0, 1), the law of the scaled latents of images N(0, spread^2): bound and samples."""
    schedule = linear_schedule(50)
    unit = GaussianDenoiser(torch.zeros(1, 8, 8), 1.0, schedule)
    parts = DiffusionParts(schedule, unit, autoencoder.image_shape, torch.device("cpu"), autoencoder)
    images = spread * torch.randn((256, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noise = SampleNoise([sample_seed(0, i) for i in range(256)])
    bound = variational_bound(parts.denoiser, schedule, parts.to_states(images), noise, decoder="gaussian")
    found = torch.cat([bound.decoder[:, None], bound.transitions, bound.prior[:, None]], dim=1)
    z = (found.mean(0) - closed_form(Moments(0.0, 1.0), schedule)) / (found.std(0) / 16)
    settings = SamplingSettings("ddim", 50)
    latents = make_sampler(settings).sample(unit, schedule, noise, parts.state_shape)
    expected = spread**2 * sampled_moments(Moments(0.0, 1.0), schedule, settings).variance
    return z.abs().max().item(), abs(autoencoder.decode(latents).var().item() / expected - 1)


@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_latents_that_are_not_scaled_are_noticed_in_the_bound_and_in_the_samples(spread):
    """16,384 sampled pixels: their variance is known to 1.1 %."""
    bits, variance = miss_of_a_latent_model(Scaled(spread), spread)
    assert bits < CHANCE
    assert variance < 0.05
    bits, variance = miss_of_a_latent_model(Scaled(spread, applied=False), spread)
    assert bits > CERTAIN
    assert variance > 0.5


def main():
    for sabotage in SABOTAGES:
        right = sabotage.reads()
        with sabotage.applied():
            print(f"{sabotage.name:30s} right {right:8.1e}, altered {sabotage.reads():8.1e}")
    print(f"bound with the other variance: {miss_of_the_bound(variance='beta'):.0f} standard errors")
    for spread in (0.5, 3.0):
        print(f"latents unscaled, {spread}: {miss_of_a_latent_model(Scaled(spread, False), spread)}")


if __name__ == "__main__":
    main()
