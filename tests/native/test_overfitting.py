"""What docs/checks/privacy-membership-loss.md shows, in small: longer training on fewer images leaks more."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from ldm_eval_native.backend import load_model
from ldm_eval_privacy.denoising_loss import score

from ldm_eval.diffusion.likelihood import variational_bound
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.quantise import to_float
from ldm_eval.diffusion.randomness import sample_seed
from ldm_eval.stats.roc import auc_interval
from ldm_eval.testing.evidence import image_set

JUDGED = 256  # held-out digits


def digits():
    datasets = pytest.importorskip("sklearn.datasets")
    pixels = np.rint(datasets.load_digits().images * 255 / 16).astype(np.uint8)[:, None]
    return pixels[np.random.default_rng(0).permutation(len(pixels))]


@dataclass
class Look:
    """What is seen of one trained network; bounds in bits per dimension, one an image."""

    training_bound: np.ndarray
    holdout_bound: np.ndarray
    attack: object


def look(parts, training, holdout):
    def bound(pixels):
        noise = SampleNoise([sample_seed(1, i) for i in range(len(pixels))])
        with torch.inference_mode():
            return variational_bound(parts.denoiser, parts.schedule, to_float(pixels), noise).total.numpy()

    def loss(pixels):  # at one noise level, fixed beforehand
        return score(parts, to_float(pixels), 0, {"noises": 8, "levels": "0.1"})[:, 0].astype(float)

    return Look(bound(training), bound(holdout), auc_interval(-loss(training), -loss(holdout)))


def trained(native, folder, images, steps):
    pixels = digits()
    path = folder / f"{images}-{steps}.pt"
    native.train(
        path,
        data=image_set(pixels[:images], "digits", "train"),
        holdout=None,
        holdout_ref="",
        steps=steps,
        batch_size=32,
        learning_rate=4e-3,
        options={"channels": 16, "timesteps": 100, "ema_decay": 0.99, "warmup": 50, "save_every": 10**6},
    )
    return look(load_model(path, "cpu").white_box(), pixels[:images][:JUDGED], pixels[-JUDGED:])


def difference(first, second):
    """Mean of the paired differences and half its 95 % interval."""
    values = first - second
    return values.mean(), 1.96 * values.std(ddof=1) / math.sqrt(len(values))


@pytest.mark.slow
def test_longer_training_on_fewer_images_leaks_more_and_its_bound_on_held_out_data_says_so(native, tmp_path):
    long_on_few = trained(native, tmp_path, images=48, steps=800)
    short_on_many = trained(native, tmp_path, images=768, steps=250)

    assert long_on_few.attack.interval.low > 0.9
    assert long_on_few.attack.interval.low > short_on_many.attack.interval.high
    assert short_on_many.attack.interval.low < 0.55

    worse, half = difference(long_on_few.holdout_bound, short_on_many.holdout_bound)  # the same images and noises
    assert worse > half > 0
    few, many = long_on_few.training_bound, short_on_many.training_bound
    error = 1.96 * math.hypot(few.std(ddof=1) / math.sqrt(len(few)), many.std(ddof=1) / math.sqrt(len(many)))
    assert many.mean() - few.mean() > error
    gaps = [each.holdout_bound.mean() - each.training_bound.mean() for each in (long_on_few, short_on_many)]
    assert gaps[0] > 1.0 > 10 * abs(gaps[1])
