import numpy as np
import pytest

from ldm_eval.errors import DataError
from ldm_eval.stats.duplicates import find_duplicates


def noise(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(n, 1, 8, 8), dtype=np.uint8)


def test_equal_images_are_one_group_whatever_their_order():
    images = noise(20)
    found = find_duplicates(images[[3, 1, 3, 0, 1, 3]], near=0)
    assert found.representatives.tolist() == [0, 1, 3]
    assert found.group.tolist() == [0, 1, 0, 2, 1, 0]
    assert found.multiplicity.tolist() == [3, 2, 1]
    assert (found.exact, found.near, found.unique) == (3, 0, 3)


def test_near_duplicates_join_within_the_stated_difference_and_not_beyond():
    image = np.full((1, 1, 8, 8), 100, dtype=np.uint8)
    images = np.concatenate([image, image + 3, image + 20, noise(3)])
    found = find_duplicates(images, near=3.0)
    assert found.multiplicity.tolist() == [2, 1, 1, 1, 1]
    assert (found.exact, found.near) == (0, 1)
    assert find_duplicates(images, near=2.99).unique == 6


def test_groups_are_connected_components():
    chain = np.stack([np.full((1, 8, 8), 10 + 2 * i, dtype=np.uint8) for i in range(30)])
    found = find_duplicates(chain, near=2.0)
    assert found.unique == 1
    assert found.near == 29
    assert find_duplicates(chain, near=1.9).unique == 30


def test_more_duplicates_than_one_look_can_list_are_all_found():
    rng = np.random.default_rng(0)
    image = rng.integers(20, 230, size=(1, 1, 8, 8))
    crowd = np.clip(image + rng.integers(-1, 2, size=(150, 1, 8, 8)), 0, 255).astype(np.uint8)
    images = np.concatenate([noise(40), crowd])
    found = find_duplicates(images, near=4.0)
    assert found.unique == 41
    assert found.multiplicity[-1] == 150


def test_a_single_image_is_its_own_group_and_none_is_refused():
    assert find_duplicates(noise(1), near=4.0).unique == 1
    with pytest.raises(DataError, match="empty"):
        find_duplicates(noise(0), near=4.0)
