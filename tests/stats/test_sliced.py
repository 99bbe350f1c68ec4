import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.special import bdtr, bdtrc

from ldm_eval.errors import DataError
from ldm_eval.stats import sliced
from ldm_eval.stats.sliced import SlicedDifference, difference, sliced_distance, unit_directions


def draw(n: int, d: int, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    samples, real, other = rng.standard_normal((3, n, d))
    return samples + shift, real, other


def test_equals_optimal_assignments_along_the_directions() -> None:
    x, y, _ = draw(40, 5, 0.4)
    directions = unit_directions(6, 5, np.random.default_rng(1))
    costs = []
    for direction in directions:
        cost = np.square((x @ direction)[:, None] - (y @ direction)[None, :])
        costs.append(15.0 * cost[linear_sum_assignment(cost)].mean())
    found = sliced_distance(x, y, directions)
    np.testing.assert_allclose(found.by_direction, costs, rtol=1e-10)
    assert found.value == pytest.approx(np.mean(costs), rel=1e-12)


def test_a_shifted_copy_is_three_d_mu_squared_apart() -> None:
    d, mu = 12, 0.7
    x, _, _ = draw(50, d)
    # orthonormal directions: the mean over them is the mean over the sphere, for a shift
    found = sliced_distance(x + mu, x, np.eye(d))
    assert found.value == pytest.approx(3.0 * d * mu**2, rel=1e-12)
    many = sliced_distance(x + mu, x, unit_directions(20_000, d, np.random.default_rng(0)))
    assert many.value == pytest.approx(3.0 * d * mu**2, rel=0.03)
    assert many.interval.low <= 3.0 * d * mu**2 <= many.interval.high


def test_one_dimension_has_no_directions_to_choose() -> None:
    x, y, _ = draw(30, 1, 0.5)
    expected = 3.0 * float(np.square(np.sort(x[:, 0]) - np.sort(y[:, 0])).mean())
    found = sliced_distance(x, y, unit_directions(10, 1, np.random.default_rng(0)))
    np.testing.assert_allclose(found.by_direction, expected, rtol=1e-12)


def test_directions_are_uniform_on_the_sphere() -> None:
    directions = unit_directions(20_000, 4, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(directions.mean(axis=0), 0.0, atol=0.02)
    np.testing.assert_allclose(directions.T @ directions / 20_000, np.eye(4) / 4, atol=0.01)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12), st.integers(0, 1000))
def test_symmetric_blind_to_order_and_zero_on_equal_sets(n: int, d: int, seed: int) -> None:
    x, y, _ = draw(n, d, 0.2, seed)
    rng = np.random.default_rng(seed)
    directions = unit_directions(7, d, rng)
    found, turned = sliced_distance(x, y, directions), sliced_distance(y, x, directions)
    assert turned.value == pytest.approx(found.value, rel=1e-12)
    np.testing.assert_allclose(turned.influence_x, found.influence_y, atol=1e-9)
    order = rng.permutation(n)
    shuffled = sliced_distance(x[order], y, directions)
    assert shuffled.value == pytest.approx(found.value, rel=1e-12)
    np.testing.assert_allclose(shuffled.influence_x, found.influence_x[order], atol=1e-9)
    same = sliced_distance(x, rng.permutation(x), directions)
    assert same.value == pytest.approx(0.0, abs=1e-20)
    assert same.interval.high == pytest.approx(0.0, abs=1e-9)


def test_chunks_of_directions_and_rows_do_not_change_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _ = draw(60, 8, 0.1)
    directions = unit_directions(50, 8, np.random.default_rng(0))
    whole = sliced_distance(x, y, directions)
    monkeypatch.setattr(sliced, "_CELLS", 180)
    monkeypatch.setattr(sliced, "_ROWS", 7)
    parts = sliced_distance(x, y, directions)
    assert parts.value == pytest.approx(whole.value, rel=1e-12)
    np.testing.assert_allclose(parts.influence_x, whole.influence_x, atol=1e-10)


def test_influence_is_the_change_when_a_row_moves() -> None:
    # moving row i by e moves the distance by grad . e / n, and its potential by grad . e
    x, y, _ = draw(80, 3, 0.5)
    directions = unit_directions(30, 3, np.random.default_rng(0))
    base = sliced_distance(x, y, directions)
    for row in (0, 5, 40):
        moved = x.copy()
        moved[row] += 1e-5
        found = sliced_distance(moved, y, directions)
        change = 80.0 * (found.value - base.value)
        potential = (found.influence_x - base.influence_x)[row]
        assert potential == pytest.approx(change, rel=0.15, abs=2e-5)


def excess(n: int, d: int, shift: float, seed: int) -> SlicedDifference:
    samples, real, other = draw(n, d, shift, seed)
    directions = unit_directions(100, d, np.random.default_rng((seed, 1)))
    return difference(sliced_distance(samples, other, directions), sliced_distance(real, other, directions), shared="y")


@pytest.mark.parametrize(("n", "d", "shift"), [(100, 8, 0.3), (60, 80, 0.2)])
def test_excess_is_unbiased_and_covers_the_closed_form(n: int, d: int, shift: float) -> None:
    seeds, truth = 150, 3.0 * d * shift**2
    runs = [excess(n, d, shift, seed) for seed in range(seeds)]
    values = np.array([run.value for run in runs])
    assert abs(values.mean() - truth) < 4.0 * values.std() / np.sqrt(seeds)
    covered = sum(run.interval.low <= truth <= run.interval.high for run in runs)
    assert bdtr(covered, seeds, 0.95) > 1e-3


def test_excess_of_another_draw_is_zero_and_rarely_above() -> None:
    runs = [excess(60, 20, 0.0, seed) for seed in range(150)]
    values = np.array([run.value for run in runs])
    assert abs(values.mean()) < 4.0 * values.std() / np.sqrt(len(runs))
    alarms = sum(run.interval.low > 0.0 for run in runs)
    assert bdtrc(alarms - 1, len(runs), 0.05) > 1e-3


def test_grows_with_shift_and_with_lost_spread() -> None:
    x, y, _ = draw(300, 10)
    directions = unit_directions(50, 10, np.random.default_rng(0))
    for moved in ([x + shift for shift in (0.0, 0.3, 0.6)], [x * scale for scale in (1.0, 0.7, 0.4)]):
        values = [sliced_distance(one, y, directions).value for one in moved]
        assert values == sorted(values)


def test_bad_input_is_refused_by_name() -> None:
    directions = np.eye(3)
    with pytest.raises(DataError, match="sets of one size; found 5 and 6 rows"):
        sliced_distance(np.zeros((5, 3)), np.zeros((6, 3)), directions)
    with pytest.raises(DataError, match="3 and 4 dimensions"):
        sliced_distance(np.zeros((5, 3)), np.zeros((5, 4)), directions)
    with pytest.raises(DataError, match=r"directions of shape \(3, 3\)"):
        sliced_distance(np.zeros((5, 4)), np.zeros((5, 4)), directions)
    with pytest.raises(DataError, match="not finite"):
        sliced_distance(np.full((5, 3), np.inf), np.zeros((5, 3)), directions)
    one = sliced_distance(np.zeros((5, 3)), np.ones((5, 3)), directions)
    with pytest.raises(DataError, match="no paired difference"):
        difference(one, sliced_distance(np.zeros((4, 3)), np.ones((4, 3)), directions), shared="x")
