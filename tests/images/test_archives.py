"""Zip and npz: the same images as the folder, and what is refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ldm_eval_images.arrays import read_npz
from ldm_eval_images.folder import read_folder
from ldm_eval_images.sources import read_images
from ldm_eval_images.zipped import read_zip
from numpy.typing import NDArray
from PIL import Image

from ldm_eval.errors import DataError


@pytest.fixture
def packed(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png"), reverse=True):
            archive.write(file, file.relative_to(folder).as_posix())
        archive.writestr("__MACOSX/._01.png", b"junk")
        archive.writestr("readme.txt", b"hello")
    return path


def test_zip_npz_and_folder_agree(folder: Path, packed: Path, tmp_path: Path) -> None:
    from_folder, from_zip = read_folder(folder), read_zip(packed)
    assert from_zip.ids == from_folder.ids
    np.savez(tmp_path / "pictures.npz", from_folder.pixels.transpose(0, 2, 3, 1))
    from_npz = read_npz(tmp_path / "pictures.npz")
    assert from_npz.ids == tuple(str(row) for row in range(12))
    assert from_folder.digest == from_zip.digest == from_npz.digest
    assert [read_images(p).digest for p in (folder, packed, tmp_path / "pictures.npz")] == [from_folder.digest] * 3


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_layouts(tmp_path: Path, colours: NDArray[np.uint8], compressed: bool, order: str) -> None:
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "rgb.npz", np.asarray(colours, order=order))
    save(tmp_path / "grey.npz", np.asarray(colours[..., 0], order=order))
    save(tmp_path / "one.npz", np.asarray(colours[..., :1], order=order), np.arange(12))
    np.testing.assert_array_equal(read_npz(tmp_path / "rgb.npz").pixels, colours.transpose(0, 3, 1, 2))
    for name in ("grey.npz", "one.npz"):
        images = read_npz(tmp_path / name)
        np.testing.assert_array_equal(images.pixels[:, 0], colours[..., 0])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("descr", ["<u2", ">u2"])
def test_npz_of_sixteen_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, descr: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (12, 9, 7, 3), dtype=np.uint16)
    monkeypatch.setattr("ldm_eval_images.arrays._BLOCK_BYTES", 1000)
    np.savez(tmp_path / "a.npz", np.asarray(deep.astype(descr), order=order))
    images = read_npz(tmp_path / "a.npz")
    assert images.pixels.dtype == np.dtype(np.uint16)
    np.testing.assert_array_equal(images.pixels, deep.transpose(0, 3, 1, 2))


def test_zip_npz_and_folder_of_sixteen_bits_agree(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (3, 5, 4), dtype=np.uint16)
    (tmp_path / "deep").mkdir()
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        for index, pixels in enumerate(deep):
            Image.fromarray(pixels).save(tmp_path / "deep" / f"{index}.png")
            archive.write(tmp_path / "deep" / f"{index}.png", f"{index}.png")
    np.savez(tmp_path / "deep.npz", deep)
    assert len({read_images(tmp_path / name).digest for name in ("deep", "deep.zip", "deep.npz")}) == 1


def test_npz_of_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colours: NDArray[np.uint8]) -> None:
    np.savez(tmp_path / "a.npz", colours)
    monkeypatch.setattr("ldm_eval_images.arrays._BLOCK_BYTES", 500)
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz").pixels, colours.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 8, 8), np.float32), r"float32 .*expected as uint8"),
        (np.zeros((4, 8, 8), np.int16), r"int16 .*or uint16, 0 to 65535"),
        (np.zeros((4, 3, 8, 8), np.uint8), r"transpose with \(0, 2, 3, 1\)"),
        (np.zeros((4, 8, 8, 4), np.uint8), r"C = 1 or 3"),
        (np.zeros((8, 8), np.uint8), r"C = 1 or 3"),
        (np.zeros((0, 8, 8), np.uint8), r"not one pixel"),
        (np.array([{"a": 1}], dtype=object), r"object .*expected as uint8"),
    ],
)
def test_npz_of_other_types_and_shapes_is_refused(tmp_path: Path, array: NDArray[np.generic], words: str) -> None:
    np.savez(tmp_path / "a.npz", array)
    with pytest.raises(DataError, match=words):
        read_npz(tmp_path / "a.npz")


GOOD = "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 8, 8), }"


def _npz(path: Path, header: str, name: str = "arr_0.npy", compression: int = zipfile.ZIP_STORED) -> Path:
    """An npz whose array has this header, true or not, and 256 bytes."""
    text = header.encode() + b"\n"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(256))
    return path


def test_the_hand_made_npz_of_these_tests_is_good(tmp_path: Path) -> None:
    assert read_npz(_npz(tmp_path / "a.npz", GOOD)).shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (GOOD.replace("(4,", "(-4,"), "not one pixel"),
        (GOOD.replace("(4,", "(True,"), "not one pixel"),
        (GOOD.replace("(4,", "(4294967296, 4294967296, 4294967296,"), "expected"),
        (GOOD.replace("(4, 8, 8)", "(4294967296, 4294967296, 16)"), "promises"),
        (GOOD.replace("}", ""), "not an array"),
        ("(" * 200, "not an array"),
        ("-" * 3000 + "1", "is not a whole"),
        ("{[]: 1}", "not an array"),
    ],
)
def test_npz_with_a_header_made_to_harm_is_refused(tmp_path: Path, header: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_npz(_npz(tmp_path / "a.npz", header))


def test_npz_with_the_key_without_its_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected under the key"):
        read_npz(_npz(tmp_path / "a.npz", GOOD, name="arr_0"))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_read_or_refused_and_never_breaks(
    tmp_path: Path, colours: NDArray[np.uint8], compression: int
) -> None:
    picture = io.BytesIO()
    Image.fromarray(colours[0]).save(picture, "PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", compression) as archive:
        archive.writestr("a.png", picture.getvalue())
    _npz(tmp_path / "a.npz", GOOD, compression=compression)
    rng = np.random.default_rng(0)
    for name, read in (("a.zip", read_zip), ("a.npz", read_npz)):
        whole = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
        refused = 0
        for _ in range(60):
            damaged = whole.copy()
            damaged[rng.integers(len(whole), size=2)] = rng.integers(256, size=2)
            (tmp_path / name).write_bytes(damaged.tobytes())
            try:
                read(tmp_path / name)
            except DataError:
                refused += 1
        assert refused > 5


def test_npz_with_other_keys_names_them(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    np.savez(tmp_path / "a.npz", images=colours)
    with pytest.raises(DataError, match=r"'images'; images are expected under the key 'arr_0'"):
        read_npz(tmp_path / "a.npz")


def test_every_truncation_is_one_clear_error(tmp_path: Path, packed: Path, colours: NDArray[np.uint8]) -> None:
    np.savez(tmp_path / "a.npz", colours)
    for path, read in ((tmp_path / "a.npz", read_npz), (packed, read_zip)):
        whole = path.read_bytes()
        for keep in (0, 1, 40, len(whole) // 2, len(whole) - 30):
            path.write_bytes(whole[:keep])
            with pytest.raises(DataError, match=rf"\({keep:,} bytes\) is not a whole"):
                read(path)


def test_npz_that_promises_more_than_it_holds(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (9999, 64, 64, 3)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("arr_0.npy", buffer.getvalue() + b"\0" * 100)
    with pytest.raises(DataError, match="promises"):
        read_npz(tmp_path / "a.npz")


def test_a_flipped_byte_in_a_zip_is_noticed(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[len(data) // 3] ^= 0xFF
    packed.write_bytes(bytes(data))
    with pytest.raises(DataError):
        read_zip(packed)


def test_missing_files_say_so(tmp_path: Path) -> None:
    for read in (read_npz, read_zip, read_images):
        with pytest.raises(DataError, match="nowhere"):
            read(tmp_path / "nowhere.npz")


def test_zip_without_pictures(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", b"hello")
    with pytest.raises(DataError, match=r"no pictures \(1 members\)"):
        read_zip(tmp_path / "a.zip")


def test_a_zip_bomb_is_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big.png", b"\0" * (12 << 20))
    with pytest.raises(DataError, match="It was not read"):
        read_zip(tmp_path / "a.zip")


def test_limits_on_members_and_total(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ldm_eval_images.zipped.MAX_TOTAL_BYTES", 100)
    with pytest.raises(DataError, match="unpack to"):
        read_zip(packed)
    monkeypatch.setattr("ldm_eval_images.zipped.MAX_MEMBERS", 3)
    with pytest.raises(DataError, match="more than 3"):
        read_zip(packed)


def test_an_encrypted_zip_is_refused(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:  # set the encryption flag of every member in the central directory
        data[at + 8] |= 0x1
        at = data.find(b"PK\x01\x02", at + 4)
    packed.write_bytes(bytes(data))
    with pytest.raises(DataError, match="encrypted"):
        read_zip(packed)


def test_two_members_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(folder / "01.png", "x.png")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.write(folder / "02.png", "x.png")
    with pytest.raises(DataError, match="two members of the same name"):
        read_zip(tmp_path / "a.zip")


def test_names_that_climb_out_write_nothing(folder: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with zipfile.ZipFile(inner / "a.zip", "w") as archive:
        archive.write(folder / "01.png", "../../evil.png")
    before = sorted(tmp_path.rglob("*"))
    assert read_zip(inner / "a.zip").ids == ("../../evil.png",)
    assert sorted(tmp_path.rglob("*")) == before
