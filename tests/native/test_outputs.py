from dataclasses import replace

import pytest
from ldm_eval_native.outputs import check_output, losses_path, previews_folder, state_path

from ldm_eval.errors import ConfigError, StoreError


@pytest.mark.parametrize(
    ("output", "stem"), [("m.pt", "m"), ("m.safetensors", "m"), ("m.v2", "m.v2"), ("m.v2.pt", "m.v2"), ("m", "m")]
)
def test_what_lies_beside_an_output_is_named_after_it(tmp_path, output, stem):
    beside = [path(tmp_path / output) for path in (state_path, previews_folder)]
    beside += [losses_path(tmp_path / output, suffix) for suffix in (".csv", ".png")]
    endings = ("state.pt", "previews", "losses.csv", "losses.png")
    assert beside == [tmp_path / f"{stem}.{ending}" for ending in endings]


@pytest.fixture
def pictures(native):
    """A set as a folder or a file gives it: without a split."""
    return replace(native.image_set(), split="")


def test_an_output_never_takes_the_place_of_what_was_read(pictures, native, tmp_path):
    file = tmp_path / "faces.npz"
    file.write_bytes(b"the images")
    for changes in ({"data": pictures, "data_ref": str(file)}, {"holdout": pictures, "holdout_ref": str(file)}):
        with pytest.raises(ConfigError, match=r"faces\.npz is the .* would be overwritten"):
            native.train(file, **changes)
    native.train_autoencoder(tmp_path / "ae.pt")
    with pytest.raises(ConfigError, match="is the autoencoder and would be overwritten"):
        native.train(tmp_path / "ae.pt", options={"autoencoder": str(tmp_path / "ae.pt")})
    assert file.read_bytes() == b"the images"


@pytest.mark.parametrize("output", ["m.pt", "deeper/still/m.pt"])
def test_curves_do_not_end_up_among_the_training_images(pictures, native, tmp_path, output):
    folder = tmp_path / "photos"
    folder.mkdir()
    with pytest.raises(ConfigError, match="would be read as images of that folder"):
        native.train(folder / output, data=pictures, data_ref=str(folder))
    assert list(folder.iterdir()) == []
    check_output(tmp_path / "photos.pt", pictures, str(folder), "the training data")


def test_a_folder_called_like_a_named_set_is_not_that_set(native, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "squares").mkdir()
    check_output(tmp_path / "squares" / "m.pt", native.image_set(), "squares", "the training data")


def test_a_checkpoint_is_not_called_like_a_state(native, tmp_path):
    with pytest.raises(ConfigError, match=r"as the states of trainings do"):
        native.train(tmp_path / "m.state.pt")


def test_an_output_that_cannot_be_written_is_found_before_the_first_step(native, tmp_path):
    (tmp_path / "file").touch()
    for stage in (native.train, native.train_autoencoder):
        steps = []
        with pytest.raises(StoreError, match="Nothing was computed"):
            stage(tmp_path / "file" / "m.pt", steps.append)
        assert steps == []
