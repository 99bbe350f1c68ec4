"""Reference files: what is read is what was written, other tools find their keys, and nothing damaged gets through."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldm_eval.api import ExtractorInfo, Features, ImageSet
from ldm_eval.errors import DataError, StoreError
from ldm_eval.stats.digests import image_digest
from ldm_eval.store.array_archive import ArrayArchive
from ldm_eval.store.reference import HEADER, is_reference, read_reference, write_reference

N, D, K = 50, 6, 4
INFO = ExtractorInfo("tiny", "ab" * 32, D, K, "none", "MIT")
OTHER = ExtractorInfo("inception-2015-spatial-unverified", "cd" * 32, 3, None, "bilinear-299", "Apache-2.0", text=True)
MACHINE = {"device": "cpu", "threads": 1}


def _images() -> ImageSet:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (N, 3, 4, 5), dtype=np.uint8)
    groups = {"age": np.array(["child", "älter"] * (N // 2))}
    ids = tuple(f"{row}.png" for row in range(N))
    prompts = np.array([f"a picture, no. {row}" for row in range(N)])
    return ImageSet(
        "faces", "holdout", pixels, ids, image_digest(pixels), groups, np.arange(N) % 3, "CC-BY-4.0", prompts
    )


def _features(d: int = D, classes: int | None = K) -> Features:
    rng = np.random.default_rng(d)
    values = rng.normal(size=(N, d)).astype(np.float32)
    return Features(values, rng.normal(size=(N, classes)).astype(np.float32) if classes else None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ref.npz"
    write_reference(path, _images(), [(INFO, _features()), (OTHER, _features(3, None))], MACHINE)
    return path


def test_what_is_read_is_what_was_written(file: Path) -> None:
    reference, images = read_reference(file), _images()
    found = reference.images
    assert (found.name, found.split, found.licence, found.digest) == ("faces", "holdout", "CC-BY-4.0", images.digest)
    assert (found.pixels.shape, found.has_pixels, len(found)) == ((N, 3, 0, 0), False, N)
    assert (found.ids, reference.image_shape, reference.computed_on) == (images.ids, (3, 4, 5), MACHINE)
    np.testing.assert_array_equal(found.groups["age"], images.groups["age"])
    np.testing.assert_array_equal(found.labels, images.labels)
    np.testing.assert_array_equal(found.prompts, images.prompts)
    assert [one.info for one in reference.extracted] == [INFO, OTHER]
    known = found.known_features[INFO.fingerprint]
    assert known.extractor == "tiny"
    np.testing.assert_array_equal(known.values, _features().values)
    np.testing.assert_array_equal(known.logits, _features().logits)
    assert found.known_features[OTHER.fingerprint].logits is None


def test_features_stay_on_disk_and_are_aligned(file: Path) -> None:
    values = read_reference(file).images.known_features[INFO.fingerprint].values
    assert isinstance(values, np.memmap)
    assert values.flags.aligned
    assert not values.flags.writeable
    assert values.offset % 64 == 0


def test_equal_content_gives_equal_bytes_and_the_digest_of_the_file(file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.npz"
    digest = write_reference(again, _images(), [(INFO, _features()), (OTHER, _features(3, None))], MACHINE)
    assert again.read_bytes() == file.read_bytes()
    assert read_reference(file).digest == digest


def test_other_tools_find_mu_and_sigma(file: Path) -> None:
    """pytorch-fid and clean-fid read ``mu`` and ``sigma``, ADM ``mu_s`` and ``sigma_s`` beside them."""
    with np.load(file, allow_pickle=False) as found:
        for suffix, features in (("", _features()), ("_s", _features(3, None))):
            np.testing.assert_allclose(found[f"mu{suffix}"], features.values.mean(0, dtype=np.float64), rtol=1e-12)
            expected = np.cov(features.values.astype(np.float64), rowvar=False)
            np.testing.assert_allclose(found[f"sigma{suffix}"], expected, rtol=1e-11, atol=1e-14)


def test_statistics_alone_say_nothing_of_single_images(tmp_path: Path) -> None:
    path = tmp_path / "stats.npz"
    write_reference(path, _images(), [(INFO, _features())], MACHINE, statistics_only=True)
    reference = read_reference(path)
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {f"{HEADER}.npy", "mu.npy", "sigma.npy"}
    assert b"child" not in path.read_bytes()
    assert b".png" not in path.read_bytes()
    assert reference.statistics_only
    assert reference.images.known_features == {}
    assert [(one.n, one.fingerprint) for one in reference.statistics()] == [(N, INFO.fingerprint)]


def test_one_image_has_no_covariance(tmp_path: Path) -> None:
    one = replace(_images(), pixels=np.zeros((1, 3, 4, 5), np.uint8))
    with pytest.raises(DataError, match="at least 2 images"):
        write_reference(tmp_path / "r.npz", one, [(INFO, Features(np.zeros((1, D), np.float32)))], MACHINE)


@pytest.mark.parametrize("shape", [(N - 1, D), (N, D + 1)])
def test_features_of_other_images_or_another_space_are_never_written(tmp_path: Path, shape: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="one row of 6 for each"):
        write_reference(tmp_path / "r.npz", _images(), [(INFO, Features(np.zeros(shape, np.float32)))], MACHINE)


def test_features_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    values = _features().values.copy()
    values[3, 2] = np.nan
    with pytest.raises(DataError, match="not finite"):
        write_reference(tmp_path / "r.npz", _images(), [(INFO, Features(values))], MACHINE)
    assert not (tmp_path / "r.npz").exists()


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        write_reference(tmp_path / "file" / "r.npz", _images(), [(INFO, _features())], MACHINE)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_a_feature(path: Path) -> None:
    offset = ArrayArchive(path).array("features", "float32", 2).offset  # type: ignore[attr-defined]
    data = bytearray(path.read_bytes())
    data[offset + 9] ^= 1
    path.write_bytes(data)


def _rewrite(path: Path, change: Callable[[dict[str, Any]], None], *, compressed: bool = False) -> None:
    with np.load(path) as found:
        arrays = {name: found[name] for name in found.files}
    document = json.loads(arrays[HEADER].tobytes())
    change(document)
    arrays[HEADER] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    (np.savez_compressed if compressed else np.savez)(path, **arrays)


def _edit(path: Path) -> None:
    _rewrite(path, lambda document: document["images"].update(licence="public domain"))


def _from_the_future(path: Path) -> None:
    _rewrite(path, lambda document: document.update(schema_version=2))


def _lacking(path: Path) -> None:
    _rewrite(path, lambda document: document.pop("digest"))


def _compressed(path: Path) -> None:
    _rewrite(path, lambda document: None, compressed=True)


def _not_json(path: Path) -> None:
    np.savez(path, **{HEADER: np.frombuffer(b"{'a'", np.uint8)})


def _pickled(path: Path) -> None:
    np.savez(path, **{HEADER: np.array([{"schema_version": 1}], dtype=object)})


def _raw_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"mu": 1}))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_cut, "not a whole npz file"),
        (_flip_a_feature, "'features' does not have the digest that it states"),
        (_edit, "its description does not have the digest that it states"),
        (_from_the_future, "version 2, and this ldm-eval reads 1"),
        (_lacking, "KeyError"),
        (_compressed, "compressed or encrypted"),
        (_not_json, "no JSON"),
        (_pickled, "is object"),
        (_raw_pickle, "is no reference file"),
        (_folder, "is a folder"),
        (Path.unlink, "does not exist"),
    ],
)
def test_a_spoilt_file_is_refused_in_one_sentence(file: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(file)
    with pytest.raises(DataError, match=says) as refused:
        read_reference(file)
    assert str(file) in str(refused.value)


def test_every_cut_and_every_flipped_byte_is_noticed(file: Path) -> None:
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for length in rng.integers(0, len(whole), 40):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError):
            read_reference(file)
    before = read_back(file, whole)
    for at in rng.integers(0, len(whole), 150):
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << int(rng.integers(8))
        try:
            after = read_back(file, bytes(spoilt))
        except DataError:
            continue
        assert after == before, at  # padding, times and checksums of the zip carry no content


def read_back(file: Path, content: bytes) -> tuple[str, bytes, bytes]:
    file.write_bytes(content)
    reference = read_reference(file)
    known = reference.images.known_features[INFO.fingerprint]
    return reference.digest, known.values.tobytes(), reference.extracted[0].moments.covariance.tobytes()


JUNK: tuple[Any, ...] = (None, -1, 0, 10**30, 1.5, "x", [], [1], {}, {"a": 1}, True, "\ud800", float("nan"))


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in inside:
        yield from _leaves(item, (*path, key))


def test_no_description_however_forged_gets_through_with_anything_but_a_refusal(file: Path) -> None:
    """Each value of the description in turn becomes junk, and the digest is computed anew as a forger would."""
    with np.load(file) as found:
        arrays = {name: found[name] for name in found.files}
    text = arrays[HEADER].tobytes()
    refused = 0
    for path in [leaf for leaf in _leaves(json.loads(text)) if leaf and leaf != ("digest",)]:
        for junk in JUNK:
            document = json.loads(text)
            del document["digest"]
            at = document
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = junk
            forged = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            digest = hashlib.sha256(forged.encode("utf-8", "surrogatepass")).hexdigest()
            forged = json.dumps({**document, "digest": digest}, sort_keys=True, separators=(",", ":"))
            np.savez(file, **{**arrays, HEADER: np.frombuffer(forged.encode(), np.uint8)})
            try:
                read_reference(file)
            except DataError:
                refused += 1
    assert refused > 500


@pytest.mark.parametrize("digest", ["../../outside", "AB" * 32, "ab" * 31, "ab" * 32 + "\n"])
def test_a_digest_that_could_be_a_path_is_refused(tmp_path: Path, digest: str) -> None:
    """A run lays files out that are named after the digest of the images."""
    write_reference(tmp_path / "r.npz", replace(_images(), digest=digest), [(INFO, _features())], MACHINE)
    with pytest.raises(DataError, match="of the images is none"):
        read_reference(tmp_path / "r.npz")


def test_a_reference_is_told_by_its_content(file: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", np.zeros((2, 4, 4), np.uint8))
    assert is_reference(file)
    _cut(file)
    assert is_reference(file)  # so that the message says what it was
    assert not is_reference(tmp_path / "images.npz")
    assert not is_reference(tmp_path)
    assert not is_reference(tmp_path / "nothing.npz")
