import os
from pathlib import Path

import pytest
import torch
from ldm_eval_native.autoencoder_file import is_autoencoder, load_autoencoder, save_autoencoder
from ldm_eval_native.backend import NativeBackend
from ldm_eval_native.checkpoint import FORMAT

from ldm_eval.api import ModelRef
from ldm_eval.errors import ConfigError, DataError, ModelError


class Payload:
    """What an attacker would pickle: unpickling it creates the file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def edited(autoencoder_file, path, **changes):
    """The good file with some entries replaced."""
    torch.save(torch.load(autoencoder_file, weights_only=True) | changes, path)
    return path


def refused(native, path, match, error=ModelError):
    """The diffusion trainer refuses it before anything is written."""
    before = sorted(p.name for p in path.parent.iterdir())
    with pytest.raises(error, match=match):
        native.train(path.parent / "model.pt", options={"autoencoder": str(path)})
    assert sorted(p.name for p in path.parent.iterdir()) == before


def test_it_comes_back_as_it_was_saved(autoencoder_file, tmp_path):
    stored = load_autoencoder(autoencoder_file)
    again = save_autoencoder(tmp_path / "another name.pt", stored)
    assert again.sha256 == stored.sha256
    assert (tmp_path / "another name.pt").read_bytes() == autoencoder_file.read_bytes()
    assert (stored.training.data, stored.training.steps) == ("squares", 150)
    assert stored.settings["kl"] == 1e-5
    assert str(stored.architecture) == "1x8x8 -> 3x4x4"
    assert "1x8x8 -> 3x4x4" in stored.identity("ae").architecture


def test_as_a_model_it_is_explained(autoencoder_file, tmp_path):
    odd_name = tmp_path / "half.bin"
    odd_name.write_bytes(autoencoder_file.read_bytes())
    backend = NativeBackend()
    assert 0 < backend.recognises(ModelRef(str(odd_name))) < 0.5
    with pytest.raises(ModelError, match=r"first half of a latent model.*-o autoencoder="):
        backend.load(ModelRef(str(odd_name)), "cpu")


def test_a_model_is_not_an_autoencoder(native, checkpoint_file, latent_file, tmp_path):
    for model in (checkpoint_file, latent_file):
        assert not is_autoencoder(model)
        path = tmp_path / "ae.pt"
        path.write_bytes(model.read_bytes())
        refused(native, path, "diffusion model, not an autoencoder", ConfigError)


def test_a_training_state_is_not_an_autoencoder(native, tmp_path):
    native.train_autoencoder(tmp_path / "ae.pt")
    assert not is_autoencoder(tmp_path / "ae.state.pt")
    refused(native, tmp_path / "ae.state.pt", "does not name the format")


def test_files_that_are_no_autoencoder(native, autoencoder_file, tmp_path):
    refused(native, tmp_path / "none.pt", "no file")
    (tmp_path / "noise.pt").write_bytes(os.urandom(3000))
    refused(native, tmp_path / "noise.pt", "no archive of tensors")
    (tmp_path / "cut.pt").write_bytes(autoencoder_file.read_bytes()[:-500])
    refused(native, tmp_path / "cut.pt", "cut off or damaged")


def test_a_pickle_that_wants_to_run_code_is_refused_and_never_run(native, autoencoder_file, tmp_path):
    trace = tmp_path / "the-payload-ran"
    refused(native, edited(autoencoder_file, tmp_path / "ae.pt", licence=Payload(trace)), "executed")
    assert not trace.exists()


def changed(autoencoder_file, entry, **values):
    return {entry: torch.load(autoencoder_file, weights_only=True)[entry] | values}


@pytest.mark.parametrize(
    ("entry", "values", "match"),
    [
        ("architecture", {"channels": 10**9}, "must lie between"),
        ("architecture", {"image_shape": [1, 8]}, "entries are wrong"),
        ("architecture", {"depth": 3}, "entries are wrong"),
        ("architecture", {"channels": 16}, "another architecture"),
        ("weights", {"encoder.out.bias": torch.full((6,), float("nan"))}, "NaN.*encoder.out.bias"),
        ("weights", {"encoder.out.bias": "text"}, "not a float tensor"),
        ("weights", {"surplus": torch.zeros(1)}, "unknown 1"),
        ("training", {"mood": "good"}, "entries are wrong"),
    ],
)
def test_wrong_entries(native, autoencoder_file, tmp_path, entry, values, match):
    path = edited(autoencoder_file, tmp_path / "ae.pt", **changed(autoencoder_file, entry, **values))
    refused(native, path, match)


def test_another_version(native, autoencoder_file, tmp_path):
    refused(native, edited(autoencoder_file, tmp_path / "ae.pt", version=99), "version 99")
    refused(native, edited(autoencoder_file, tmp_path / "ae.pt", format=FORMAT), "diffusion model", ConfigError)


def test_images_of_another_shape_are_refused(native, autoencoder_file, tmp_path):
    for data in (native.image_set(side=9), native.image_set(channels=3)):
        with pytest.raises(DataError, match=r"trained on images of shape \(1, 8, 8\)"):
            native.train(tmp_path / "m.pt", data=data, holdout=None, options={"autoencoder": str(autoencoder_file)})
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_the_home_folder(native, autoencoder_file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(autoencoder_file.parent))
    options = {"autoencoder": str(Path("~") / autoencoder_file.name)}
    assert native.train(tmp_path / "m.pt", options=options).identity.architecture.startswith("latent diffusion")
