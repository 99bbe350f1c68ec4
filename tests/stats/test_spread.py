import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.special import bdtr, gammaln

from ldm_eval.errors import DataError
from ldm_eval.stats import spread
from ldm_eval.stats.spread import mean_pairwise_distance, spread_ratio


def expected_distance(d: int, scale: float = 1.0) -> float:
    """Mean distance of two draws from N(0, scale^2 I): root 2 times the mean of a chi distribution."""
    return float(2.0 * scale * np.exp(gammaln((d + 1) / 2) - gammaln(d / 2)))


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 60), st.integers(1, 20), st.integers(0, 1000))
def test_equals_the_definition_and_the_jackknife(n: int, d: int, seed: int) -> None:
    features = np.random.default_rng(seed).standard_normal((n, d)) + 3.0
    found = mean_pairwise_distance(features)
    whole = float(pdist(features).mean())
    assert found.value == pytest.approx(whole, rel=1e-9)
    if n > 3:
        without = np.array([pdist(np.delete(features, row, axis=0)).mean() for row in range(n)])
        jackknife = (n - 1) * (whole - without)
        np.testing.assert_allclose(found.influence, jackknife - jackknife.mean(), atol=1e-7)


def test_tiles_do_not_change_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(0).standard_normal((100, 6)).astype(np.float32)
    features.flags.writeable = False
    whole = mean_pairwise_distance(features)
    monkeypatch.setattr(spread, "_TILE", 13)
    parts = mean_pairwise_distance(features)
    assert parts.value == pytest.approx(whole.value, rel=1e-12)
    np.testing.assert_allclose(parts.influence, whole.influence, atol=1e-12)


def test_copies_are_zero_apart_and_far_offsets_do_no_harm() -> None:
    copies = mean_pairwise_distance(np.full((20, 5), 0.3, dtype=np.float32))
    assert (copies.value, copies.interval.low, copies.interval.high) == (0.0, 0.0, 0.0)
    features = np.random.default_rng(0).standard_normal((50, 4))
    assert mean_pairwise_distance(features + 1e6).value == pytest.approx(float(pdist(features).mean()), rel=1e-8)


def test_unbiased_and_covers_the_closed_form() -> None:
    d, n, seeds = 8, 40, 300
    truth = expected_distance(d)
    runs = [mean_pairwise_distance(np.random.default_rng(seed).standard_normal((n, d))) for seed in range(seeds)]
    values = np.array([run.value for run in runs])
    assert abs(values.mean() - truth) < 4.0 * values.std() / np.sqrt(seeds)
    covered = sum(run.interval.low <= truth <= run.interval.high for run in runs)
    assert bdtr(covered, seeds, 0.95) > 1e-3
    errors = np.sqrt(np.mean([run.standard_error**2 for run in runs]))
    assert errors == pytest.approx(values.std(), rel=0.15)


def test_ratio_is_the_scale_between_sets_of_any_sizes() -> None:
    seeds, scale = 200, 0.6
    ratios = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        first, second = scale * rng.standard_normal((50, 6)), rng.standard_normal((90, 6))
        ratios.append(spread_ratio(mean_pairwise_distance(first), mean_pairwise_distance(second)))
    covered = sum(ratio.interval.low <= scale <= ratio.interval.high for ratio in ratios)
    assert bdtr(covered, seeds, 0.94) > 1e-3
    assert np.mean([ratio.value for ratio in ratios]) == pytest.approx(scale, rel=0.01)


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="N >= 3"):
        mean_pairwise_distance(np.ones((2, 3)))
    with pytest.raises(DataError, match="not finite"):
        mean_pairwise_distance(np.full((4, 3), np.nan))
    copies = mean_pairwise_distance(np.ones((4, 3)))
    with pytest.raises(DataError, match="all rows of the second set are equal"):
        spread_ratio(copies, copies)
