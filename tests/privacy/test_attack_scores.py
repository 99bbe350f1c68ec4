import numpy as np
import pytest
import torch
from ldm_eval_privacy import attack_scores
from ldm_eval_privacy.attack_scores import AUTOENCODER, PIA, SECMI, SIMA
from ldm_eval_privacy.attacks import ATTACKS, OWN, columns_of
from ldm_eval_privacy.denoising_loss import DENOISING_LOSS
from ldm_eval_privacy.denoising_loss import score as denoising_loss

from ldm_eval.api import DiffusionParts
from ldm_eval.diffusion.schedules import cosine_schedule, linear_schedule
from ldm_eval.errors import ConfigError, ModelError
from ldm_eval.testing.denoisers import GaussianDenoiser, MixtureDenoiser, OptimalDenoiser

SHAPE, VARIANCE = (1, 6, 6), 0.0625
SCHEDULE = linear_schedule(1000)
SCORES = {
    "sima": (SIMA, attack_scores.sima),
    "pia": (PIA, attack_scores.pia),
    "secmi": (SECMI, attack_scores.secmi),
    "denoising_loss": (DENOISING_LOSS, denoising_loss),
}
WITHOUT_NOISE = ("sima", "pia", "secmi")


def images(n, seed=0):
    return 0.25 * torch.randn((n, *SHAPE), generator=torch.Generator().manual_seed(seed))


def parts(denoiser, schedule=SCHEDULE):
    return DiffusionParts(schedule, denoiser, SHAPE, torch.device("cpu"))


def gaussian(prediction="epsilon", schedule=SCHEDULE):
    return GaussianDenoiser(torch.zeros(SHAPE), VARIANCE, schedule, prediction)


def scored(name, model, given, **parameters):
    spec, function = SCORES[name]
    return function(model, given, 0, {**spec.parameters, **parameters})


def gain(t):
    """eps(x, t) = gain(t) x of the exact denoiser of N(0, VARIANCE)."""
    alpha, sigma = float(SCHEDULE.alpha(torch.tensor([t]))), float(SCHEDULE.sigma(torch.tensor([t])))
    return sigma / (alpha**2 * VARIANCE + sigma**2)


def levels(t):
    return float(SCHEDULE.alpha(torch.tensor([t]))), float(SCHEDULE.sigma(torch.tensor([t])))


def p_norm(values, p):
    return (np.abs(values) ** p).mean(axis=1) ** (1 / p)


def test_sima_of_the_exact_gaussian_denoiser_is_the_closed_form():
    x0 = images(7)
    found = scored("sima", parts(gaussian()), x0, levels="0.02 0.3", norms="2 4")
    flat = x0.flatten(1).numpy().astype(np.float64)
    expected = [gain(t) * p_norm(flat, p) for t in (20, 300) for p in (2, 4)]
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-5)


def test_pia_and_pian_of_the_exact_gaussian_denoiser_are_the_closed_forms():
    x0 = images(7)
    found = scored("pia", parts(gaussian()), x0, levels="0.1 0.3", norms="4")
    flat = x0.flatten(1).numpy().astype(np.float64)
    seen = gain(0) * flat
    normal = seen / np.abs(seen).mean(axis=1, keepdims=True) * np.sqrt(2 / np.pi)
    expected = []
    for noise in (seen, normal):
        for t in (100, 300):
            alpha, sigma = levels(t)
            expected.append(p_norm(noise - gain(t) * (alpha * flat + sigma * noise), 4))
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-4)


def test_secmi_of_the_exact_gaussian_denoiser_is_the_closed_form():
    """Every step of DDIM is a multiplication; the t-error is one step forth and one back from the inverted image."""

    def step(start, end):
        (alpha, sigma), (to_alpha, to_sigma) = levels(start), levels(end)
        return to_alpha * (1 - sigma * gain(start)) / alpha + to_sigma * gain(start)

    x0 = images(7)
    found = scored("secmi", parts(gaussian()), x0)
    squares = x0.flatten(1).numpy().astype(np.float64).__pow__(2).mean(axis=1)
    expected = []
    for t in (30, 60, 90):
        path = np.prod([step(start, start + 10) for start in range(0, t, 10)])
        expected.append((path * (1 - step(t, t + 10) * step(t + 10, t))) ** 2 * squares)
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=2e-3)  # float32 under a difference


@pytest.mark.parametrize("name", WITHOUT_NOISE)
def test_a_memorised_image_scores_lower_than_every_fresh_one(name):
    known, fresh = images(60), images(60, seed=1)
    model = parts(OptimalDenoiser(known, SCHEDULE))
    low, high = scored(name, model, known)[:, 0], scored(name, model, fresh)[:, 0]
    assert low.max() < high.min()


@pytest.mark.parametrize("name", sorted(SCORES))
def test_neither_the_batch_nor_the_order_changes_a_score(name):
    x0 = images(9)
    means = images(3, seed=5)
    model = parts(MixtureDenoiser(torch.ones(3), means, VARIANCE, SCHEDULE))
    whole = scored(name, model, x0)
    blocks = np.concatenate([scored(name, model, x0[start : start + 4]) for start in range(0, 9, 4)])
    np.testing.assert_allclose(whole, blocks, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(whole[::-1], scored(name, model, x0.flip(0)), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("prediction", ["x0", "v"])
@pytest.mark.parametrize("name", sorted(SCORES))
@pytest.mark.parametrize("schedule", [SCHEDULE, cosine_schedule(500)], ids=["linear", "cosine"])
def test_the_networks_parameterisation_does_not_matter(name, prediction, schedule):
    one = scored(name, parts(gaussian("epsilon", schedule), schedule), images(5))
    other = scored(name, parts(gaussian(prediction, schedule), schedule), images(5))
    np.testing.assert_allclose(one, other, rtol=5e-3)


@pytest.mark.parametrize("name", WITHOUT_NOISE)
def test_nothing_is_drawn(name):
    spec, function = SCORES[name]
    before = torch.random.get_rng_state()
    one, other = (function(parts(gaussian()), images(3), seed, spec.parameters) for seed in (0, 1))
    np.testing.assert_array_equal(one, other)
    assert torch.equal(before, torch.random.get_rng_state())


class Counting:
    prediction = "epsilon"

    def __init__(self):
        self.calls = 0
        self.denoiser = gaussian()

    def __call__(self, x_t, t, labels=None):
        self.calls += len(x_t)
        return self.denoiser(x_t, t)


@pytest.mark.parametrize("name", sorted(SCORES))
def test_the_plan_is_told_how_many_calls_it_costs(name):
    spec = SCORES[name][0]
    model = Counting()
    found = scored(name, parts(model), images(3))
    assert model.calls == 3 * spec.calls_per_image
    assert found.shape == (3, len(columns_of(spec)))
    assert found.dtype == np.float32


def test_the_new_attacks_cost_at_most_forty_calls_an_image():
    assert sum(attack.score.calls_per_image for attack in (*ATTACKS, OWN) if attack.score is not DENOISING_LOSS) <= 40


@pytest.mark.parametrize("steps", [10, 200, 1000])
def test_secmi_reads_its_error_on_the_path_whatever_the_schedule(steps):
    schedule = cosine_schedule(steps)
    stride, reads = attack_scores.secmi_steps(parts(gaussian(schedule=schedule), schedule), SECMI.parameters)
    assert stride == max(1, steps // 100)
    for read, level in zip(reads, (0.03, 0.06, 0.09), strict=True):
        assert abs(read * stride - level * steps) <= stride
    assert np.isfinite(scored("secmi", parts(gaussian(schedule=schedule), schedule), images(2))).all()


def test_a_schedule_too_short_for_secmi_is_refused():
    schedule = cosine_schedule(2)
    with pytest.raises(ModelError, match="only 2 timesteps"):
        scored("secmi", parts(gaussian(schedule=schedule), schedule), images(2))


def test_norms_that_are_none_are_refused():
    for text in ("", "two", "0.5", "inf"):
        with pytest.raises(ConfigError, match="Norms"):
            attack_scores.norms_of({"norms": text})


class Halving:
    """An autoencoder of one pixel per 2x2 block, scaled."""

    image_shape, latent_shape, scale = (1, 12, 12), SHAPE, 2.0

    def encode(self, given):
        return self.scale * torch.nn.functional.avg_pool2d(given, 2)

    def decode(self, latents):
        return torch.nn.functional.interpolate(latents / self.scale, scale_factor=2.0)


def latent_parts():
    return DiffusionParts(SCHEDULE, gaussian(), Halving.image_shape, torch.device("cpu"), Halving())


@pytest.mark.parametrize("name", sorted(SCORES))
def test_a_latent_model_is_scored_on_the_latents_of_the_images(name):
    pictures = torch.nn.functional.interpolate(images(5), scale_factor=2.0)
    np.testing.assert_array_equal(
        scored(name, latent_parts(), pictures), scored(name, parts(gaussian()), 2.0 * images(5))
    )


def test_the_autoencoders_score_is_its_reconstruction_error_and_a_pixel_model_has_none():
    smooth = torch.nn.functional.interpolate(images(5), scale_factor=2.0)
    rough = smooth.clone()
    rough[..., ::2] += 0.1
    rough[..., 1::2] -= 0.1
    found = attack_scores.autoencoder(latent_parts(), rough, 0, AUTOENCODER.parameters)
    np.testing.assert_allclose(found, np.tile([0.01, 0.1], (5, 1)), rtol=1e-4)
    np.testing.assert_allclose(attack_scores.autoencoder(latent_parts(), smooth, 0, {}), 0, atol=1e-12)
    assert attack_scores.autoencoder(parts(gaussian()), images(5), 0, {}).shape == (5, 0)
    assert len(columns_of(AUTOENCODER)) == 2
