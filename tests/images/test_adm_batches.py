"""ADM's sample batches: ``arr_0`` holds images, and ``arr_1`` the labels of a class-conditional model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ldm_eval_images.arrays import read_npz
from ldm_eval_images.sources import npz_confidence
from numpy.typing import NDArray

from ldm_eval.errors import DataError

LABELS = np.array([3, 0, 999, 7, 7, 1, 2, 3, 4, 5, 6, 7])


def test_an_unconditional_batch_is_images(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    np.savez(tmp_path / "samples_12x9x7x3.npz", colours)
    found = read_npz(tmp_path / "samples_12x9x7x3.npz")
    np.testing.assert_array_equal(found.pixels, colours.transpose(0, 3, 1, 2))
    assert found.labels is None


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, ">i8"])
def test_the_labels_of_a_class_conditional_batch_are_read(
    tmp_path: Path, colours: NDArray[np.uint8], kind: Any
) -> None:
    path, labels = tmp_path / "s.npz", LABELS % 200
    np.savez(path, colours, labels.astype(kind))
    found = read_npz(path).labels
    assert found is not None
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, labels)


def test_a_reference_batch_with_its_statistics_is_images_too(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    """``VIRTUAL_imagenet256_labeled.npz``."""
    path = tmp_path / "VIRTUAL.npz"
    np.savez(path, arr_0=colours, mu=np.zeros(4), sigma=np.eye(4), mu_s=np.zeros(3), sigma_s=np.eye(3))
    assert npz_confidence(path) > 0.5
    assert read_npz(path).pixels.shape == (12, 3, 9, 7)


def test_labels_for_other_images_are_refused(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    np.savez(tmp_path / "s.npz", colours, LABELS[:5])
    with pytest.raises(DataError, match="12 images and 5 labels"):
        read_npz(tmp_path / "s.npz")
    np.savez(tmp_path / "s.npz", colours, np.full(12, 2**63, np.uint64))
    with pytest.raises(DataError, match="no 64-bit number"):
        read_npz(tmp_path / "s.npz")


@pytest.mark.parametrize("other", [np.zeros((12, 10), np.int64), np.zeros(12), np.array(["a"] * 12)])
def test_a_second_array_that_is_no_row_of_whole_numbers_is_left_alone(
    tmp_path: Path, colours: NDArray[np.uint8], other: NDArray[Any]
) -> None:
    np.savez(tmp_path / "s.npz", colours, other)
    assert read_npz(tmp_path / "s.npz").labels is None


def test_labels_inside_and_beside_must_agree(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    np.savez(tmp_path / "s.npz", colours, LABELS)
    rows = [f"{row},{label}" for row, label in enumerate(LABELS)]
    (tmp_path / "s.npz.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    np.testing.assert_array_equal(read_npz(tmp_path / "s.npz").labels, LABELS)
    (tmp_path / "s.npz.csv").write_text("\n".join(["id,label", *rows[:-1], "11,0"]) + "\n")
    with pytest.raises(DataError, match="remove one of them"):
        read_npz(tmp_path / "s.npz")
