"""Finished images as a model."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ldm_eval_images.backend import ImagesBackend
from ldm_eval_images.folder import read_folder
from ldm_eval_images.sources import read_images
from PIL import Image

from ldm_eval.api import Backend, LoadedModel, ModelRef, SampleRequest, SamplingSettings
from ldm_eval.diffusion.quantise import to_uint8
from ldm_eval.errors import ConfigError, ModelError


def _requests(ids: list[int]) -> list[SampleRequest]:
    return [SampleRequest(i, seed=123 + i, settings=SamplingSettings()) for i in ids]


def _load(path: Path) -> LoadedModel:
    backend: Backend = ImagesBackend()
    return backend.load(ModelRef(str(path)), "cpu")


def test_sample_i_is_image_i_whatever_the_batch(folder: Path) -> None:
    model, images = _load(folder), read_folder(folder)
    assert (model.capacity, model.image_shape) == (12, (3, 9, 7))
    whole = model.generate(_requests(list(range(12)))).pixels
    assert whole.dtype == torch.float32
    np.testing.assert_array_equal(torch.round((whole + 1) * 127.5).to(torch.uint8).numpy(), images.pixels)
    some = model.generate(_requests([7, 2, 7])).pixels
    assert torch.equal(some, whole[[7, 2, 7]])


def test_all_256_levels_survive_the_way_to_floats_and_back(tmp_path: Path) -> None:
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "levels.png")
    pixels = _load(tmp_path).generate(_requests([0])).pixels
    assert pixels.min() == -1.0
    assert pixels.max() == 1.0
    for back in (torch.round((pixels + 1) * 127.5), torch.round(pixels * 127.5 + 127.5)):
        assert back.flatten().tolist() == list(range(256))


def test_sixteen_bits_become_the_eight_that_data_of_sixteen_bits_become(tmp_path: Path) -> None:
    np.savez(tmp_path / "deep.npz", np.arange(65536, dtype=np.uint16).reshape(1, 256, 256))
    model = _load(tmp_path / "deep.npz")
    stored = to_uint8(model.generate(_requests([0])).pixels)
    np.testing.assert_array_equal(stored.numpy(), read_images(tmp_path / "deep.npz").eight_bit().pixels)
    assert "16 bits" in model.identity.architecture


def test_identity_is_the_digest_of_the_pixels(folder: Path, tmp_path: Path) -> None:
    images = read_folder(folder)
    np.savez(tmp_path / "finished.npz", images.pixels.transpose(0, 2, 3, 1))
    one, other = _load(folder).identity, _load(tmp_path / "finished.npz").identity
    assert one.sha256 == other.sha256 == images.digest
    assert (one.name, other.name, one.backend) == ("pictures", "finished", "images")


def test_nothing_can_be_chosen_about_finished_images(folder: Path) -> None:
    model = _load(folder)
    resolved = model.resolve(SamplingSettings())
    assert resolved == SamplingSettings(sampler="finished-images", steps=0, guidance=1.0)
    assert model.resolve(resolved) == resolved
    assert model.network_calls(resolved) == 0
    assert model.white_box() is None
    for asked in ({"sampler": "ddim"}, {"steps": 10}, {"guidance": 3.0}, {"eta": 1.0}):
        with pytest.raises(ConfigError, match=next(iter(asked))):
            model.resolve(SamplingSettings(**asked))  # type: ignore[arg-type]


def test_a_sample_beyond_the_last_image_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="holds 12 images"):
        _load(folder).generate(_requests([11, 12]))


def test_what_is_recognised_and_what_is_left_to_others(folder: Path, tmp_path: Path) -> None:
    backend = ImagesBackend()

    def sure(path: Path | str) -> float:
        return backend.recognises(ModelRef(str(path)))

    np.savez(tmp_path / "a.npz", np.zeros((2, 8, 8), np.uint8))
    with zipfile.ZipFile(tmp_path / "nosuffix", "w") as archive:
        archive.write(folder / "01.png", "01.png")
    assert min(sure(folder), sure(tmp_path / "a.npz"), sure(tmp_path / "nosuffix")) >= 0.9

    torch.save({"w": torch.zeros(3)}, tmp_path / "net.pt")
    torch.save({"w": torch.zeros(3)}, tmp_path / "renamed.dat")
    (tmp_path / "text.txt").write_text("hello")
    for other in (tmp_path / "net.pt", tmp_path / "renamed.dat", tmp_path / "text.txt", "demo", tmp_path / "nowhere"):
        assert sure(other) == 0.0

    (folder / "model_index.json").write_text("{}")
    assert sure(folder) <= 0.2


def test_what_is_ours_by_name_gets_our_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "cut.zip").write_bytes(b"")
    for name, words in (("empty", "no pictures"), ("cut.npz", "not a whole npz"), ("cut.zip", "not a whole zip")):
        assert 0 < ImagesBackend().recognises(ModelRef(str(tmp_path / name))) < 0.5
        with pytest.raises(ModelError, match=words):
            _load(tmp_path / name)
