"""Safetensors files that somebody else made: refused with one clear error, whatever is wrong with them."""

import contextlib
import json
import os
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ldm_eval_native.archive import names_format, read_archive, write_archive
from ldm_eval_native.backend import NativeBackend, load_model
from ldm_eval_native.checkpoint import is_checkpoint, load_checkpoint, save_checkpoint
from safetensors.torch import save_file

from ldm_eval.api import ModelRef
from ldm_eval.errors import ModelError

FORMAT = "a-test-format"
PLACE = {"$tensor": "w"}


def header(document=None, entries=None, **metadata) -> bytes:
    """A header with one tensor of two float32 numbers unless told otherwise."""
    document = {"format": FORMAT, "w": PLACE} if document is None else document
    entries = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}} if entries is None else entries
    return json.dumps({"__metadata__": {"ldm-eval": json.dumps(document), **metadata}, **entries}).encode()


def file(path, text: bytes, data: bytes = bytes(8), length: int | None = None):
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def refused(path, match):
    before = sorted(path.parent.iterdir())
    names_format(path, FORMAT)
    with pytest.raises(ModelError, match=match):
        read_archive(path, FORMAT, "a test")
    assert sorted(path.parent.iterdir()) == before


def test_the_hand_made_file_of_these_tests_is_good(tmp_path):
    # Otherwise the tests below could not fail.
    read = read_archive(file(tmp_path / "f.safetensors", header()), FORMAT, "a test").document
    assert torch.equal(read["w"], torch.zeros(2))


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        ({"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}, "not what its shape needs"),
        ({"dtype": "F64", "shape": [2], "data_offsets": [0, 8]}, "not what its shape needs"),
        ({"dtype": "F4096", "shape": [2], "data_offsets": [0, 8]}, "unknown dtype"),
        ({"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}, "unknown dtype"),
        ({"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}, "impossible shape"),
        ({"dtype": "F32", "shape": [2**31, 2**31, 2**31], "data_offsets": [0, 8]}, "not what its shape needs"),
        ({"dtype": "F32", "shape": [0] + [2**31] * 15, "data_offsets": [0, 0]}, "file holds 8"),
        ({"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}, "impossible shape"),
        ({"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}, "impossible shape"),
        ({"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]}, "impossible shape"),
        ({"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}, "impossible shape"),
        ({"dtype": "F32", "shape": [1] * 17, "data_offsets": [0, 4]}, "impossible shape"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}, "impossible data_offsets"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0]}, "impossible data_offsets"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 16]}, "impossible data_offsets"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [10**30, 10**30 + 8]}, "overlap others or leave a gap"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "overlap others or leave a gap"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "file holds 8"),
        ({"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "cut off"),
        ({"dtype": "F32", "shape": [2]}, "not described"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 8], "code": "x"}, "not described"),
        ("F32", "not described"),
    ],
)
def test_a_tensor_that_is_not_where_or_what_its_header_says(entry, match, tmp_path):
    refused(file(tmp_path / "f.safetensors", header(entries={"w": entry})), match)


def test_tensors_that_lie_on_each_other(tmp_path):
    entries = {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in ("w", "v")}
    document = {"format": FORMAT, "w": PLACE, "v": {"$tensor": "v"}}
    refused(file(tmp_path / "f.safetensors", header(document, entries)), "overlap")
    entries["v"]["data_offsets"] = [4, 12]
    refused(file(tmp_path / "f.safetensors", header(document, entries), bytes(12)), "overlap")


def test_names_that_stand_twice(tmp_path):
    tensor = b'"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    good = header()
    assert b'"w": {' in good
    refused(file(tmp_path / "f.safetensors", good[:-1] + b"," + tensor + b"}"), "'w' stands twice")
    twice = header().replace(b'\\"format\\": ', b'\\"format\\": 1, \\"format\\": ')
    refused(file(tmp_path / "f.safetensors", twice), "'format' stands twice")


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ({"format": FORMAT}, "no place in the document"),
        ({"format": FORMAT, "w": PLACE, "v": PLACE}, "used twice"),
        ({"format": FORMAT, "w": PLACE, "v": {"$tensor": "nowhere"}}, "not there"),
        ({"format": FORMAT, "w": {"$tensor": ["w"]}}, "not there"),
        ({"format": FORMAT, "w": PLACE, "v": {"$call": "os.system"}}, "means nothing"),
        ({"format": FORMAT, "w": {"$tensor": "w", "more": 1}}, "means nothing"),
        ({"format": FORMAT, "w": PLACE, "v": {"$tuple": 3}}, "cannot be read"),
        ({"format": FORMAT, "w": PLACE, "v": {"$float": "1e3"}}, "cannot be read"),
        ({"format": FORMAT, "w": PLACE, "v": {"$items": [[1]]}}, "cannot be read"),
        ({"format": FORMAT, "w": PLACE, "v": {"$items": [[1, 2], [1, 3]]}}, "cannot be read"),
        ({"format": FORMAT, "w": PLACE, "v": {"$items": [[[], 2]]}}, "cannot be one"),
        ([FORMAT, PLACE], "format entry"),
        ({"format": "other", "note": FORMAT, "w": PLACE}, "format entry"),
    ],
)
def test_a_document_that_does_not_fit_its_tensors(document, match, tmp_path):
    refused(file(tmp_path / "f.safetensors", header(document)), match)


@pytest.mark.parametrize("what", ["header", "document"])
@pytest.mark.parametrize("depth", [200, 100_000])
def test_absurd_nesting(what, depth, tmp_path):
    nest = b"[" * depth + b"]" * depth
    if what == "document":
        text, place = header({"format": FORMAT, "w": PLACE, "deep": "HERE"}), b'\\"HERE\\"'
    else:
        text, place = header()[:-1] + b',"v":"HERE"}', b'"HERE"'
    assert place in text
    refused(file(tmp_path / "f.safetensors", text.replace(place, nest)), "damaged")


def test_text_that_is_none(tmp_path):
    refused(file(tmp_path / "f.safetensors", header().replace(b"__metadata__", b"__meta\xff\xfedata__")), "UTF-8")
    refused(file(tmp_path / "f.safetensors", header().replace(b"[2]", b"[NaN]")), "not a number of JSON")
    refused(file(tmp_path / "f.safetensors", header().replace(b"}}", b"}")), "not JSON")
    refused(file(tmp_path / "f.safetensors", header().replace(b"[2]", b"[" + b"9" * 5000 + b"]")), "damaged")


@pytest.mark.parametrize("length", [2**64 - 1, 2**39, (16 << 20) + 1])
def test_a_header_of_absurd_length_is_not_read(length, tmp_path):
    refused(file(tmp_path / "f.safetensors", header(), length=length), "header")


def test_a_file_that_is_cut_off(tmp_path):
    good = file(tmp_path / "good.safetensors", header()).read_bytes()
    for kept in (0, 4, 8, 9, 50, len(good) - 1):
        path = tmp_path / "f.safetensors"
        path.write_bytes(good[:kept])
        refused(path, "empty|header|cut off")


def test_the_weights_of_another_library(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "f.safetensors", {"format": "pt"})
    refused(tmp_path / "f.safetensors", "another library")
    save_file({"w": torch.ones(2)}, tmp_path / "f.safetensors", {"note": FORMAT})
    refused(tmp_path / "f.safetensors", "no 'ldm-eval' entry")


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_under_this_name_is_never_run(tmp_path):
    path, trace = tmp_path / "f.safetensors", tmp_path / "the-payload-ran"
    path.write_bytes(pickle.dumps({"format": FORMAT, "weights": Payload(trace)}))
    refused(path, "executed")
    torch.save({"format": FORMAT, "weights": Payload(trace)}, path)
    refused(path, "executed")
    assert not trace.exists()


def test_random_bytes(tmp_path):
    path = tmp_path / "f.safetensors"
    path.write_bytes(os.urandom(5000))
    refused(path, "header|cut off|damaged")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_and_never_breaks(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    write_archive(path, {"format": FORMAT, "w": torch.ones(2), "deep": {"v": (torch.zeros(2, 2), 0.5)}})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(content) - 1))
        content[where : where + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(content)
    names_format(path, FORMAT)
    with contextlib.suppress(ModelError):
        read_archive(path, FORMAT, "a test")


def test_a_checkpoint_is_the_same_model_in_either_format(checkpoint_file, tmp_path):
    checkpoint, _ = load_checkpoint(checkpoint_file)
    path = tmp_path / "tiny.safetensors"
    sha256 = save_checkpoint(path, checkpoint)
    again, found = load_checkpoint(path)
    assert found == sha256
    assert is_checkpoint(path)
    assert NativeBackend().recognises(ModelRef(str(path))) == 1.0
    assert all(torch.equal(again.weights[name], weight) for name, weight in checkpoint.weights.items())
    assert again.training == checkpoint.training
    assert load_model(path, "cpu").identity.architecture == load_model(checkpoint_file, "cpu").identity.architecture


def test_training_writes_and_resumes_safetensors(native, tmp_path):
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    native.train(whole, steps=4)
    native.train(parts, steps=2)
    native.train(parts, steps=4, resume=True)
    assert whole.read_bytes() == parts.read_bytes()
