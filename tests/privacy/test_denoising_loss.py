import numpy as np
import pytest
import torch
from ldm_eval_privacy.denoising_loss import DENOISING_LOSS, noise_levels, score

from ldm_eval.api import DiffusionParts
from ldm_eval.diffusion.parameterisation import convert
from ldm_eval.diffusion.schedules import linear_schedule
from ldm_eval.errors import ConfigError
from ldm_eval.testing.denoisers import GaussianDenoiser, OptimalDenoiser

SHAPE = (1, 6, 6)
SCHEDULE = linear_schedule(1000)
PARAMETERS = {"noises": 4, "levels": "0.02 0.1 0.5"}


def images(n, seed=0):
    return 0.25 * torch.randn((n, *SHAPE), generator=torch.Generator().manual_seed(seed))


def parts(denoiser):
    return DiffusionParts(SCHEDULE, denoiser, SHAPE, torch.device("cpu"))


class Rewritten:
    """The same denoiser, speaking another parameterisation."""

    def __init__(self, denoiser, prediction):
        self.denoiser, self.prediction = denoiser, prediction

    def __call__(self, x_t, t, labels=None):
        alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
        return convert(self.denoiser(x_t, t), "epsilon", self.prediction, x_t, alpha, sigma)


def test_the_loss_of_the_exact_gaussian_denoiser_is_the_closed_form():
    x0 = images(3000)
    found = score(parts(GaussianDenoiser(torch.zeros(SHAPE), 0.0625, SCHEDULE)), x0, 0, PARAMETERS)
    t = torch.tensor([20, 100, 500])
    signal, noise = 0.0625 * SCHEDULE.alpha(t) ** 2, SCHEDULE.sigma(t) ** 2
    # E|eps - E[eps|x_t]|^2 = S a^2 / (S a^2 + s^2); the 4 shared noises leave their own scatter
    expected = (signal / (signal + noise)).numpy()
    np.testing.assert_allclose(found.mean(axis=0), expected, rtol=0.1)


def test_a_memorised_image_costs_nothing_and_a_fresh_one_does():
    known, fresh = images(40), images(40, seed=1)
    model = parts(OptimalDenoiser(known, SCHEDULE))
    assert score(model, known, 0, PARAMETERS)[:, 0].max() < 1e-6
    assert score(model, fresh, 0, PARAMETERS)[:, 0].min() > 1.0


def test_neither_the_batch_nor_the_order_changes_a_score():
    x0 = images(9)
    model = parts(GaussianDenoiser(torch.zeros(SHAPE), 0.0625, SCHEDULE))
    whole = score(model, x0, 3, PARAMETERS)
    single = np.concatenate([score(model, x0[i : i + 1], 3, PARAMETERS) for i in range(9)])
    np.testing.assert_array_equal(whole, single)
    np.testing.assert_array_equal(whole[::-1], score(model, x0.flip(0), 3, PARAMETERS))
    assert not np.array_equal(whole, score(model, x0, 4, PARAMETERS))


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    score(parts(GaussianDenoiser(torch.zeros(SHAPE), 0.0625, SCHEDULE)), images(2), 0, PARAMETERS)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_the_networks_parameterisation_does_not_matter(prediction):
    exact = GaussianDenoiser(torch.zeros(SHAPE), 0.0625, SCHEDULE)
    one = score(parts(exact), images(5), 0, PARAMETERS)
    other = score(parts(Rewritten(exact, prediction)), images(5), 0, PARAMETERS)
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_the_plan_is_told_how_many_calls_it_costs():
    calls = 0

    class Counting(Rewritten):
        def __call__(self, x_t, t, labels=None):
            nonlocal calls
            calls += len(x_t)
            return super().__call__(x_t, t, labels)

    model = Counting(GaussianDenoiser(torch.zeros(SHAPE), 0.0625, SCHEDULE), "epsilon")
    found = score(parts(model), images(3), 0, DENOISING_LOSS.parameters)
    assert calls == 3 * DENOISING_LOSS.calls_per_image
    assert found.shape == (3, 6)
    assert found.dtype == np.float32


def test_noise_levels_that_are_none_are_refused():
    for text in ("", "0.1 half", "1.0"):
        with pytest.raises(ConfigError, match="Noise levels"):
            noise_levels({"levels": text})


class Halving:
    """An autoencoder of one pixel per 2x2 block, scaled."""

    image_shape, latent_shape, scale = (1, 12, 12), SHAPE, 2.0

    def encode(self, given):
        return self.scale * torch.nn.functional.avg_pool2d(given, 2)

    def decode(self, latents):
        return torch.nn.functional.interpolate(latents / self.scale, scale_factor=2.0)


def test_a_latent_model_is_scored_on_the_latents_of_the_images():
    model = GaussianDenoiser(torch.zeros(SHAPE), 0.0625, SCHEDULE)
    latent = DiffusionParts(SCHEDULE, model, Halving.image_shape, torch.device("cpu"), Halving())
    pictures = torch.nn.functional.interpolate(images(5), scale_factor=2.0)
    assert latent.state_shape == SHAPE
    np.testing.assert_array_equal(
        score(latent, pictures, 0, PARAMETERS), score(parts(model), 2.0 * images(5), 0, PARAMETERS)
    )
