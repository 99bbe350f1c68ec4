"""Statistics of other people's tools are read; what no features can have is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ldm_eval.api import ExtractorInfo, Features, ImageSet
from ldm_eval.errors import DataError
from ldm_eval.store.reference import write_reference
from ldm_eval.store.statistics import read_statistics

Array = NDArray[Any]


def _moments(d: int, seed: int = 0) -> tuple[Array, Array]:
    rows = np.random.default_rng(seed).normal(1.0, 2.0, size=(4 * d, d))
    return rows.mean(0), np.cov(rows, rowvar=False)


def test_mu_and_sigma_of_pytorch_fid_and_clean_fid(tmp_path: Path) -> None:
    mean, covariance = _moments(8)
    np.savez_compressed(tmp_path / "cifar10_cleanfid_train_32.npz", mu=mean, sigma=covariance)
    (found,) = read_statistics(tmp_path / "cifar10_cleanfid_train_32.npz")
    np.testing.assert_array_equal(found.mean, mean)
    np.testing.assert_array_equal(found.covariance, covariance)
    assert (found.n, found.fingerprint, len(found.digest)) == (None, "", 64)


def test_both_pairs_of_an_adm_reference_batch(tmp_path: Path) -> None:
    """``VIRTUAL_imagenet256_labeled.npz`` holds images, pool statistics and spatial statistics."""
    path, pool, spatial = tmp_path / "VIRTUAL.npz", _moments(8), _moments(5, 1)
    images = np.zeros((3, 4, 4, 3), np.uint8)
    np.savez(path, arr_0=images, mu=pool[0], sigma=pool[1], mu_s=spatial[0], sigma_s=spatial[1])
    assert [len(one.mean) for one in read_statistics(path)] == [8, 5]


def test_float32_sums_are_made_symmetric(tmp_path: Path) -> None:
    mean, covariance = _moments(8)
    narrow = covariance.astype(np.float32)
    narrow[0, 1] *= np.float32(1 + 1e-6)
    np.savez(tmp_path / "s.npz", mu=mean.astype(np.float32), sigma=np.asfortranarray(narrow))
    (found,) = read_statistics(tmp_path / "s.npz")
    np.testing.assert_array_equal(found.covariance, found.covariance.T)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-5, atol=1e-6)
    assert found.covariance.dtype == np.float64


def test_our_own_files_say_the_extractor_and_n(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    images = ImageSet("x", "", np.zeros((30, 1, 2, 2), np.uint8), tuple(map(str, range(30))), "ee" * 32)
    info = ExtractorInfo("tiny", "ab" * 32, 4, None, "none", "MIT")
    write_reference(tmp_path / "r.npz", images, [(info, Features(values))], {}, statistics_only=True)
    (found,) = read_statistics(tmp_path / "r.npz")
    assert (found.n, found.fingerprint) == (30, info.fingerprint)
    np.testing.assert_allclose(found.mean, values.mean(0, dtype=np.float64), rtol=1e-12)


def _nan(mean: Array, covariance: Array) -> dict[str, Array]:
    covariance[1, 1] = np.nan
    return {"mu": mean, "sigma": covariance}


def _asymmetric(mean: Array, covariance: Array) -> dict[str, Array]:
    covariance[0, 3] += 0.5
    return {"mu": mean, "sigma": covariance}


def _negative(mean: Array, covariance: Array) -> dict[str, Array]:
    covariance[2, 2] = -1.0
    return {"mu": mean, "sigma": covariance}


def _beyond_variance(mean: Array, covariance: Array) -> dict[str, Array]:
    covariance[0, 1] = covariance[1, 0] = 100.0
    return {"mu": mean, "sigma": covariance}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_nan, "not finite"),
        (_asymmetric, "differs from its transpose"),
        (_negative, "no features have these"),
        (_beyond_variance, "no features have these"),
        (lambda m, c: {"mu": m, "sigma": c[:, :4]}, r"\(8,\) and \(8, 4\)"),
        (lambda m, c: {"mu": m[:5], "sigma": c}, r"\(5,\) and \(8, 8\)"),
        (lambda m, c: {"mu": m}, "no covariance 'sigma'"),
        (lambda m, c: {"mean": m, "cov": c}, "holds 'mean', 'cov', and no statistics"),
        (lambda m, c: {"arr_0": np.zeros((2, 4, 4), np.uint8)}, "name the file with --reference"),
        (lambda m, c: {"mu": m, "sigma": np.array([[{}]], dtype=object)}, "pickles are never read"),
        (lambda m, c: {"mu": m.astype(int), "sigma": c}, "expected floats"),
        (lambda m, c: {"mu": m[None, None], "sigma": c}, "expected floats"),
    ],
)
def test_what_no_features_can_have_is_refused(tmp_path: Path, spoil: Any, says: str) -> None:
    path = tmp_path / "s.npz"
    np.savez(path, **spoil(*_moments(8)))
    with pytest.raises(DataError, match=says):
        read_statistics(path)


def test_a_promise_of_more_than_can_be_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    np.savez_compressed(path, mu=np.zeros(1 << 15), sigma=np.zeros((1, 1)))
    with pytest.raises(DataError, match="D at most 16384"):
        read_statistics(path)


def test_folders_pickles_and_cut_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        read_statistics(tmp_path)
    with pytest.raises(DataError, match="There is no file"):
        read_statistics(tmp_path / "none.npz")
    path = tmp_path / "s.npz"
    path.write_bytes(pickle.dumps({"mu": 0}))
    with pytest.raises(DataError, match="is a pickle"):
        read_statistics(path)
    np.savez(path, mu=_moments(8)[0], sigma=_moments(8)[1])
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match="cut off or damaged"):
        read_statistics(path)
    path.write_text("mu sigma")
    with pytest.raises(DataError, match="is no npz file"):
        read_statistics(path)
