import numpy as np
import pytest

from ldm_eval.errors import DataError
from ldm_eval.stats.duplicates import find_duplicates
from ldm_eval.stats.neighbours import nearest


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


def all_pairs(images, near, mirrored):
    """Brute force: components of every pair within ``near``."""
    flat = images.reshape(len(images), -1).astype(float)
    views = [flat] + ([images[..., ::-1].reshape(len(images), -1).astype(float)] if mirrored else [])
    groups = list(range(len(images)))
    for view in views:
        for i, j in np.argwhere(np.sqrt(np.square(view[:, None] - flat[None]).mean(axis=2)) <= near):
            old, new = groups[i], groups[j]
            groups = [new if group == old else group for group in groups]
    order = {group: at for at, group in enumerate(dict.fromkeys(groups))}
    return [order[group] for group in groups]


@pytest.mark.parametrize("mirrored", [False, True])
def test_crowds_chains_and_loners_fall_into_the_groups_of_all_pairs(mirrored):
    rng = np.random.default_rng(1)
    centres = rng.integers(20, 230, size=(3, 1, 4, 4))
    crowds = [np.clip(one + rng.integers(-9, 10, size=(90, 1, 4, 4)), 0, 255) for one in centres]
    bridge = np.linspace(centres[0], centres[1], 40)
    images = np.concatenate([*crowds, bridge, rng.integers(0, 256, size=(30, 1, 4, 4))]).astype(np.uint8)
    images = images[rng.permutation(len(images))]
    images[::3] = images[::3, ..., ::-1]
    found = find_duplicates(images, near=7.0, mirrored=mirrored)
    assert found.group.tolist() == all_pairs(images, 7.0, mirrored)
    assert found.multiplicity.max() > 64


def test_mirror_images_are_one_image_only_where_that_is_asked_for():
    images = noise(6)
    both = np.concatenate([images, images[:2, ..., ::-1]])
    assert find_duplicates(both, near=4.0).unique == 8
    assert find_duplicates(both, near=4.0, mirrored=True).group.tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert find_duplicates(both, near=0.0, mirrored=True).unique == 6


def test_a_set_that_is_all_one_crowd_is_never_asked_for_all_its_pairs(monkeypatch):
    asked = []

    def recorded(queries, index, k):
        asked.append(len(queries) * k)
        return nearest(queries, index, k)

    monkeypatch.setattr("ldm_eval.stats.duplicates.nearest", recorded)
    rng = np.random.default_rng(0)
    images = rng.integers(100, 103, size=(1000, 1, 8, 8)).astype(np.uint8)
    assert find_duplicates(images, near=4.0).unique == 1
    assert max(asked) <= 64 * len(images)
    assert len(asked) <= 8
