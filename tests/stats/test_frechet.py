import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from scipy.special import bdtr

from ldm_eval.errors import DataError
from ldm_eval.stats.frechet import difference, frechet_distance, gaussian_frechet

SHAPES = [(300, 250, 20), (40, 30, 60), (300, 40, 60), (40, 300, 60), (60, 61, 60), (2, 5, 3)]
"""(n, m, d): both above d, both below, one of each, at the edge, tiny."""


def draw(n: int, m: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, d + 1) ** -0.5
    return rng.standard_normal((n, d)) * spectrum, 0.3 + rng.standard_normal((m, d)) @ (
        np.diag(spectrum) + 0.1 * rng.standard_normal((d, d)) / np.sqrt(d)
    )


def by_matrix_root(x: np.ndarray, y: np.ndarray) -> float:
    """The textbook form, with the root of a symmetric matrix taken twice."""
    s1, s2 = np.atleast_2d(np.cov(x.T)), np.atleast_2d(np.cov(y.T))
    values, vectors = linalg.eigh(s1)
    half = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    root = np.sqrt(np.maximum(linalg.eigvalsh(half @ s2 @ half), 0)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * root)


@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_equals_the_textbook_form(n: int, m: int, d: int) -> None:
    x, y = draw(n, m, d)
    # a rank-deficient S1^1/2 S2 S1^1/2 has null eigenvalues known to 1e-16, whose roots are 1e-8: the textbook's error
    tolerance = 1e-11 if min(n, m) > d + 1 else 1e-5
    assert frechet_distance(x, y).value == pytest.approx(by_matrix_root(x, y), rel=tolerance)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 30, 60), (40, 300, 60)])
def test_low_rank_root_is_the_nuclear_norm(n: int, m: int, d: int) -> None:
    x, y = draw(n, m, d)
    xc, yc = x - x.mean(0), y - y.mean(0)
    root = linalg.svdvals(xc @ yc.T).sum() / np.sqrt((n - 1) * (m - 1))
    expected = np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * root
    assert frechet_distance(x, y).covariance_term == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_identical_sets_are_at_zero(n: int, m: int, d: int) -> None:
    x, _ = draw(n, m, d)
    found = frechet_distance(x, x)
    assert found.value <= 1e-9 * float(np.trace(np.atleast_2d(np.cov(x.T))))
    assert 0.0 <= found.interval.low <= found.interval.high <= 1e-7


def test_singular_covariance_needs_no_jitter() -> None:
    x, y = draw(400, 300, 20)
    x[:, 3] = y[:, 3] = 7.0
    y[:, 5] = 2.0 * y[:, 4]
    keep = [i for i in range(20) if i != 3]
    assert frechet_distance(x, y).value == pytest.approx(frechet_distance(x[:, keep], y[:, keep]).value, rel=1e-11)


def test_collapsed_set_has_a_distance() -> None:
    _, y = draw(10, 300, 20)
    x = np.ones((100, 20))
    expected = ((1 - y.mean(0)) ** 2).sum() + np.trace(np.cov(y.T))
    assert frechet_distance(x, y).value == pytest.approx(expected, rel=1e-11)


def test_gaussians_approach_the_closed_form() -> None:
    rng = np.random.default_rng(5)
    d, n = 8, 200_000
    scale = np.linspace(0.5, 2.0, d)
    expected = gaussian_frechet(np.zeros(d), np.eye(d), np.full(d, 0.2), np.diag(scale**2))
    assert expected == pytest.approx(d * 0.04 + ((scale - 1) ** 2).sum())
    found = frechet_distance(rng.standard_normal((n, d)), 0.2 + scale * rng.standard_normal((n, d)))
    assert found.value == pytest.approx(expected, rel=0.02)
    assert found.interval.low <= expected <= found.interval.high


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 1000))
def test_symmetric_and_blind_to_order_and_rotation(shape: tuple[int, int, int], seed: int) -> None:
    x, y = draw(*shape, seed=seed)
    rng = np.random.default_rng(seed)
    rotation, _ = linalg.qr(rng.standard_normal((shape[2], shape[2])))
    found = frechet_distance(x, y)
    for other in (
        frechet_distance(y, x),
        frechet_distance(rng.permutation(x), rng.permutation(y)),
        frechet_distance(x @ rotation + 3.0, y @ rotation + 3.0),
    ):
        assert other.value == pytest.approx(found.value, rel=1e-8)
        assert other.standard_error == pytest.approx(found.standard_error, rel=1e-5)


def test_grows_with_the_shift() -> None:
    x, y = draw(200, 200, 10)
    values = [frechet_distance(x, y - y.mean(0) + x.mean(0) + shift).value for shift in (0.0, 0.1, 0.2, 0.5, 1.0)]
    assert values == sorted(values)
    assert values[3] - values[0] == pytest.approx(10 * 0.25)


@pytest.mark.parametrize(("n", "m", "d"), [(120, 100, 12), (25, 30, 60), (120, 20, 40)])
def test_influence_is_what_a_row_adds(n: int, m: int, d: int) -> None:
    # moving a little weight onto row i moves the distance by its influence: compare with leaving row i out
    x, y = draw(n, m, d)
    found = frechet_distance(x, y)
    assert abs(found.influence_x.mean()) < 1e-9
    left_out = np.array([found.value - frechet_distance(np.delete(x, i, 0), y).value for i in range(n)]) * (n - 1)
    left_out -= left_out.mean()
    assert np.corrcoef(left_out, found.influence_x)[0, 1] > (0.97 if n > d else 0.9)
    assert np.std(left_out) == pytest.approx(np.std(found.influence_x), rel=0.35)


@pytest.mark.parametrize(("d", "n", "shift", "decay"), [(24, 200, 0.3, 0.0), (48, 40, 0.3, 1.0), (24, 200, 0.0, 0.0)])
def test_interval_covers_the_expected_distance_at_this_n(d: int, n: int, shift: float, decay: float) -> None:
    rng = np.random.default_rng(11)
    scale = np.arange(1, d + 1) ** (-decay / 2)
    runs = [
        frechet_distance(rng.standard_normal((n, d)) * scale, (1 + shift) * rng.standard_normal((n, d)) * scale)
        for _ in range(100)
    ]
    expected = np.mean([run.value for run in runs])
    covered = sum(run.interval.low <= expected <= run.interval.high for run in runs)
    assert bdtr(covered, 100, 0.95) > 1e-3


def test_difference_of_equal_laws_is_zero_in_expectation_below_d() -> None:
    rng = np.random.default_rng(12)
    held = 0
    for _ in range(100):
        a, b, shared = (rng.standard_normal((40, 80)) for _ in range(3))
        found = difference(frechet_distance(a, shared), frechet_distance(b, shared), shared="y")
        held += found.interval.low <= 0.0 <= found.interval.high
    assert bdtr(held, 100, 0.95) > 1e-3


def test_difference_pairs_the_shared_rows() -> None:
    x, y = draw(200, 200, 10)
    one = frechet_distance(x, y)
    same = difference(one, one, shared="x")
    assert same.value == 0.0
    assert same.standard_error < difference(one, frechet_distance(x[::-1], y), shared="x").standard_error
    with pytest.raises(DataError, match="do not share 'x'"):
        difference(one, frechet_distance(x[:50], y), shared="x")


@pytest.mark.parametrize(("n", "d", "shrink"), [(200, 12, 0.7), (40, 60, 0.7), (200, 12, 1.3)])
def test_a_scaled_set_is_at_its_closed_form_from_itself_with_the_error_of_its_variance(
    n: int, d: int, shrink: float
) -> None:
    # y = a x exactly: the distance is (1 - a)^2 times the mean of |x - mu|^2 + |mu|^2, whose error needs no theory
    x, _ = draw(n, 10, d)
    found = frechet_distance(x, shrink * x, paired=True)
    centred = np.square(x - x.mean(0)).sum(1)
    assert found.value == pytest.approx(
        (1 - shrink) ** 2 * (centred.sum() / (n - 1) + (x.mean(0) ** 2).sum()), rel=1e-9
    )
    per_row = (1 - shrink) ** 2 * (centred + 2 * (x - x.mean(0)) @ x.mean(0))
    assert found.standard_error == pytest.approx(per_row.std(ddof=1) / np.sqrt(n), rel=1e-6)
    assert frechet_distance(x, shrink * x).standard_error > 2 * found.standard_error


@pytest.mark.parametrize(("d", "n", "shrink", "noise"), [(24, 200, 0.8, 0.0), (24, 200, 0.8, 0.3), (48, 40, 1.0, 0.3)])
def test_paired_interval_covers_the_expected_distance_and_is_not_idle(
    d: int, n: int, shrink: float, noise: float
) -> None:
    rng = np.random.default_rng(13)
    runs = []
    for _ in range(100):
        x, e = rng.standard_normal((2, n, d))
        runs.append(frechet_distance(x, shrink * x + noise * e, paired=True))
    values = np.array([run.value for run in runs])
    covered = sum(run.interval.low <= values.mean() <= run.interval.high for run in runs)
    assert bdtr(covered, 100, 0.95) > 1e-3
    assert np.mean([run.standard_error for run in runs]) < 1.6 * values.std(ddof=1)


def test_identical_pairs_are_at_zero_with_no_error() -> None:
    x, _ = draw(200, 10, 12)
    found = frechet_distance(x, x, paired=True)
    assert found.value <= 1e-9
    assert found.standard_error <= 1e-9
    assert "paired" in found.interval.estimator


def test_pairs_of_different_sizes_are_refused() -> None:
    x, y = draw(50, 40, 5)
    with pytest.raises(DataError, match="50 and 40 rows"):
        frechet_distance(x, y, paired=True)


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), "N >= 2"),
        (np.zeros((5, 3)), np.zeros((5, 4)), "3 and 4 dimensions"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), "first feature set holds values that are not finite"),
        (np.zeros((5, 3)), np.full((5, 3), np.inf), "second feature set"),
        (np.zeros(5), np.zeros(5), "shape"),
    ],
)
def test_bad_input_is_refused_by_name(x: np.ndarray, y: np.ndarray, match: str) -> None:
    with pytest.raises(DataError, match=match):
        frechet_distance(x, y)
