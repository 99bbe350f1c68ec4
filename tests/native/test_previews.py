from pathlib import Path

import numpy as np
import pytest
import torch
from ldm_eval_native.previews import write_grid
from PIL import Image

from ldm_eval.diffusion.quantise import to_float
from ldm_eval.errors import ModelError


def _images(count: int, channels: int, side: int) -> tuple[np.ndarray, torch.Tensor]:
    pixels = np.random.default_rng(3).integers(0, 256, (count, channels, side, side), dtype=np.uint8)
    return pixels, to_float(pixels)


def _sheet(folder: Path) -> np.ndarray:
    with Image.open(folder / "grid.png") as image:
        return np.asarray(image)


def test_every_pixel_is_enlarged_by_a_whole_factor(tmp_path):
    pixels, images = _images(5, 3, 8)
    write_grid(images, tmp_path / "grid.png", 2)
    sheet = _sheet(tmp_path)
    assert sheet.shape == (3 * 96 + 4, 2 * 96 + 2, 3)
    fourth = sheet[98 : 98 + 96, 98 : 98 + 96]  # second row, second column
    np.testing.assert_array_equal(fourth[5::12, 5::12], pixels[3].transpose(1, 2, 0))
    assert (sheet[-96:, -96:] == 255).all()  # the empty place


def test_grey_images_stay_grey_and_large_ones_keep_their_size(tmp_path):
    pixels, images = _images(2, 1, 100)
    write_grid(images, tmp_path / "grid.png", 8)
    sheet = _sheet(tmp_path)
    assert sheet.shape == (100, 202)
    np.testing.assert_array_equal(sheet[:, 102:], pixels[1, 0])


def test_equal_images_give_equal_bytes(tmp_path):
    _, images = _images(3, 3, 8)
    for name in ("a.png", "b.png"):
        write_grid(images, tmp_path / name, 3)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("images", "columns"),
    [
        (torch.zeros(0, 1, 4, 4), 2),
        (torch.zeros(1, 2, 4, 4), 2),
        (torch.zeros(1, 4, 4), 2),
        (torch.zeros(1, 1, 4, 4), 0),
        (torch.full((1, 1, 4, 4), torch.nan), 2),
    ],
)
def test_what_cannot_be_shown_is_refused(images, columns, tmp_path):
    with pytest.raises(ModelError):
        write_grid(images, tmp_path / "grid.png", columns)
    assert list(tmp_path.iterdir()) == []
