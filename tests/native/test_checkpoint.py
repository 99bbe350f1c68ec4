import errno
import io
import os
import pickle
import zipfile
from dataclasses import asdict

import pytest
import torch
from ldm_eval_native.archive import write_archive
from ldm_eval_native.backend import NativeBackend, load_model
from ldm_eval_native.checkpoint import FORMAT, is_checkpoint, load_checkpoint, save_checkpoint

from ldm_eval.api import ModelRef
from ldm_eval.errors import ModelError, StoreError


class Payload:
    """What an attacker would pickle: unpickling it creates the file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def edited(checkpoint_file, path, **changes):
    """The good checkpoint with some entries replaced."""
    document = torch.load(checkpoint_file, weights_only=True)
    document.update(changes)
    torch.save(document, path)
    return path


def weights_of(checkpoint_file):
    return dict(torch.load(checkpoint_file, weights_only=True)["weights"])


def refused(path, match):
    """One clear ModelError, also through the backend, and no file beside the checkpoint is made."""
    before = sorted(p.name for p in path.parent.iterdir())
    with pytest.raises(ModelError, match=match):
        NativeBackend().load(ModelRef(str(path)), "cpu")
    assert sorted(p.name for p in path.parent.iterdir()) == before


def test_a_checkpoint_comes_back_as_it_was_saved(checkpoint_file, tmp_path):
    checkpoint, sha256 = load_checkpoint(checkpoint_file)
    again = tmp_path / "another name.pt"
    assert save_checkpoint(again, checkpoint) == sha256
    assert again.read_bytes() == checkpoint_file.read_bytes()
    assert checkpoint.training.data == "squares"
    assert checkpoint.training.holdout == "squares:holdout"
    assert checkpoint.training.steps == 300
    assert checkpoint.sampling.steps == 20
    assert checkpoint.settings["learning rate"] == 2e-3


def test_a_missing_file(tmp_path):
    refused(tmp_path / "none.pt", "no file")


def test_a_folder(tmp_path):
    (tmp_path / "model.pt").mkdir()
    refused(tmp_path / "model.pt", "folder")


def test_an_empty_file(tmp_path):
    (tmp_path / "model.pt").touch()
    refused(tmp_path / "model.pt", "empty")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(checkpoint_file, tmp_path, kept):
    data = checkpoint_file.read_bytes()
    (tmp_path / "model.pt").write_bytes(data[: int(len(data) * kept)])
    refused(tmp_path / "model.pt", "cut off or damaged")


def test_a_file_with_a_damaged_index(checkpoint_file, tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(checkpoint_file) as good, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as bad:
        for entry in good.infolist():
            data = good.read(entry)
            bad.writestr(entry.filename, data[: len(data) // 2] if entry.filename.endswith("data.pkl") else data)
    refused(path, "damaged|refused")


def test_random_bytes(tmp_path):
    (tmp_path / "model.pt").write_bytes(os.urandom(5000))
    refused(tmp_path / "model.pt", "no archive of tensors")


@pytest.mark.parametrize("how", ["bare pickle", "archive", "archive that names our format", "inside a good checkpoint"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_never_run(checkpoint_file, tmp_path, how):
    path, trace = tmp_path / "model.pt", tmp_path / "the-payload-ran"
    payload = Payload(trace)
    if how == "bare pickle":
        path.write_bytes(pickle.dumps({"format": FORMAT, "weights": payload}))
    elif how == "archive":
        torch.save({"weights": payload}, path)
    elif how == "archive that names our format":
        torch.save({"format": FORMAT, "version": 1, "weights": payload}, path)
    else:
        edited(checkpoint_file, path, licence=payload)
    assert not trace.exists()
    NativeBackend().recognises(ModelRef(str(path)))
    refused(path, "executed|another library")
    assert not trace.exists()


def test_the_payload_of_these_tests_does_run_when_unpickled(tmp_path):
    # Otherwise the test above could not fail.
    trace = tmp_path / "the-payload-ran"
    pickle.loads(pickle.dumps(Payload(trace))).close()  # noqa: S301
    assert trace.exists()


def test_the_state_dict_of_another_library(tmp_path):
    torch.save(torch.nn.Conv2d(1, 8, 3).state_dict(), tmp_path / "model.pt")
    refused(tmp_path / "model.pt", "another library")


def test_weights_of_another_architecture(checkpoint_file, tmp_path):
    weights = weights_of(checkpoint_file)
    weights["surplus"] = weights.pop("stem.weight")
    refused(edited(checkpoint_file, tmp_path / "model.pt", weights=weights), "missing 1.*stem.weight.*unknown 1")


def test_an_architecture_that_does_not_match_the_weights(checkpoint_file, tmp_path):
    architecture = torch.load(checkpoint_file, weights_only=True)["architecture"] | {"channels": 16}
    refused(edited(checkpoint_file, tmp_path / "model.pt", architecture=architecture), "another architecture")


def test_an_architecture_too_large_to_be_true(checkpoint_file, tmp_path):
    architecture = torch.load(checkpoint_file, weights_only=True)["architecture"] | {"channels": 10**9}
    refused(edited(checkpoint_file, tmp_path / "model.pt", architecture=architecture), "must lie between")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(checkpoint_file, tmp_path, value):
    weights = weights_of(checkpoint_file)
    weights["out.bias"] = torch.full_like(weights["out.bias"], value)
    refused(edited(checkpoint_file, tmp_path / "model.pt", weights=weights), "1 of .*NaN.*out.bias")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 99},
        {"schedule": "linaer"},
        {"prediction": "noise"},
        {"image_shape": [1, 8]},
        {"image_shape": [3, 8, 8]},
        {"image_shape": [1, 10**6, 8]},
        {"architecture": {"depth": 3}},
        {"training": None},
        {"weights": {"stem.weight": "a string"}},
        {"weights": {"stem.weight": torch.zeros(1, dtype=torch.int64)}},
        {"sampling": {"sampler": "ddim", "speed": 3}},
        {"sampling": {"sampler": "ddim", "steps": "x"}},
        {"image_shape": [float("inf"), 8, 8]},
        {"image_shape": [1.0, 8, 8]},
        {"settings": [1, 2]},
    ],
    ids=str,
)
def test_wrong_entries(checkpoint_file, tmp_path, changes):
    refused(edited(checkpoint_file, tmp_path / "model.pt", **changes), "Train it again|train it again")


@pytest.mark.parametrize(
    ("entry", "changes"),
    [
        ("architecture", {"channels": 8.0}),
        ("architecture", {"blocks": 1.0}),
        ("architecture", {"image_channels": True}),
        ("architecture", {"multipliers": [float("inf"), 2]}),
        ("training", {"data": 5}),
        ("training", {"horizontal_flip": "no"}),
        ("sampling", {"guidance": "high"}),
    ],
    ids=str,
)
def test_values_of_another_type_are_found_before_anything_is_built(checkpoint_file, tmp_path, entry, changes):
    values = torch.load(checkpoint_file, weights_only=True)[entry] | changes
    refused(edited(checkpoint_file, tmp_path / "model.pt", **{entry: values}), "entries are wrong")


@pytest.mark.parametrize(
    "strange",
    [
        lambda weight: weight.to_sparse(),
        lambda weight: weight.to("meta"),
        lambda weight: torch.zeros(1, dtype=torch.float16).expand(weight.shape),
    ],
    ids=["sparse", "without values", "one number for all"],
)
def test_weights_that_are_not_all_in_the_file(checkpoint_file, tmp_path, strange):
    weights = weights_of(checkpoint_file)
    weights["stem.weight"] = strange(weights["stem.weight"])
    refused(edited(checkpoint_file, tmp_path / "model.pt", weights=weights), "'stem.weight' is not a plain tensor")


@pytest.mark.parametrize("damaged", [False, True])
def test_a_packed_archive_is_never_unpacked(checkpoint_file, tmp_path, damaged):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(checkpoint_file) as good, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in good.infolist():
            packed.writestr(entry.filename, good.read(entry))
        index = packed.infolist()[0]
    if damaged:  # zlib's own error is no error of zipfile's
        data = bytearray(path.read_bytes())
        start = index.header_offset + 30 + len(index.filename)
        data[start : start + 20] = bytes(byte ^ 0x5A for byte in data[start : start + 20])
        path.write_bytes(data)
    assert 0 < NativeBackend().recognises(ModelRef(str(path))) < 0.5
    refused(path, "is not a checkpoint")


def test_content_decides_what_is_recognised(checkpoint_file, tmp_path):
    backend = NativeBackend()
    odd_name = tmp_path / "weights.bin"
    odd_name.write_bytes(checkpoint_file.read_bytes())
    assert backend.recognises(ModelRef(str(odd_name))) == 1.0
    torch.save({"a": torch.zeros(1)}, tmp_path / "foreign.pt")
    assert 0 < backend.recognises(ModelRef(str(tmp_path / "foreign.pt"))) < 0.5
    assert 0 < backend.recognises(ModelRef(str(tmp_path / "missing.pt"))) < 0.5
    assert backend.recognises(ModelRef(str(tmp_path))) == 0.0
    assert backend.recognises(ModelRef("phantom:gaussian")) == 0.0


def test_recognising_unpickles_nothing(tmp_path, monkeypatch):
    torch.save({"format": FORMAT, "weights": Payload(tmp_path / "ran")}, tmp_path / "model.pt")

    def never(*args, **kwargs):
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "Unpickler", never)
    monkeypatch.setattr(torch, "load", never)
    assert is_checkpoint(tmp_path / "model.pt")


def test_a_full_disk_keeps_the_earlier_file_and_leaves_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    path.write_bytes(b"what was there")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write_archive(path, {"format": FORMAT})
    assert path.read_bytes() == b"what was there"
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_loading_leaves_the_global_generator_alone(checkpoint_file):
    before = torch.random.get_rng_state()
    load_model(checkpoint_file, "cpu")
    assert torch.equal(before, torch.random.get_rng_state())


def test_half_precision_weights_are_small_and_said_so(native, checkpoint_file, tmp_path):
    native.train(tmp_path / "half.pt", options={"weights": "float16"})
    half, full = load_model(tmp_path / "half.pt", "cpu"), load_model(checkpoint_file, "cpu")
    assert "rounded to float16" in half.identity.architecture
    assert "rounded" not in full.identity.architecture
    assert half.identity.sha256 != full.identity.sha256
    assert (tmp_path / "half.pt").stat().st_size < 0.75 * checkpoint_file.stat().st_size


def test_the_file_holds_only_plain_values(checkpoint_file):
    document = torch.load(io.BytesIO(checkpoint_file.read_bytes()), weights_only=True)
    assert asdict(load_checkpoint(checkpoint_file)[0].training) == document["training"]
