"""A folder of pictures: what is read, in which order, and what is refused with which words."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from ldm_eval_images import pictures
from ldm_eval_images.folder import read_folder
from numpy.typing import NDArray
from PIL import Image

from ldm_eval.errors import DataError
from ldm_eval.stats.digests import image_digest


def _grey(path: Path, value: int = 0, size: tuple[int, int] = (8, 8)) -> None:
    Image.new("L", size, value).save(path)


def test_pictures_are_read_in_the_order_of_their_relative_names(folder: Path, colours: NDArray[np.uint8]) -> None:
    images = read_folder(folder)
    assert images.ids == tuple(sorted(images.ids))
    assert images.ids[-4:] == ("sub/00.png", "sub/03.png", "sub/06.png", "sub/09.png")
    for name, pixels in zip(images.ids, images.pixels, strict=True):
        np.testing.assert_array_equal(pixels, colours[int(Path(name).stem)].transpose(2, 0, 1))
    assert images.digest == image_digest(images.pixels)
    assert (images.name, images.split, images.shape) == ("pictures", "", (3, 9, 7))


def test_grey_files_keep_one_channel(tmp_path: Path) -> None:
    for value in (0, 100, 255):
        _grey(tmp_path / f"{value:03d}.png", value)
    images = read_folder(tmp_path)
    assert images.shape == (1, 8, 8)
    assert images.pixels[:, 0, 0, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize("colour_at", [0, 300, 599])
def test_one_colour_file_makes_the_set_rgb(tmp_path: Path, colour_at: int) -> None:
    for index in range(600):
        _grey(tmp_path / f"{index:03d}.png", index % 256)
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / f"{colour_at:03d}.png")
    images = read_folder(tmp_path)
    assert images.shape == (3, 8, 8)
    assert images.pixels[colour_at, :, 0, 0].tolist() == [1, 2, 3]
    others = np.arange(600) != colour_at
    expected = (np.arange(600) % 256)[others]
    assert (images.pixels[others] == expected[:, None, None, None]).all()


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tiff", "gif", "PNG"])
def test_lossless_formats_give_the_stored_pixels(tmp_path: Path, suffix: str) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", **options)
    images = read_folder(tmp_path)
    np.testing.assert_array_equal(images.pixels[0, 0], pixels)


def test_jpeg_is_read_as_pillow_decodes_it(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    Image.fromarray(colours[0]).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as picture:
        expected = np.asarray(picture).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_folder(tmp_path).pixels[0], expected)


def test_palette_and_opaque_alpha_become_rgb(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    flat = np.zeros((9, 7, 3), np.uint8) + np.array([10, 20, 30], np.uint8)
    Image.fromarray(flat).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    opaque = np.concatenate([colours[0], np.full((9, 7, 1), 255, np.uint8)], axis=2)
    Image.fromarray(opaque).save(tmp_path / "b.png")
    images = read_folder(tmp_path)
    np.testing.assert_array_equal(images.pixels[0], flat.transpose(2, 0, 1))
    np.testing.assert_array_equal(images.pixels[1], colours[0].transpose(2, 0, 1))


def test_large_pictures_are_decoded_in_order_too(tmp_path: Path) -> None:
    for index in range(300):
        Image.new("L", (256, 130), index % 256).save(tmp_path / f"{index:03d}.bmp")
    images = read_folder(tmp_path)
    assert images.pixels[:, 0, 0, 0].tolist() == [index % 256 for index in range(300)]
    (tmp_path / "150.bmp").write_bytes(b"BM")
    with pytest.raises(DataError, match=r"'150\.bmp'"):
        read_folder(tmp_path)


def test_other_and_hidden_files_are_left_alone(folder: Path) -> None:
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_text("not a picture")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "a.png").write_text("not a picture")
    assert len(read_folder(folder)) == 12


def test_one_image_is_enough(tmp_path: Path) -> None:
    _grey(tmp_path / "only.png")
    assert len(read_folder(tmp_path)) == 1


def test_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        read_folder(tmp_path / "nowhere")


def test_an_empty_folder_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(DataError, match=r"no pictures \(files found: 1\)"):
        read_folder(tmp_path)


def test_mixed_sizes_name_two_files_with_their_sizes(folder: Path) -> None:
    Image.new("RGB", (5, 6)).save(folder / "zz.png")
    with pytest.raises(DataError, match=r"'01\.png' is 7x9 and 'zz\.png' is 5x6"):
        read_folder(folder)


@pytest.mark.parametrize("keep", [0, 20, 60, 100])
def test_a_truncated_picture_is_named(folder: Path, keep: int) -> None:
    broken = folder / "05.png"
    broken.unlink(missing_ok=True)
    Image.effect_noise((64, 64), 50).save(broken)
    broken.write_bytes(broken.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"'05\.png'"):
        read_folder(folder)


@pytest.mark.parametrize("kind", ["EPS", "SGI", "PPM"])
def test_other_formats_called_png_are_not_opened(tmp_path: Path, colours: NDArray[np.uint8], kind: str) -> None:
    # By content Pillow would have Ghostscript run the first, and cut 16 bits of the second to 8.
    (tmp_path / "pictures").mkdir()
    Image.fromarray(colours[0]).save(tmp_path / "pictures" / "a.png", format=kind)
    with pytest.raises(DataError, match=r"'a\.png' is not a picture that can be read"):
        read_folder(tmp_path / "pictures")


def test_text_called_png_is_named(folder: Path) -> None:
    (folder / "05.png").write_text("this is no picture")
    with pytest.raises(DataError, match=r"'05\.png' is not a picture"):
        read_folder(folder)


def _png16(path: Path, colour_type: int, channels: int) -> None:
    """A 2x2 PNG with 16 bits per channel, written by hand (Pillow writes no 16-bit RGB)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\0" + b"\x12\x34" * channels * 2) * 2
    header = struct.pack(">IIBBBBB", 2, 2, 16, colour_type, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(data)


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_sixteen_bit_colour_is_refused_and_never_cut(tmp_path: Path, colour_type: int, channels: int) -> None:
    _png16(tmp_path / "deep.png", colour_type, channels)
    with pytest.raises(DataError, match=r"'deep\.png' has 16 bits per channel; save it with 8"):
        read_folder(tmp_path)


LEVELS = np.array([[0, 1, 256, 0x1234], [0x3412, 32768, 65534, 65535]], np.uint16)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bit_grey_keeps_every_level(tmp_path: Path, suffix: str, order: str) -> None:
    Image.fromarray(LEVELS.astype(order)).save(tmp_path / f"a.{suffix}")
    images = read_folder(tmp_path)
    assert images.pixels.dtype == np.dtype(np.uint16)
    np.testing.assert_array_equal(images.pixels[0, 0], LEVELS)
    assert images.digest == image_digest(LEVELS[None, None])


def test_compressed_sixteen_bit_tiff_keeps_every_level(tmp_path: Path) -> None:
    Image.fromarray(LEVELS).save(tmp_path / "a.tiff", compression="tiff_deflate")
    np.testing.assert_array_equal(read_folder(tmp_path).pixels[0, 0], LEVELS)


@pytest.mark.parametrize(("tag", "value"), [(262, 0), (339, 2)])
def test_sixteen_bits_that_pillow_would_misread_are_refused(tmp_path: Path, tag: int, value: int) -> None:
    """White is zero, and signed numbers."""
    Image.fromarray(LEVELS).save(tmp_path / "a.tiff", tiffinfo={339: 1})
    data = bytearray((tmp_path / "a.tiff").read_bytes())
    at = data.index(struct.pack("<HHI", tag, 3, 1)) + 8
    data[at : at + 2] = struct.pack("<H", value)
    (tmp_path / "a.tiff").write_bytes(data)
    with pytest.raises(DataError, match=r"'a\.tiff' has 16 bits .*unsigned, black is 0"):
        read_folder(tmp_path)


def test_sixteen_bit_grey_with_a_transparent_level_is_refused(tmp_path: Path) -> None:
    Image.fromarray(LEVELS).save(tmp_path / "a.png", transparency=256)
    with pytest.raises(DataError, match="grey without transparency"):
        read_folder(tmp_path)


def test_twelve_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(LEVELS).save(tmp_path / "a.tiff")
    data = bytearray((tmp_path / "a.tiff").read_bytes())
    at = data.index(struct.pack("<HHI", 258, 3, 1)) + 8
    data[at : at + 2] = struct.pack("<H", 12)
    (tmp_path / "a.tiff").write_bytes(data)
    with pytest.raises(DataError, match=r"'a\.tiff' has 12 bits"):
        read_folder(tmp_path)


@pytest.mark.parametrize("first", [8, 16])
def test_eight_and_sixteen_bits_are_not_mixed(tmp_path: Path, first: int) -> None:
    for name, bits in (("a.png", first), ("b.png", 24 - first)):
        Image.fromarray(LEVELS if bits == 16 else LEVELS.astype(np.uint8)).save(tmp_path / name)
    with pytest.raises(DataError, match=rf"'a\.png' has {first} bits per channel and 'b\.png' has {24 - first},"):
        read_folder(tmp_path)


def test_float_tiff_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match="32 bits"):
        read_folder(tmp_path)


def test_cmyk_is_refused(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4)).save(tmp_path / "print.jpg")
    with pytest.raises(DataError, match=r"'print\.jpg' is stored as CMYK; convert"):
        read_folder(tmp_path)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_partly_transparent_is_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "ghost.png")
    with pytest.raises(DataError, match=r"'ghost\.png' is partly transparent"):
        read_folder(tmp_path)


def test_a_transparent_palette_colour_is_refused(tmp_path: Path) -> None:
    Image.new("P", (4, 4)).save(tmp_path / "ghost.gif", transparency=0)
    with pytest.raises(DataError, match="partly transparent"):
        read_folder(tmp_path)


def test_animations_are_refused(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"'film\.gif' holds 2 frames"):
        read_folder(tmp_path)


def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _grey(tmp_path / "bomb.png", size=(64, 64))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    with pytest.raises(DataError, match=r"'bomb\.png' is 64x64, more than"):
        read_folder(tmp_path)
    for limit in (3000, 1000):  # Pillow warns above its limit and raises above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(DataError, match=r"'bomb\.png' claims to be larger"):
            read_folder(tmp_path)
