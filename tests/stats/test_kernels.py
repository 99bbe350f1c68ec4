import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr, bdtrc

from ldm_eval.errors import DataError
from ldm_eval.stats import kernels
from ldm_eval.stats.kernels import (
    GaussianKernel,
    kernel_distance,
    kernel_permutation_p_value,
    polynomial_mmd_of_gaussians,
    unit_rows,
)
from ldm_eval.stats.paired import Contributed, contributed_variance, paired_difference


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


def cmmd_by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """1000 MMD^2, bandwidth 10, every pair counted: as the published code has it."""

    def mean_kernel(a: np.ndarray, b: np.ndarray) -> float:
        squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
        return float(np.exp(-squares / 200.0).mean())

    return 1000.0 * (mean_kernel(x, x) + mean_kernel(y, y) - 2.0 * mean_kernel(x, y))


@pytest.mark.parametrize(("n", "m", "d"), [(40, 60, 12), (100, 80, 768)])
def test_the_biased_gaussian_distance_is_the_published_one(n: int, m: int, d: int) -> None:
    x, y = (unit_rows(rows.astype(np.float32)) for rows in draw(n, m, d, 0.3))
    found = kernel_distance(x, y, kernel=GaussianKernel(10.0))
    expected = cmmd_by_definition(x.astype(np.float64), y.astype(np.float64))
    assert 1000 * found.biased == pytest.approx(expected, rel=1e-6)
    assert found.value < found.biased


def test_points_at_an_angle_have_the_gaussian_distance_of_that_angle() -> None:
    for angle in (0.3, 1.0, 2.5):
        x = np.tile([1.0, 0.0], (10, 1))
        y = np.tile([np.cos(angle), np.sin(angle)], (12, 1))
        found = kernel_distance(x, y, kernel=GaussianKernel(10.0))
        exact = 2.0 - 2.0 * np.exp(-(1.0 - np.cos(angle)) / 100.0)
        assert found.value == pytest.approx(exact, rel=1e-9)
        assert found.biased == pytest.approx(exact, rel=1e-9)
        assert found.standard_error == pytest.approx(0.0, abs=1e-8)


def test_the_published_polynomial_distance_of_a_set_to_itself_is_zero() -> None:
    x, _ = draw(50, 50, 8)
    for kernel, rows in ((kernels.CUBIC, x), (GaussianKernel(), unit_rows(x))):
        assert kernel_distance(rows, rows, kernel=kernel).biased == pytest.approx(0.0, abs=1e-10)


def test_unit_rows_have_length_one_and_rows_of_zeros_are_refused() -> None:
    x = draw(30, 30, 5)[0].astype(np.float32) * 1e3
    assert np.allclose(np.linalg.norm(unit_rows(x), axis=1), 1.0, atol=1e-6)
    x[7] = 0
    with pytest.raises(DataError, match="first: row 7"):
        unit_rows(x)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_contributions_have_the_first_order_variance_and_twice_the_second(shift: float) -> None:
    found = kernel_distance(*draw(150, 220, 16, shift))
    variance = contributed_variance(found.influence_x) + contributed_variance(found.influence_y)
    assert variance == pytest.approx(found.first_order + 2.0 * found.second_order, rel=0.02)
    assert variance >= 0.999 * found.standard_error**2


@pytest.mark.parametrize("kernel", [kernels.CUBIC, GaussianKernel(10.0)], ids=["cubic", "gaussian"])
@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_two_models_on_shared_noise_differ_by_what_the_paired_interval_says(
    kernel: kernels.Kernel, shift: float
) -> None:
    # the second model is the first, shifted a little more; both share seeds and reference
    values, errors, unpaired = [], [], []
    for seed in range(120):
        rng = np.random.default_rng((seed, 9))
        noise, real = rng.standard_normal((2, 120, 12))
        sets = [1.0 + shift + noise, 1.0 + shift + 0.1 + noise + 0.2 * rng.standard_normal(noise.shape), 1.0 + real]
        if isinstance(kernel, GaussianKernel):
            sets = [unit_rows(one) for one in sets]
        one, other = (kernel_distance(samples, sets[2], kernel=kernel) for samples in sets[:2])
        first, second = (
            Contributed(each.value, {"samples": each.influence_x, "reference": each.influence_y})
            for each in (one, other)
        )
        found = paired_difference(first, second, ("samples", "reference"))
        values.append(found.value)
        errors.append(found.standard_error)
        unpaired.append(found.unpaired_error)
    ratio = float(np.sqrt(np.mean(np.square(errors))) / np.std(values, ddof=1))
    assert 0.85 < ratio < 1.6  # near the null up to sqrt(2): the second order counts twice
    assert np.mean(unpaired) > 1.2 * np.mean(errors)
