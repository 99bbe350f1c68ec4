import math

import pytest
import torch
from ldm_eval_native.autoencoder import AutoencoderConfig, KLAutoencoder, Posterior

from ldm_eval.errors import ConfigError


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def woken(config):
    """A network whose zero-initialised layers are not zero, so that every part matters."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = KLAutoencoder(config)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def test_the_divergence_of_known_gaussians():
    # KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1)/2 - ln s, summed over a latent
    mean = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).reshape(2, 2, 1, 1)
    std = torch.tensor([[1.0, 1.0], [0.5, 3.0]]).reshape(2, 2, 1, 1)
    found = Posterior(mean, 2 * std.log()).divergence()
    second = (4 + 0.25 - 1) / 2 - math.log(0.5) + (9 - 1) / 2 - math.log(3)
    assert found.tolist() == pytest.approx([0.5, second])


def test_the_divergence_is_that_of_torch():
    mean, log_variance = noise(5, 3, 2, 2), noise(5, 3, 2, 2, seed=1)
    ours = Posterior(mean, log_variance).divergence()
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    theirs = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(dim=(1, 2, 3))
    assert torch.allclose(ours, theirs, rtol=1e-5)


def test_samples_have_the_posteriors_mean_and_deviation():
    posterior = Posterior(torch.full((1, 1, 1, 1), 3.0), torch.full((1, 1, 1, 1), math.log(0.25)))
    drawn = posterior.sample(noise(20_000, 1, 1, 1))
    assert drawn.mean().item() == pytest.approx(3.0, abs=0.015)
    assert drawn.std().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("shape", "levels", "latent"),
    [((1, 8, 8), 1, (8, 8)), ((3, 32, 32), 3, (8, 8)), ((3, 7, 5), 3, (2, 2)), ((1, 28, 20), 2, (14, 10))],
)
def test_any_image_size_comes_back(shape, levels, latent):
    config = AutoencoderConfig(shape, latent_channels=2, channels=8, multipliers=(1,) * levels)
    assert config.latent_shape == (2, *latent)
    found = woken(config)(noise(2, *shape), noise(2, 2, *latent))
    assert found.images.shape == (2, *shape)
    assert found.posterior.mean.shape == (2, 2, *latent)


def test_every_pixel_reaches_the_latent_and_every_latent_the_image():
    network = woken(AutoencoderConfig((1, 8, 8), channels=8, multipliers=(1, 2)))
    images = noise(1, 1, 8, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(network.encode(images).mean.square().sum(), images)
    assert bool((gradient != 0).all())
    latents = noise(1, 4, 4, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(network.decode(latents).square().sum(), latents)
    assert bool((gradient != 0).all())


def test_images_of_a_batch_do_not_see_each_other():
    network = woken(AutoencoderConfig((3, 8, 8), channels=8, multipliers=(1, 2)))
    images = noise(5, 3, 8, 8)
    alone = torch.cat([network.encode(image[None]).mean for image in images])
    assert torch.allclose(network.encode(images).mean, alone, atol=1e-4)


def test_extreme_variances_stay_finite():
    network = woken(AutoencoderConfig((1, 8, 8), channels=8, multipliers=(1, 2)))
    for bias, expected in ((1e4, 20.0), (-1e4, -30.0)):
        torch.nn.init.constant_(network.encoder.out.bias, bias)
        posterior = network.encode(noise(2, 1, 8, 8))
        assert posterior.log_variance.unique().tolist() == [expected]
        assert bool(torch.isfinite(posterior.std).all() and torch.isfinite(posterior.divergence()).all())


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_shape": (5, 8, 8)},
        {"image_shape": (1, 10**6, 8)},
        {"latent_channels": 0},
        {"channels": 10**9},
        {"multipliers": ()},
        {"multipliers": (1, 0)},
        {"multipliers": (1,) * 9},
        {"blocks": 0},
    ],
    ids=str,
)
def test_architectures_that_cannot_be_built_are_refused(wrong):
    with pytest.raises(ConfigError, match="An autoencoder's"):
        AutoencoderConfig(**{"image_shape": (1, 8, 8), **wrong})
