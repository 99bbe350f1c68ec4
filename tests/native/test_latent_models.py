"""Both stages of a latent model: trained, stored, resumed, sampled and opened."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from ldm_eval_native.autoencoder_file import load_autoencoder
from ldm_eval_native.backend import load_model
from ldm_eval_native.checkpoint import load_checkpoint, save_checkpoint
from ldm_eval_native.outputs import state_path

from ldm_eval.api import SampleRequest, SamplingSettings
from ldm_eval.diffusion.parameterisation import add_noise, predict
from ldm_eval.diffusion.quantise import to_float
from ldm_eval.diffusion.randomness import sample_seed
from ldm_eval.errors import ConfigError, DataError, ModelError

# Largest difference of a float32 pixel in [-1, 1] between batch sizes: convolutions sum in another order.
BATCH_TOLERANCE = 5e-4


@pytest.fixture(scope="module")
def model(latent_file):
    return load_model(latent_file, "cpu")


def drawn(model, ids, batch, settings=SamplingSettings(), label=None):  # noqa: B008
    ids = list(ids)
    requests = [SampleRequest(i, sample_seed(0, i), settings, label=label) for i in ids]
    return torch.cat([model.generate(requests[i : i + batch]).pixels for i in range(0, len(ids), batch)])


def test_the_autoencoder_learns_to_reconstruct(native, tmp_path):
    news = []
    result = native.train_autoencoder(tmp_path / "ae.pt", news.append, steps=150)
    assert news[0].loss > 0.5
    assert result.loss < 0.1
    assert result.holdout_loss < 0.1
    assert result.identity.sha256 == load_autoencoder(tmp_path / "ae.pt").sha256


def test_the_error_and_the_divergence_are_weighed_as_documented(native, tmp_path):
    results = {}
    for error in ("l1", "mse"):
        for kl in (0.0, 1.0):
            options = {"reconstruction": error, "kl": kl}
            result = native.train_autoencoder(tmp_path / "ae.pt", steps=1, learning_rate=1e-12, options=options)
            results[error, kl] = result.loss
    stored = load_autoencoder(tmp_path / "ae.pt")
    network = stored.network(tmp_path / "ae.pt")
    images = to_float(native.image_set().pixels)
    with torch.no_grad():
        divergence = network.encode(images).divergence().mean().item() / 64
    for error in ("l1", "mse"):
        assert results[error, 1.0] - results[error, 0.0] == pytest.approx(divergence, rel=1e-3)
    # A fresh decoder gives about 0 for pixels of +-1: both errors are about 1.
    assert results["mse", 0.0] == pytest.approx(1.0, abs=0.3)


def test_a_larger_weight_makes_smaller_divergences(native, tmp_path):
    images = to_float(native.image_set().pixels)

    def divergence(kl):
        native.train_autoencoder(tmp_path / "ae.pt", steps=60, options={"kl": kl})
        network = load_autoencoder(tmp_path / "ae.pt").network(tmp_path / "ae.pt")
        return network.encode(images).divergence().mean().item()

    assert divergence(0.1) < 0.3 * divergence(0.0)


@pytest.mark.parametrize("flip", [False, True])
def test_a_resumed_autoencoder_equals_a_straight_one_bit_for_bit(native, tmp_path, flip):
    straight, resumed = tmp_path / "straight.pt", tmp_path / "resumed.pt"
    same = {"horizontal_flip": flip, "options": {"save_every": 10, "evaluate_every": 5}}
    native.train_autoencoder(straight, steps=20, **same)
    native.train_autoencoder(resumed, steps=10, **same)
    native.train_autoencoder(resumed, steps=20, resume=True, **same)
    assert straight.read_bytes() == resumed.read_bytes()
    assert state_path(straight).read_bytes() == state_path(resumed).read_bytes()


@pytest.mark.parametrize("flip", [False, True])
def test_a_resumed_latent_model_equals_a_straight_one_bit_for_bit(native, autoencoder_file, tmp_path, flip):
    straight, resumed = tmp_path / "straight.pt", tmp_path / "resumed.pt"
    options = {"autoencoder": str(autoencoder_file), "save_every": 10, "evaluate_every": 5, "labels": True}
    same = {"horizontal_flip": flip, "options": options}
    native.train(straight, steps=20, **same)
    native.train(resumed, steps=10, **same)
    native.train(resumed, steps=20, resume=True, **same)
    assert straight.read_bytes() == resumed.read_bytes()
    assert state_path(straight).read_bytes() == state_path(resumed).read_bytes()
    assert load_checkpoint(straight)[0].training.horizontal_flip is flip


def test_another_autoencoder_is_another_training(native, autoencoder_file, tmp_path):
    native.train(tmp_path / "m.pt", options={"autoencoder": str(autoencoder_file)})
    native.train_autoencoder(tmp_path / "other.pt", seed=5)
    for other in (str(tmp_path / "other.pt"), ""):
        with pytest.raises(ConfigError, match="autoencoder: '"):
            native.train(tmp_path / "m.pt", resume=True, steps=12, options={"autoencoder": other})
    with pytest.raises(ConfigError, match="autoencoder weights: 'float32' then, 'float16' now"):
        native.train(
            tmp_path / "m.pt",
            resume=True,
            steps=12,
            options={"autoencoder": str(autoencoder_file), "weights": "float16"},
        )


def test_an_autoencoders_state_is_no_start_for_a_model(native, tmp_path):
    native.train_autoencoder(tmp_path / "m.pt")
    with pytest.raises(ConfigError, match="trainer: 'autoencoder' then, 'not set' now"):
        native.train(tmp_path / "m.pt", resume=True)


def test_the_checkpoint_is_whole(native, autoencoder_file, latent_file, tmp_path):
    checkpoint, sha256 = load_checkpoint(latent_file)
    stored = load_autoencoder(autoencoder_file)
    inner = checkpoint.latent.autoencoder
    assert inner.sha256 == stored.sha256 == checkpoint.settings["autoencoder"]
    assert asdict(inner.training) == asdict(stored.training)
    assert inner.settings == stored.settings
    assert inner.architecture == stored.architecture
    assert all(torch.equal(inner.weights[name], stored.weights[name]) for name in stored.weights)
    assert checkpoint.settings["autoencoder scale"] == checkpoint.latent.scale
    assert save_checkpoint(tmp_path / "again.pt", checkpoint) == sha256
    document = torch.load(latent_file, weights_only=True)
    assert document["version"] == 2


def test_pixel_models_are_written_and_read_as_before(checkpoint_file):
    document = torch.load(checkpoint_file, weights_only=True)
    assert document["version"] == 1
    assert not {"autoencoder", "scale"} & document.keys()
    assert load_checkpoint(checkpoint_file)[0].latent is None
    assert load_model(checkpoint_file, "cpu").white_box().autoencoder is None


def test_identity_says_what_it_is(model, conditional_file):
    architecture = model.identity.architecture
    scale = model.white_box().autoencoder.scale
    assert architecture.startswith("latent diffusion: U-Net, ")
    assert f"; autoencoder 0.03 M, 1x8x8 -> 3x4x4, scale {scale:.3g}" in architecture
    assert "other images" not in architecture
    assert model.identity.classes == 0
    assert model.image_shape == (1, 8, 8)
    assert load_model(conditional_file, "cpu").identity.classes == 3


def test_an_autoencoder_of_other_images_is_said(native, tmp_path):
    native.train_autoencoder(tmp_path / "ae.pt", data=native.image_set(seed=9))
    result = native.train(tmp_path / "m.pt", options={"autoencoder": str(tmp_path / "ae.pt")})
    assert "trained on other images" in result.identity.architecture


@pytest.mark.parametrize(
    "settings", [SamplingSettings("ddim", 10), SamplingSettings("ddpm", 5), SamplingSettings("heun", 5)]
)
def test_a_sample_does_not_depend_on_its_batch(model, settings):
    whole = drawn(model, range(70), 70, settings)
    assert whole.shape == (70, 1, 8, 8)
    assert whole.abs().max() <= 1.0
    for batch in (3, 16):
        assert (drawn(model, range(70), batch, settings) - whole).abs().max() < BATCH_TOLERANCE


def test_an_autoencoder_that_learned_the_holdout_is_refused(native, tmp_path):
    native.train_autoencoder(tmp_path / "ae.pt", data=native.image_set(seed=1), holdout=None, holdout_ref="")
    with pytest.raises(DataError, match="nothing would be held out"):
        native.train(tmp_path / "m.pt", options={"autoencoder": str(tmp_path / "ae.pt")})


def test_sixteen_bit_images_train_both_stages(native, tmp_path):
    eight = native.image_set()
    sixteen = replace(eight, pixels=eight.pixels.astype(np.uint16) * 257)
    same = {"data": sixteen, "holdout": None, "holdout_ref": ""}
    native.train_autoencoder(tmp_path / "ae.pt", **same)
    native.train(tmp_path / "m.pt", options={"autoencoder": str(tmp_path / "ae.pt")}, **same)
    native.train_autoencoder(tmp_path / "ae8.pt", holdout=None, holdout_ref="")
    found, expected = (load_autoencoder(tmp_path / name) for name in ("ae.pt", "ae8.pt"))
    assert all(torch.allclose(found.weights[name], expected.weights[name], atol=1e-5) for name in expected.weights)


def test_samples_look_like_the_training_images(model, native):
    real, made = to_float(native.image_set().pixels), drawn(model, range(64), 64)
    assert made.mean().item() == pytest.approx(real.mean().item(), abs=0.15)
    assert made.flatten(1).std(dim=0).mean() > 0.5 * real.flatten(1).std(dim=0).mean()


def test_labels_and_guidance_work_on_latents(native, autoencoder_file, tmp_path):
    options = {"autoencoder": str(autoencoder_file), "labels": True}
    native.train(tmp_path / "m.pt", steps=40, options=options)
    model = load_model(tmp_path / "m.pt", "cpu")
    assert model.identity.classes == 3
    one, two = (drawn(model, range(4), 4, label=label) for label in (1, 2))
    assert (one - two).abs().max() > 1e-3
    assert (drawn(model, range(4), 4, SamplingSettings(guidance=3.0), label=1) - one).abs().max() > 1e-3


def test_the_white_box_works_on_latents(model, native):
    parts = model.white_box()
    assert parts.state_shape == (3, 4, 4)
    images = to_float(native.image_set(seed=2).pixels)
    states = parts.to_states(images)
    assert torch.equal(states, parts.autoencoder.encode(images))
    assert states.std().item() == pytest.approx(1.0, abs=0.15)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(states.shape, generator=generator)
    t = torch.randint(parts.schedule.steps, (len(states),), generator=generator)
    found = predict(parts.denoiser, parts.schedule, "epsilon", add_noise(parts.schedule, states, noise, t), t)
    assert torch.mean((found - noise) ** 2) < 0.8


def test_samplers_that_clip_to_the_range_of_pixels_are_refused(model, native, autoencoder_file, tmp_path):
    with pytest.raises(ConfigError, match=r"works on latents.*Use 'ddim'"):
        model.resolve(SamplingSettings("ddim-clipped", 10))
    options = {"autoencoder": str(autoencoder_file), "sampler": "dpm-solver++-clipped"}
    with pytest.raises(ConfigError, match=r"works on latents.*Use 'dpm-solver\+\+'"):
        native.train(tmp_path / "m.pt", options=options)
    assert list(tmp_path.iterdir()) == []


def test_half_precision_covers_the_autoencoder(native, autoencoder_file, latent_file, tmp_path):
    options = {"autoencoder": str(autoencoder_file), "weights": "float16", "prediction": "v"}
    native.train(tmp_path / "half.pt", options=options)
    checkpoint, _ = load_checkpoint(tmp_path / "half.pt")
    assert {t.dtype for t in checkpoint.latent.autoencoder.weights.values()} == {torch.float16}
    assert (tmp_path / "half.pt").stat().st_size < 0.75 * latent_file.stat().st_size
    model = load_model(tmp_path / "half.pt", "cpu")
    assert "rounded to float16" in model.identity.architecture
    # The latents it learned from are those of the rounded weights that ship.
    images = to_float(native.image_set().pixels)
    assert model.white_box().to_states(images).std().item() == pytest.approx(1.0, abs=0.05)


def test_safetensors_hold_the_same_model(native, tmp_path):
    models = []
    for suffix in ("pt", "safetensors"):
        native.train_autoencoder(tmp_path / f"ae.{suffix}")
        native.train(tmp_path / f"m.{suffix}", resume=False, options={"autoencoder": str(tmp_path / f"ae.{suffix}")})
        models.append(load_model(tmp_path / f"m.{suffix}", "cpu"))
    assert (tmp_path / "m.state.pt").exists()
    archive, tensors = (drawn(model, range(3), 3, SamplingSettings("ddim", 5)) for model in models)
    assert torch.equal(archive, tensors)
    assert len({model.white_box().autoencoder.scale for model in models}) == 1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"scale": math.nan}, "scale nan"),
        ({"scale": 0.0}, "scale 0"),
        ({"scale": "large"}, "entries are wrong"),
        ({"autoencoder": None}, "entries are wrong"),
        ({"image_shape": [1, 9, 8]}, r"\(1, 8, 8\) for images of \(1, 9, 8\)"),
        ({"version": 1}, "1 channels for a network of 3"),
    ],
    ids=str,
)
def test_damaged_checkpoints_are_refused(latent_file, tmp_path, changes, match):
    torch.save(torch.load(latent_file, weights_only=True) | changes, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=match):
        load_model(tmp_path / "m.pt", "cpu")


def test_a_broken_autoencoder_inside_a_checkpoint_is_refused(latent_file, tmp_path):
    document = torch.load(latent_file, weights_only=True)
    weights = document["autoencoder"]["weights"]
    weights["decoder.out.bias"] = torch.full_like(weights["decoder.out.bias"], float("nan"))
    torch.save(document, tmp_path / "nan.pt")
    with pytest.raises(ModelError, match=r"NaN.*decoder.out.bias"):
        load_model(tmp_path / "nan.pt", "cpu")
    del weights["decoder.out.bias"]
    torch.save(document, tmp_path / "short.pt")
    with pytest.raises(ModelError, match="missing 1"):
        load_model(tmp_path / "short.pt", "cpu")
