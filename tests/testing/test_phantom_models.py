"""Phantoms as models: their references, their laws through the real samplers, their copies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from ldm_eval.api import LoadedModel, ModelRef, SampleRequest, SamplingSettings
from ldm_eval.diffusion.quantise import to_float, to_uint8
from ldm_eval.diffusion.randomness import sample_seed
from ldm_eval.diffusion.schedules import make_schedule
from ldm_eval.errors import ConfigError, ModelError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.testing.limits import Moments, sampled_moments
from ldm_eval.testing.phantom_models import CopierPhantom, PhantomBackend
from ldm_eval.testing.transforms import DISGUISES


def _load(text: str) -> LoadedModel:
    return PhantomBackend().load(ModelRef(text), "cpu")


def _requests(n: int, settings: SamplingSettings, seed: int = 0) -> list[SampleRequest]:
    return [SampleRequest(i, sample_seed(seed, i), settings) for i in range(n)]


def _sample(model: LoadedModel, n: int, settings: SamplingSettings | None = None, seed: int = 0) -> torch.Tensor:
    resolved = model.resolve(settings or SamplingSettings())
    return model.generate(_requests(n, resolved, seed)).pixels


def _digits(path: Path, n: int, seed: int) -> NDArray[np.uint8]:
    """``(n, 1, 8, 8)`` images of uniform noise, written as npz in the file format's own layout."""
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)
    np.savez(path, pixels)
    return pixels.transpose(0, 3, 1, 2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    _digits(tmp_path / "train.npz", 60, seed=1)
    _digits(tmp_path / "other.npz", 500, seed=2)
    return tmp_path


@pytest.mark.parametrize(
    "settings",
    [
        SamplingSettings("ddim", 10),
        SamplingSettings("ddim", 50, eta=0.5),
        SamplingSettings("ddpm", 10),
        SamplingSettings("ddpm", 100),
        SamplingSettings("ddpm-beta", 25),
        SamplingSettings("dpm-solver++-karras", 10),
        SamplingSettings("heun-karras", 10),
    ],
    ids=lambda settings: f"{settings.sampler}-{settings.steps}-{settings.eta}",
)
def test_sampled_gaussian_has_the_mean_and_variance_of_the_closed_form(settings: SamplingSettings) -> None:
    model = _load("phantom:gaussian?shape=1x8x8&mean=0.3&std=0.5")
    pixels = _sample(model, 400, settings).double().flatten()
    wanted = sampled_moments(Moments(0.3, 0.25), make_schedule("linear", 1000), settings)
    n = len(pixels)  # pixels are independent, so the standard errors are those of n draws from a Gaussian
    assert abs(float(pixels.mean()) - wanted.mean) < 4 * (wanted.variance / n) ** 0.5
    assert abs(float(pixels.var()) / wanted.variance - 1) < 4 * (2 / n) ** 0.5


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_a_phantom_that_starts_from_pure_noise_has_the_law_of_the_closed_form(prediction: str) -> None:
    settings = SamplingSettings("ddpm", 20)
    model = _load(f"phantom:gaussian?shape=1x8x8&mean=0.3&std=0.5&schedule=zero-terminal-snr&prediction={prediction}")
    parts = model.white_box()
    assert parts is not None
    assert parts.denoiser.prediction == prediction
    pixels = _sample(model, 400, settings).double().flatten()
    wanted = sampled_moments(Moments(0.3, 0.25), make_schedule("zero-terminal-snr", 1000), settings)
    assert abs(float(pixels.mean()) - wanted.mean) < 4 * (wanted.variance / len(pixels)) ** 0.5
    assert abs(float(pixels.var()) / wanted.variance - 1) < 4 * (2 / len(pixels)) ** 0.5


@pytest.mark.parametrize("kind", ["gaussian?", "mixture?", "memoriser?data={data}&"])
def test_what_a_phantom_predicts_does_not_change_its_images(data: Path, kind: str) -> None:
    images = {
        prediction: _sample(
            _load("phantom:" + kind.format(data=data / "train.npz") + f"prediction={prediction}"),
            8,
            SamplingSettings("ddim", 20),
        )
        for prediction in ("epsilon", "x0", "v")
    }
    for other in ("x0", "v"):
        torch.testing.assert_close(images[other], images["epsilon"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "ddpm-beta"])
def test_more_steps_bring_the_sampler_nearer_to_the_data(sampler: str) -> None:
    data, schedule = Moments(0.3, 0.25), make_schedule("linear", 1000)
    errors = [
        abs(sampled_moments(data, schedule, SamplingSettings(sampler, steps)).variance / data.variance - 1)
        for steps in (10, 100, 1000)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02  # ancestral sampling with the posterior variance is the slowest: 1.5 % too narrow at T
    assert sampled_moments(data, schedule, SamplingSettings(sampler, 1000)).mean == pytest.approx(0.3, abs=2e-3)


def test_ddim_with_eta_one_is_ddpm() -> None:
    data, schedule = Moments(-0.2, 0.1), make_schedule("linear", 1000)
    ddim = sampled_moments(data, schedule, SamplingSettings("ddim", 20, eta=1.0))
    ddpm = sampled_moments(data, schedule, SamplingSettings("ddpm", 20))
    assert ddim.mean == pytest.approx(ddpm.mean, rel=1e-12)
    assert ddim.variance == pytest.approx(ddpm.variance, rel=1e-12)


def test_clipped_samplers_have_no_closed_form() -> None:
    with pytest.raises(ConfigError, match="No closed form"):
        sampled_moments(Moments(0, 1), make_schedule("linear", 1000), SamplingSettings("ddpm-clipped", 10))


def test_frechet_distance_of_the_gaussian_phantom_is_the_closed_form() -> None:
    """Two sampled phantoms lie at D((m1 - m2)^2 + (s1 - s2)^2), which their sample statistics reproduce."""
    settings = SamplingSettings("ddim", 20)
    schedule = make_schedule("linear", 1000)
    first = sampled_moments(Moments(0.0, 0.04), schedule, settings)
    second = sampled_moments(Moments(0.2, 0.16), schedule, settings)
    truth = 4 * ((first.mean - second.mean) ** 2 + (first.variance**0.5 - second.variance**0.5) ** 2)
    samples = [
        _sample(_load(f"phantom:gaussian?shape=1x2x2&{law}"), 4000, settings, seed).double().flatten(1).numpy()
        for seed, law in enumerate(("mean=0&std=0.2", "mean=0.2&std=0.4"))
    ]
    assert _frechet(*samples) == pytest.approx(truth, rel=0.05)
    assert _frechet(samples[0], samples[0]) == pytest.approx(0.0, abs=1e-9)


def _frechet(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    s, t = np.cov(x.T), np.cov(y.T)
    values, basis = np.linalg.eigh(s)
    root = (basis * np.sqrt(values)) @ basis.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ t @ root).clip(0)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * cross)


def test_mixture_samples_fall_into_its_modes() -> None:
    pixels = _sample(_load("phantom:mixture?shape=1x2x2&centres=-0.6,0.6&std=0.05"), 300, SamplingSettings("ddim", 30))
    centres = pixels.mean(dim=(1, 2, 3))
    assert float((centres.abs() - 0.6).abs().max()) < 0.15
    right = int((centres > 0).sum())
    assert 0.001 < binom.cdf(right, 300, 0.5) < 0.999


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_memoriser_gives_training_images_back(data: Path, sampler: str) -> None:
    training = np.load(data / "train.npz")["arr_0"].transpose(0, 3, 1, 2)
    model = _load(f"phantom:memoriser?data={data / 'train.npz'}")
    samples = to_uint8(_sample(model, 40, SamplingSettings(sampler, 50))).numpy()
    distances = np.abs(samples[:, None].astype(int) - training[None]).max(axis=(2, 3, 4)).min(axis=1)
    assert (distances <= 1).mean() == 1.0
    assert len(np.unique(samples.reshape(40, -1), axis=0)) > 20
    record = model.identity.training
    assert record is not None
    assert record.data_size == 60


@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
def test_copier_copies_at_its_rate_and_else_gives_other_images(data: Path, rate: float) -> None:
    training = {image.tobytes() for image in np.load(data / "train.npz")["arr_0"]}
    other = {image.tobytes() for image in np.load(data / "other.npz")["arr_0"]}
    model = _load(f"phantom:copier?data={data / 'train.npz'}&other={data / 'other.npz'}&rate={rate}")
    samples = [image.tobytes() for image in to_uint8(_sample(model, 400)).numpy()]
    copies = sum(image in training for image in samples)
    assert copies + sum(image in other for image in samples) == 400
    assert 0.0005 < binom.cdf(copies, 400, rate) <= 1.0
    assert binom.sf(copies - 1, 400, rate) > 0.0005


def test_copier_without_other_images_draws_from_a_gaussian(data: Path) -> None:
    training = {image.tobytes() for image in np.load(data / "train.npz")["arr_0"]}
    samples = to_uint8(_sample(_load(f"phantom:copier?data={data / 'train.npz'}&rate=0"), 50)).numpy()
    assert not any(image.tobytes() in training for image in samples)
    assert len(np.unique(samples.reshape(50, -1), axis=0)) == 50


@pytest.mark.parametrize("disguise", sorted(DISGUISES))
def test_copier_disguises_its_copies(data: Path, disguise: str) -> None:
    model = _load(f"phantom:copier?data={data / 'train.npz'}&rate=1&disguise={disguise}")
    assert isinstance(model, CopierPhantom)
    requests = _requests(5, model.resolve(SamplingSettings()))
    rows = [model.copied_row(request) for request in requests]
    training = np.load(data / "train.npz")["arr_0"].transpose(0, 3, 1, 2)
    wanted = DISGUISES[disguise](training[rows])
    np.testing.assert_array_equal(to_uint8(model.generate(requests).pixels).numpy(), wanted)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_batch_size_does_not_change_images(data: Path, size: int) -> None:
    for text in ("phantom:gaussian", f"phantom:copier?data={data / 'train.npz'}&rate=0.5"):
        model = _load(text)
        requests = _requests(64, model.resolve(SamplingSettings()))
        parts = [model.generate(requests[i : i + size]).pixels for i in range(0, 64, size)]
        torch.testing.assert_close(torch.cat(parts), model.generate(requests).pixels, rtol=0, atol=1e-6)


def test_requests_of_different_settings_may_be_mixed() -> None:
    model = _load("phantom:gaussian")
    short, long = SamplingSettings("ddim", 5), SamplingSettings("ddim", 20)
    mixed = [SampleRequest(i, sample_seed(0, i), settings) for i, settings in enumerate((short, long, long, short))]
    alone = torch.cat([model.generate([request]).pixels for request in mixed])
    torch.testing.assert_close(model.generate(mixed).pixels, alone, rtol=0, atol=1e-6)


def test_the_same_reference_in_another_process_is_the_same_model(data: Path) -> None:
    text = f"phantom:memoriser?data={data / 'train.npz'}"
    program = (
        "from ldm_eval.api import ModelRef, SampleRequest, SamplingSettings\n"
        "from ldm_eval.testing.phantom_models import PhantomBackend\n"
        f"model = PhantomBackend().load(ModelRef({text!r}), 'cpu')\n"
        "settings = model.resolve(SamplingSettings(steps=10))\n"
        "images = model.generate([SampleRequest(0, 7, settings)]).pixels\n"
        "print(model.identity.sha256, images.numpy().tobytes().hex())\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    model = _load(text)
    images = model.generate([SampleRequest(0, 7, model.resolve(SamplingSettings(steps=10)))]).pixels
    assert found == [model.identity.sha256, images.numpy().tobytes().hex()]


def test_identity_follows_the_parameters_and_the_data_not_the_path(data: Path) -> None:
    copy = data / "moved.npz"
    copy.write_bytes((data / "train.npz").read_bytes())
    first = _load(f"phantom:copier?data={data / 'train.npz'}&rate=0.1").identity
    assert first.sha256 == _load(f"phantom:copier?rate=0.1&data={copy}").identity.sha256
    assert first.sha256 != _load(f"phantom:copier?rate=0.2&data={copy}").identity.sha256
    assert first.sha256 != _load(f"phantom:copier?rate=0.1&data={data / 'other.npz'}").identity.sha256


def test_white_box_denoises_what_it_was_told(data: Path) -> None:
    parts = _load(f"phantom:memoriser?data={data / 'train.npz'}").white_box()
    assert parts is not None
    assert parts.image_shape == (1, 8, 8)
    training = to_float(np.load(data / "train.npz")["arr_0"].transpose(0, 3, 1, 2))
    t = torch.zeros(60, dtype=torch.int64)
    found = parts.denoiser(float(parts.schedule.alpha(t)[0]) * training, t)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-4)
    assert _load(f"phantom:copier?data={data / 'train.npz'}").white_box() is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phantom:gausian", r"no phantom 'gausian'\. Did you mean 'gaussian'\?"),
        ("phantom:gaussian?sdt=1", r"no parameter 'sdt'\. Did you mean 'std'\?"),
        ("phantom:gaussian?std=-1", "'std' must be a number from 0 to inf; found '-1'"),
        ("phantom:gaussian?std=nan", "'std' must be a number"),
        ("phantom:gaussian?mean=one", "'mean' must be a number; found 'one'"),
        ("phantom:gaussian?shape=8x8", "'shape' must be CxHxW"),
        ("phantom:gaussian?shape=1x0x8", "'shape' must be CxHxW"),
        ("phantom:gaussian?schedule=liner", "Did you mean 'linear'"),
        ("phantom:gaussian?timesteps=3", "25 or more"),
        ("phantom:gaussian?prediction=eps", "'prediction' must be one of epsilon, v, x0"),
        ("phantom:gaussian?schedule=zero-terminal-snr", "Add prediction=v or prediction=x0"),
        ("phantom:gaussian?std", "key=value"),
        ("phantom:gaussian?std=1&std=2", "each one once"),
        ("phantom:mixture?centres=1,x", "'centres' must be a number; found 'x'"),
        ("phantom:memoriser", "needs the parameter 'data'"),
        ("phantom:memoriser?data=/nowhere.npz", "No dataset is called '/nowhere.npz'"),
        ("phantom:copier?data=x&rate=2", "from 0 to 1"),
    ],
)
def test_bad_references_are_refused_with_what_to_do(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        _load(text)


def test_a_file_that_is_no_image_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK but not really")
    with pytest.raises(ModelError, match="could not read its images"):
        _load(f"phantom:memoriser?data={tmp_path / 'broken.npz'}")


def test_images_of_two_sizes_are_refused(data: Path) -> None:
    np.savez(data / "wide.npz", np.zeros((3, 8, 9, 1), dtype=np.uint8))
    with pytest.raises(ModelError, match="and 'other' of"):
        _load(f"phantom:copier?data={data / 'train.npz'}&other={data / 'wide.npz'}")


def test_settings_that_mean_nothing_are_refused(data: Path) -> None:
    gaussian, copier = _load("phantom:gaussian"), _load(f"phantom:copier?data={data / 'train.npz'}")
    with pytest.raises(ConfigError, match="guidance"):
        gaussian.resolve(SamplingSettings(guidance=2.0))
    with pytest.raises(ConfigError, match="no sampler 'ddmi'"):
        gaussian.resolve(SamplingSettings("ddmi"))
    with pytest.raises(ConfigError, match="1001 sampling steps"):
        gaussian.resolve(SamplingSettings(steps=1001))
    with pytest.raises(ConfigError, match="no sampler"):
        copier.resolve(SamplingSettings("ddim"))
    assert copier.resolve(copier.resolve(SamplingSettings())) == SamplingSettings("copier")
    assert gaussian.network_calls(gaussian.resolve(SamplingSettings())) == 50
    assert copier.network_calls(copier.resolve(SamplingSettings())) == 0


def test_the_backend_is_registered_as_a_stranger_s_would_be() -> None:
    catalogue = Catalogue.discover()
    backend = catalogue.backends["phantom"].load()
    assert backend.recognises(ModelRef("phantom:gaussian")) == 1.0
    assert backend.recognises(ModelRef("gaussian.pt")) == 0.0
    assert catalogue.owner(catalogue.backends["phantom"]).name == "phantoms"
