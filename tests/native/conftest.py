"""Tiny models trained once for all tests of the native backend."""

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ldm_eval_native.autoencoder_trainer import AutoencoderTrainer
from ldm_eval_native.trainer import NativeTrainer

from ldm_eval.api import ImageSet, TrainRequest

TINY = {
    "channels": 8,
    "multipliers": "1,2",
    "blocks": 1,
    "timesteps": 200,
    "sampling_steps": 20,
    "warmup": 5,
    "curves": False,
}

TINY_AUTOENCODER = {
    "channels": 8,
    "multipliers": "1,2",
    "latent_channels": 3,
    "downsampling": 2,
    "warmup": 5,
    "curves": False,
}


def image_set(n=64, side=8, channels=1, seed=0, labels=True):
    """Bright squares on black: something a tiny net learns at once."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((n, channels, side, side), np.uint8)
    where = rng.integers(0, side - 3, (n, 2))
    for image, (row, column) in zip(pixels, where, strict=True):
        image[:, row : row + 3, column : column + 3] = 255
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    classes = (where[:, 0] % 3).astype(np.int64) if labels else None
    return ImageSet("squares", "train", pixels, tuple(map(str, range(n))), digest, labels=classes)


def training_request(output: Path, tiny=TINY, **changes) -> TrainRequest:
    options = {**tiny, **changes.pop("options", {})}
    request = TrainRequest(
        data=image_set(),
        data_ref="squares",
        holdout=image_set(seed=1),
        holdout_ref="squares:holdout",
        output=output,
        steps=6,
        batch_size=16,
        learning_rate=2e-3,
        seed=0,
        device="cpu",
        resume=False,
        options=options,
    )
    return replace(request, **changes)


def train(output: Path, report=lambda progress: None, **changes):
    return NativeTrainer().train(training_request(output, **changes), report)


def train_autoencoder(output: Path, report=lambda progress: None, **changes):
    return AutoencoderTrainer().train(training_request(output, TINY_AUTOENCODER, **changes), report)


@pytest.fixture(scope="session")
def checkpoint_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("native") / "tiny.pt"
    train(path, steps=300)
    return path


@pytest.fixture(scope="session")
def conditional_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("native") / "labelled.pt"
    train(path, steps=200, options={"labels": True})
    return path


@pytest.fixture(scope="session")
def autoencoder_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("native") / "ae.pt"
    train_autoencoder(path, steps=150)
    return path


@pytest.fixture(scope="session")
def latent_file(autoencoder_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("native") / "latent.pt"
    train(path, steps=200, options={"autoencoder": str(autoencoder_file), "prediction": "v"})
    return path


@pytest.fixture(scope="session")
def native():
    """The helpers above, for tests that train or build sets themselves."""
    return SimpleNamespace(
        train=train, train_autoencoder=train_autoencoder, request=training_request, image_set=image_set
    )


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Nets this small gain nothing from threads and suffer when the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
