import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldm_eval.api import ImageSet
from ldm_eval.diffusion.quantise import to_float, to_uint8
from ldm_eval.errors import ModelError


def test_all_256_levels_survive_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_uint8(to_float(levels)), levels)
    assert torch.equal(to_uint8(to_float(levels.numpy())), levels)
    assert to_float(levels).min() == -1.0
    assert to_float(levels).max() == 1.0


@given(st.floats(-3, 3, width=32))
def test_the_nearest_level_is_chosen(value):
    found = to_uint8(torch.full((1, 1, 1, 1), value)).item()
    exact = min(max((value + 1) * 127.5, 0), 255)
    assert abs(found - exact) <= 0.5 + 1e-4


def test_rounding_has_no_bias():
    values = torch.linspace(-1, 1, 100_001, dtype=torch.float32).reshape(1, 1, 1, -1)
    assert abs((to_float(to_uint8(values)) - values).mean().item()) < 1e-5


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_no_numbers_are_refused_and_counted(bad):
    images = torch.zeros(5, 1, 2, 2)
    images[3, 0, 1, 1] = bad
    with pytest.raises(ModelError, match="1 of 5"):
        to_uint8(images)


@pytest.mark.parametrize("images", [torch.zeros(1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.uint8)])
def test_other_shapes_and_types_are_refused(images):
    with pytest.raises(ModelError):
        to_uint8(images)


def test_the_65536_levels_of_16_bits_fill_the_same_range():
    levels = np.arange(65536, dtype=np.uint16).reshape(1, 1, 256, 256)
    floats = to_float(levels)
    assert (floats.min(), floats.max()) == (-1.0, 1.0)
    assert np.array_equal(((floats.double() + 1) * 32767.5).round().numpy(), levels)
    assert torch.equal(to_float(torch.from_numpy(levels)), floats)


def test_there_is_one_way_from_16_bits_to_8():
    levels = np.arange(65536, dtype=np.uint16).reshape(1, 1, 256, 256)
    stored = ImageSet("levels", "", levels, ("0",), "").eight_bit().pixels
    assert np.array_equal(stored, np.rint(levels / 257.0))
    assert np.array_equal(stored, to_uint8(to_float(levels)).numpy())


def test_only_stored_types_are_read_back():
    with pytest.raises(ModelError, match="float64"):
        to_float(np.zeros((1, 1, 2, 2)))


def test_a_read_only_memory_map_is_read(tmp_path):
    np.save(tmp_path / "x.npy", np.full((2, 1, 3, 3), 255, np.uint8))
    assert bool((to_float(np.load(tmp_path / "x.npy", mmap_mode="r")) == 1).all())
