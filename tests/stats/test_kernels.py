import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr, bdtrc

from ldm_eval.errors import DataError
from ldm_eval.stats import kernels
from ldm_eval.stats.kernels import kernel_distance, kernel_permutation_p_value, polynomial_mmd_of_gaussians


def draw(n: int, m: int, d: int, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), shift + rng.standard_normal((m, d))


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    n, m, d = len(x), len(y), x.shape[1]
    kernel = lambda a, b: (a @ b.T / d + 1.0) ** 3  # noqa: E731
    xx, yy = kernel(x, x), kernel(y, y)
    return float(
        (xx.sum() - np.trace(xx)) / (n * (n - 1))
        + (yy.sum() - np.trace(yy)) / (m * (m - 1))
        - 2.0 * kernel(x, y).mean()
    )


@pytest.mark.parametrize(("n", "m", "d"), [(30, 40, 7), (4, 4, 50), (200, 100, 64)])
def test_equals_the_definition(n: int, m: int, d: int) -> None:
    x, y = draw(n, m, d, 0.3)
    assert kernel_distance(x, y).value == pytest.approx(by_definition(x, y), rel=1e-11)


@pytest.mark.filterwarnings("ignore")
def test_equals_torchmetrics_with_one_subset_of_everything() -> None:
    import torch
    from torchmetrics.image.kid import poly_mmd

    x, y = draw(120, 120, 64, 0.2)
    theirs = float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y)))
    assert kernel_distance(x, y).value == pytest.approx(theirs, rel=1e-9)


def test_float32_products_agree_with_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = (np.abs(rng.standard_normal((600, 1280))).astype(np.float32) for _ in range(2))
    exact = kernel_distance(x, y)
    monkeypatch.setattr(kernels, "_EXACT_PAIRS", 0)
    fast = kernel_distance(x, y)
    kernel_size = float(((x[0] @ x[1]) / 1280 + 1) ** 3)
    assert abs(fast.value - exact.value) < 1e-7 * kernel_size
    assert abs(fast.value - exact.value) < 0.05 * exact.standard_error


def test_chunks_do_not_change_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = draw(3000, 2900, 3, 0.1)
    monkeypatch.setattr(kernels, "_EXACT_PAIRS", 10**9)
    assert kernel_distance(x, y).value == pytest.approx(by_definition(x, y), rel=1e-10)


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 40), st.integers(4, 40), st.integers(1, 20), st.integers(0, 1000))
def test_symmetric_and_blind_to_order(n: int, m: int, d: int, seed: int) -> None:
    x, y = draw(n, m, d, 0.2, seed)
    found = kernel_distance(x, y)
    rng = np.random.default_rng(seed)
    for other in (kernel_distance(y, x), kernel_distance(rng.permutation(x), rng.permutation(y))):
        assert other.value == pytest.approx(found.value, rel=1e-9, abs=1e-12)
        assert other.standard_error == pytest.approx(found.standard_error, rel=1e-6)


def test_grows_with_the_shift_and_may_be_negative() -> None:
    x, y = draw(300, 300, 16)
    values = [kernel_distance(x, y + shift).value for shift in (0.0, 0.2, 0.5, 1.0)]
    assert values == sorted(values)
    assert min(kernel_distance(*draw(100, 100, 16, seed=seed)).value for seed in range(10)) < 0.0


@pytest.mark.parametrize(("n", "m", "shift"), [(100, 100, 0.0), (100, 200, 0.3), (60, 60, 0.5)])
def test_unbiased_and_covers_the_closed_form(n: int, m: int, shift: float) -> None:
    d, seeds = 16, 200
    truth = polynomial_mmd_of_gaussians(np.zeros(d), np.full(d, shift))
    runs = [kernel_distance(*draw(n, m, d, shift, seed)) for seed in range(seeds)]
    values = np.array([run.value for run in runs])
    assert abs(values.mean() - truth) < 4.0 * values.std() / np.sqrt(seeds)
    errors = np.array([run.standard_error for run in runs])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.2)
    covered = sum(run.interval.low <= truth <= run.interval.high for run in runs)
    # nominal 0.95; measured between 0.91 (just off the null, where the error follows the estimate) and 0.99
    assert bdtr(covered, seeds, 0.91) > 1e-3


def test_interval_rarely_excludes_zero_from_below_on_the_null() -> None:
    alarms = sum(kernel_distance(*draw(80, 80, 16, seed=seed)).interval.low > 0 for seed in range(300))
    assert bdtrc(alarms - 1, 300, 0.05) > 1e-3


def test_permutation_p_value_is_uniform_on_the_null_and_small_off_it() -> None:
    def p_value(shift: float, seed: int) -> float:
        x, y = draw(40, 60, 8, shift, seed)
        return kernel_permutation_p_value(x, y, permutations=99, rng=np.random.default_rng(seed))

    below = sum(p_value(0.0, seed) <= 0.1 for seed in range(200))
    assert bdtr(below, 200, 0.1) > 1e-3
    assert bdtrc(below - 1, 200, 0.1) > 1e-3
    assert p_value(1.0, 0) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (np.zeros((3, 3)), np.zeros((5, 3)), "N >= 4"),
        (np.zeros((5, 3)), np.zeros((5, 4)), "3 and 4 dimensions"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), "first feature set holds values that are not finite"),
    ],
)
def test_bad_input_is_refused_by_name(x: np.ndarray, y: np.ndarray, match: str) -> None:
    with pytest.raises(DataError, match=match):
        kernel_distance(x, y)
