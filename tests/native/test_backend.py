import pytest
import torch
from ldm_eval_native.backend import NativeBackend, load_model

from ldm_eval.api import DiffusionParts, ModelRef, SampleRequest, SamplingSettings
from ldm_eval.diffusion.parameterisation import add_noise, predict
from ldm_eval.diffusion.quantise import to_float, to_uint8
from ldm_eval.diffusion.randomness import sample_seed
from ldm_eval.errors import ConfigError

# Largest difference of a float32 pixel in [-1, 1] between batch sizes 1, 7 and 64: convolutions sum in another order.
BATCH_TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def model(checkpoint_file):
    return load_model(checkpoint_file, "cpu")


DEFAULTS = SamplingSettings()


def requests(ids, settings=DEFAULTS, **more):
    return [SampleRequest(i, sample_seed(0, i), settings, **more) for i in ids]


def drawn(model, ids, batch, settings=DEFAULTS):
    ids = list(ids)
    parts = [model.generate(requests(ids[i : i + batch], settings)).pixels for i in range(0, len(ids), batch)]
    return torch.cat(parts)


@pytest.mark.parametrize(
    "settings",
    [
        SamplingSettings(),
        SamplingSettings("ddpm", 20),
        SamplingSettings("ddim", 5, eta=0.5),
        SamplingSettings("dpm-solver++-karras-clipped", 10),
        SamplingSettings("heun-clipped", 5),
    ],
)
def test_batch_sizes_1_7_and_64_agree(model, settings):
    whole = drawn(model, range(64), 64, settings)
    for batch in (1, 7):
        assert (drawn(model, range(64), batch, settings) - whole).abs().max() < BATCH_TOLERANCE


def test_the_same_ids_in_two_runs_give_the_same_bytes(checkpoint_file):
    first, second = (to_uint8(drawn(load_model(checkpoint_file, "cpu"), range(20), 10)) for _ in range(2))
    assert first.numpy().tobytes() == second.numpy().tobytes()


def test_what_ran_before_does_not_matter(model):
    alone = drawn(model, [5, 6, 7], 3)
    torch.rand(1000)
    drawn(model, range(3), 3)
    assert torch.equal(drawn(model, [5, 6, 7], 3), alone)


def test_different_ids_and_seeds_give_different_images(model):
    images = drawn(model, range(8), 8).flatten(1)
    assert torch.cdist(images, images).add(torch.eye(8) * 9).min() > 0.1
    other = model.generate([SampleRequest(0, sample_seed(1, 0), SamplingSettings())]).pixels
    assert (other.flatten() - images[0]).abs().max() > 0.1


def test_order_and_mixed_settings_are_respected(model):
    short, long = SamplingSettings("ddim", 3), SamplingSettings("ddim", 10)
    mixed = [SampleRequest(i, sample_seed(0, i), short if i % 2 else long) for i in range(6)]
    together = model.generate(mixed).pixels
    alone = torch.cat([model.generate([request]).pixels for request in mixed])
    assert (together - alone).abs().max() < BATCH_TOLERANCE


def test_shape_type_and_defaults(model):
    images = model.generate(requests(range(3))).pixels
    assert images.shape == (3, *model.image_shape) == (3, 1, 8, 8)
    assert images.dtype == torch.float32
    assert model.capacity is None
    resolved = model.resolve(SamplingSettings())
    assert resolved == SamplingSettings("ddim", 20)
    assert model.resolve(resolved) == resolved
    assert model.network_calls(resolved) == 20
    assert torch.equal(images, model.generate(requests(range(3), resolved)).pixels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SamplingSettings("dimm"), "Did you mean"),
        (SamplingSettings("ddim", 201), "200 timesteps"),
        (SamplingSettings("ddim", -1), "at least one"),
        (SamplingSettings("ddpm", 10, eta=0.3), "belongs to DDIM"),
        (SamplingSettings(guidance=2.0), "unconditional"),
    ],
)
def test_settings_the_model_cannot_follow_are_refused(model, settings, message):
    with pytest.raises(ConfigError, match=message):
        model.resolve(settings)


def test_network_calls_are_those_of_the_sampler(model):
    assert model.network_calls(SamplingSettings("heun", 20)) == 39
    assert model.network_calls(SamplingSettings("dpm-solver++", 20)) == 20


def test_a_label_for_an_unconditional_model_is_refused(model):
    with pytest.raises(ConfigError, match="unconditional"):
        model.generate(requests([0], label=1))


def test_labels_and_guidance_steer_a_conditional_model(conditional_file):
    model = load_model(conditional_file, "cpu")
    free, one, two = (model.generate(requests(range(4), label=label)).pixels for label in (None, 1, 2))
    assert (one - two).abs().max() > 1e-3
    guided = SamplingSettings(guidance=3.0)
    assert model.network_calls(model.resolve(guided)) == 40
    strong = model.generate(requests(range(4), guided, label=1)).pixels
    assert (strong - one).abs().max() > 1e-3
    unit = model.generate(requests(range(4), SamplingSettings(guidance=1.0), label=1)).pixels
    assert torch.equal(unit, one)
    mixed = [*requests([0], label=1), *requests([1]), *requests([2], label=2)]
    assert (model.generate(mixed).pixels - torch.stack([one[0], free[1], two[2]])).abs().max() < BATCH_TOLERANCE
    with pytest.raises(ConfigError, match=r"0 \.\. 2"):
        model.generate(requests([0], label=3))


def test_the_white_box_predicts_noise_better_than_nothing(model, native):
    parts: DiffusionParts = model.white_box()
    assert parts.image_shape == (1, 8, 8)
    x0 = to_float(native.image_set(seed=2).pixels)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(x0.shape, generator=generator)
    t = torch.randint(parts.schedule.steps, (len(x0),), generator=generator)
    x_t = add_noise(parts.schedule, x0, noise, t)
    found = predict(parts.denoiser, parts.schedule, "epsilon", x_t, t)
    assert torch.mean((found - noise) ** 2) < 0.8
    assert not found.requires_grad


def test_identity_names_weights_and_training(model, checkpoint_file):
    import hashlib

    identity = model.identity
    assert identity.sha256 == hashlib.sha256(checkpoint_file.read_bytes()).hexdigest()
    assert (identity.name, identity.backend, identity.weights) == ("tiny", "native", "ema")
    assert identity.training.data_size == 64
    assert "U-Net" in identity.architecture


@pytest.mark.parametrize(
    ("device", "message"), [("cuda:99", "CUDA devices"), ("toaster", "no device"), ("meta", "not supported")]
)
def test_devices_that_are_not_there_are_refused(checkpoint_file, device, message):
    with pytest.raises(ConfigError, match=message):
        NativeBackend().load(ModelRef(str(checkpoint_file)), device)
