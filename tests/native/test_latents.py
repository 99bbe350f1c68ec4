import math

import numpy as np
import pytest
import torch
from ldm_eval_native.autoencoder_file import load_autoencoder
from ldm_eval_native.batches import TrainingBatches, evaluation_batch
from ldm_eval_native.latents import Latents, LatentSource, NativeAutoencoder, encode_images, micro_batch

from ldm_eval.diffusion.quantise import to_float
from ldm_eval.errors import ModelError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network(autoencoder_file):
    return load_autoencoder(autoencoder_file).network(autoencoder_file)


def gaussian_latents(n=400, mean=2.0, between=3.0, within=4.0):
    """Posteriors N(m_i, within^2) with m_i from N(mean, between^2)."""
    generator = torch.Generator().manual_seed(0)
    means = mean + between * torch.randn((n, 2, 4, 4), generator=generator)
    return Latents(means, torch.full_like(means, within))


def test_the_scale_is_that_of_posterior_samples_about_their_common_mean():
    assert gaussian_latents().scale() == pytest.approx(1 / 5, rel=0.02)
    assert gaussian_latents(within=0.0).scale() == pytest.approx(1 / 3, rel=0.02)


def test_what_is_learned_has_unit_deviation():
    latents = gaussian_latents()
    batches = TrainingBatches(LatentSource(latents, latents.scale(), None), batch_size=400, timesteps=10, seed=0)
    drawn = torch.cat([batches.at(step).images for step in range(5)])
    assert drawn.std().item() == pytest.approx(1.0, abs=0.01)


def test_the_scale_of_a_real_training_set(network, native):
    latents = encode_images(network, native.image_set(), CPU)
    source = LatentSource(latents, latents.scale(), None)
    rows = np.arange(64)
    draws = [source.draw(rows, None, torch.Generator().manual_seed(seed)) for seed in range(50)]
    assert torch.cat(draws).std(correction=0).item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_latents_without_variance_are_refused(value):
    constant = torch.full((4, 1, 2, 2), value)
    with pytest.raises(ModelError, match="nothing to learn"):
        Latents(constant, torch.zeros_like(constant)).scale()


def test_encoding_is_the_scaled_posterior_mean(network, native):
    images = to_float(native.image_set().pixels)
    coder = NativeAutoencoder(network, 0.7)
    with torch.no_grad():
        mean = network.encode(images).mean
    assert torch.allclose(coder.encode(images), 0.7 * mean, atol=1e-6)
    assert torch.equal(coder.encode(images), coder.encode(images))
    assert coder.latent_shape == (3, 4, 4)
    assert coder.image_shape == (1, 8, 8)


def test_decoding_undoes_the_scale_and_stays_in_range(network, native):
    images = to_float(native.image_set(seed=3).pixels)
    near, far = NativeAutoencoder(network, 1.0), NativeAutoencoder(network, 100.0)
    again = near.decode(near.encode(images))
    assert torch.allclose(again, far.decode(far.encode(images)), atol=1e-3)
    assert again.abs().max() <= 1.0
    assert near.decode(1e4 * near.encode(images)).abs().max() == 1.0
    # Squares of 9 of 64 pixels at 1 on -1: guessing black everywhere is wrong by 0.28.
    assert (again - images).abs().mean() < 0.1


def test_micro_batches_do_not_change_what_comes_out(network, native):
    images = to_float(native.image_set(n=130).pixels)
    coder = NativeAutoencoder(network, 1.0)
    together = coder.encode(images)
    alone = torch.cat([coder.encode(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(coder.decode(together), torch.cat([coder.decode(z[None]) for z in together]), atol=1e-4)


def test_large_images_are_decoded_few_at_a_time(network):
    assert micro_batch(network) == 64
    network.config = type(network.config)((3, 512, 512), channels=64, multipliers=(1, 2))
    try:
        assert micro_batch(network) == 1
    finally:
        network.config = type(network.config)((1, 8, 8), 3, 8, (1, 2))


def test_gradients_reach_images_and_latents_but_no_weight(network, native):
    coder = NativeAutoencoder(network, 1.0)
    images = to_float(native.image_set(n=2).pixels).requires_grad_()
    coder.encode(images).sum().backward()
    assert bool((images.grad != 0).any())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_mirrored_images_have_latents_of_their_own(network, native):
    data = native.image_set()
    plain, mirrored = (encode_images(network, data, CPU, mirrored=flip) for flip in (False, True))
    with torch.no_grad():
        expected = network.encode(to_float(data.pixels).flip(-1)).mean
    assert torch.allclose(mirrored.mean, expected, atol=1e-5)
    source = LatentSource(Latents(plain.mean, 0 * plain.std), 1.0, None, Latents(mirrored.mean, 0 * mirrored.std))
    rows, which = np.array([5, 5, 9]), torch.tensor([False, True, True])
    drawn = source.draw(rows, which, torch.Generator())
    assert torch.equal(drawn, torch.stack([plain.mean[5], mirrored.mean[5], mirrored.mean[9]]))
    assert len(source) == 64


def test_watched_losses_see_posterior_means(network, native):
    latents = encode_images(network, native.image_set(), CPU)
    batch = evaluation_batch(LatentSource(latents, 2.0, None), timesteps=50, seed=0, labels=False)
    assert torch.equal(batch.images, 2.0 * latents.mean)


def test_training_samples_are_a_function_of_the_step(network, native):
    latents = encode_images(network, native.image_set(), CPU)
    batches = TrainingBatches(LatentSource(latents, 1.0, None), batch_size=64, timesteps=50, seed=0)
    assert torch.equal(batches.at(3).images, batches.at(3).images)
    first, second = batches.at(0), batches.at(1)
    assert not torch.equal(first.images.sum(0), second.images.sum(0))  # the same images, other draws
    assert first.noise.shape == first.images.shape == (64, 3, 4, 4)
