from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ldm_eval.api import SampleRequest, SamplingSettings
from ldm_eval.errors import StoreError
from ldm_eval.store.samples import BLOCK_SIZE, SampleStore, first_images

REQUESTS = tuple(SampleRequest(i, 1000 + i, SamplingSettings("ddim", 5)) for i in range(BLOCK_SIZE + 10))
PIXELS: NDArray[np.uint8] = np.random.Generator(np.random.PCG64(0)).integers(
    0, 256, (len(REQUESTS), 3, 4, 5), dtype=np.uint8
)


def filled(folder: Path) -> SampleStore:
    store = SampleStore(folder, REQUESTS, "weights")
    store.write(0, PIXELS[:BLOCK_SIZE])
    store.write(1, PIXELS[BLOCK_SIZE:])
    store.seal()
    return store


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert not store.missing()
    assert np.array_equal(store.images().pixels, PIXELS)
    assert store.images().shape == (3, 4, 5)
    assert store.images(channels=1).shape == (1, 4, 5)


def test_shards_are_npz_with_the_key_and_layout_of_the_field(tmp_path: Path) -> None:
    filled(tmp_path)
    with np.load(sorted(tmp_path.glob("000000-*.npz"))[0]) as shard:
        assert shard["arr_0"].shape == (BLOCK_SIZE, 4, 5, 3)
        assert shard["arr_0"].dtype == np.uint8


def test_the_table_names_id_seed_and_digest_of_every_sample(tmp_path: Path) -> None:
    rows = filled(tmp_path).table()
    assert [row.sample_id for row in rows] == list(range(len(REQUESTS)))
    assert rows[3].seed == 1003
    assert len({row.sha256 for row in rows}) == len(REQUESTS)


def test_other_requests_or_weights_never_find_these_images(tmp_path: Path) -> None:
    filled(tmp_path)
    other = tuple(SampleRequest(i, 1000 + i, SamplingSettings("ddim", 6)) for i in range(len(REQUESTS)))
    assert SampleStore(tmp_path, other, "weights").missing() == [0, 1]
    assert SampleStore(tmp_path, REQUESTS, "other weights").missing() == [0, 1]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "swap"])
def test_a_damaged_shard_counts_as_missing(tmp_path: Path, damage: str) -> None:
    store = filled(tmp_path)
    first = sorted(tmp_path.glob("000000-*.npz"))[0]
    content = bytearray(first.read_bytes())
    if damage == "truncate":
        first.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        first.write_bytes(content)
    elif damage == "empty":
        first.write_bytes(b"")
    else:
        with np.load(first) as shard:
            np.savez(first, arr_0=shard["arr_0"][::-1], sha256=shard["sha256"])
    assert store.missing() == [0]
    with pytest.raises(StoreError, match="missing or damaged"):
        store.images()


def test_the_first_images_are_found_by_the_manifest_alone(tmp_path: Path) -> None:
    filled(tmp_path)
    found = first_images(tmp_path, 5)
    assert found is not None
    assert np.array_equal(found, PIXELS[:5])
    assert first_images(tmp_path / "elsewhere", 5) is None
