import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ldm_eval_native.archive import names_format, read_archive, write_archive

from ldm_eval.errors import ModelError, StoreError

FORMAT = "a-test-format"
DOCUMENT = {
    "format": FORMAT,
    "version": 3,
    "text": 'ü – "quoted" \\ \n \ud7ff',
    "truth": [True, False, None],
    "numbers": [0, -1, 2**70, 0.1, -0.0, 1e-300, math.inf, -math.inf],
    "betas": (0.9, (0.999,)),
    "empty": [{}, [], ()],
    "optimiser": {"state": {0: {"step": torch.tensor(3.0)}, 1: {"step": torch.tensor(4.0)}}, "1": "text"},
    "$tensor": "a key that looks like a mark",
    "__metadata__": torch.ones(1),
    "weights": {
        "a/b": torch.arange(6.0).reshape(2, 3),
        "a": {"b": torch.arange(6).reshape(3, 2)},
        "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
        "brain": torch.tensor([1.5], dtype=torch.bfloat16),
        "none": torch.empty(0, 4),
        "flags": torch.tensor([True, False]),
        "levels": torch.tensor([0, 65535], dtype=torch.uint16),
    },
}


def same(a, b) -> bool:
    """Equal in value, type and order, tensors with their dtype."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        keys = [(key, type(key)) for key in a] == [(key, type(key)) for key in b]
        return keys and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return repr(a) == repr(b)
    return bool(a == b)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".SafeTensors", ".ckpt"])
def test_a_document_comes_back_as_it_was_written(suffix, tmp_path):
    path = tmp_path / f"file{suffix}"
    sha256 = write_archive(path, DOCUMENT)
    archive = read_archive(path, FORMAT, "a test")
    assert same(archive.document, DOCUMENT)
    assert archive.sha256 == sha256
    assert names_format(path, FORMAT)
    assert not names_format(path, "another-format")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_bytes_depend_on_the_document_alone(suffix, tmp_path):
    rebuilt = read_archive_of(DOCUMENT, tmp_path / f"first{suffix}")
    assert write_archive(tmp_path / f"second{suffix}", rebuilt) == write_archive(tmp_path / f"third{suffix}", DOCUMENT)
    assert len(list(tmp_path.iterdir())) == 3


def read_archive_of(document, path):
    write_archive(path, document)
    return read_archive(path, FORMAT, "a test").document


@pytest.mark.parametrize(("written", "read"), [(".pt", ".safetensors"), (".safetensors", ".pt"), (".safetensors", "")])
def test_reading_goes_by_content_and_not_by_name(written, read, tmp_path):
    write_archive(tmp_path / f"file{written}", DOCUMENT)
    renamed = (tmp_path / f"file{written}").rename(tmp_path / f"renamed{read}")
    assert names_format(renamed, FORMAT)
    assert same(read_archive(renamed, FORMAT, "a test").document, DOCUMENT)


def test_tensors_that_share_memory_are_stored_apart(tmp_path):
    base = torch.arange(10.0)
    document = {"format": FORMAT, "a": base, "b": base, "part": base[2:4], "turned": base.reshape(2, 5).T}
    read = read_archive_of(document, tmp_path / "file.safetensors")
    assert all(torch.equal(read[name], document[name]) for name in ("a", "b", "part", "turned"))


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TENSORS = st.lists(st.integers(-5, 5), max_size=4).map(lambda values: torch.tensor(values, dtype=torch.float32))
KEYS = st.text(max_size=5) | st.integers(-3, 3)
DOCUMENTS = st.dictionaries(
    st.text(max_size=5).filter(lambda key: key != "format"),
    st.recursive(
        PLAIN | TENSORS,
        lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@settings(max_examples=80, deadline=None)
@given(DOCUMENTS)
def test_any_document_survives_safetensors(tmp_path_factory, document):
    document = {"format": FORMAT, **document}
    assert same(read_archive_of(document, tmp_path_factory.getbasetemp() / "any.safetensors"), document)


def test_what_safetensors_cannot_hold_is_said_before_anything_is_written(tmp_path):
    path = tmp_path / "file.safetensors"
    deep = torch.ones(1)
    for _ in range(50):
        deep = [deep]
    for document in ({"deep": deep}, {"large": "x" * (17 << 20)}):
        with pytest.raises(StoreError, match=r"\.pt"):
            write_archive(path, document)
    with pytest.raises(TypeError, match="inner/object"):
        write_archive(path, {"inner": {"object": object()}})
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_one_that_other_readers_understand(tmp_path):
    from safetensors.torch import load_file

    write_archive(tmp_path / "file.safetensors", DOCUMENT)
    tensors = load_file(tmp_path / "file.safetensors")
    assert torch.equal(tensors["weights/half"], DOCUMENT["weights"]["half"])
    assert {"weights/a/b", "weights/a/b~2", "optimiser/state/0/step", "__metadata__~2"} <= tensors.keys()


def test_another_format_of_ours_is_not_taken_for_this_one(tmp_path):
    for suffix in (".pt", ".safetensors"):
        path = tmp_path / f"file{suffix}"
        write_archive(path, {"format": "another", "note": FORMAT})
        with pytest.raises(ModelError, match="format entry is not"):
            read_archive(path, FORMAT, "a test")
