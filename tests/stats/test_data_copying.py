import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import binom, mannwhitneyu

from ldm_eval.errors import DataError
from ldm_eval.stats.data_copying import authenticity, copying_test, memorisation_distances, partition


def law(rng, n, d=6):
    return rng.normal(size=(n, d)).astype(np.float32)


def test_one_cell_is_the_published_z_of_mann_whitney():
    rng = np.random.default_rng(0)
    training, fresh, generated = law(rng, 150), law(rng, 90), 0.9 * law(rng, 110)
    found = copying_test(training, fresh, generated, training.mean(axis=0, keepdims=True))
    q, p = (cdist(rows, training).min(axis=1) for rows in (generated, fresh))
    u = mannwhitneyu(q, p, alternative="less").statistic
    n, m = len(fresh), len(generated)
    assert found.value == pytest.approx((u - (n * m / 2 - 0.5)) / np.sqrt(n * m * (n + m + 1) / 12))
    assert found.interval.low < found.value < found.interval.high


def test_cells_are_averaged_by_their_shares_of_fresh_images_with_their_own_training_images():
    rng = np.random.default_rng(1)
    centres = np.array([[0.0, 0], [9, 0], [0, 9]])
    sizes = {"t": (80, 60, 0), "p": (50, 30, 25), "q": (40, 70, 25)}
    rows = {
        name: np.concatenate([at + rng.normal(size=(n, 2)) for at, n in zip(centres, counts, strict=True)])
        for name, counts in sizes.items()
    }
    found = copying_test(rows["t"], rows["p"], rows["q"], centres)
    z = []
    for cell in (0, 1):
        t, p, q = (
            rows[name][sum(sizes[name][:cell]) : sum(sizes[name][: cell + 1])].astype(np.float64) for name in "tpq"
        )
        lq, lp = cdist(q, t).min(axis=1), cdist(p, t).min(axis=1)
        u, n, m = mannwhitneyu(lq, lp).statistic, len(p), len(q)
        z.append((u - (n * m / 2 - 0.5)) / np.sqrt(n * m * (n + m + 1) / 12))
    assert found.value == pytest.approx((50 * z[0] + 30 * z[1]) / 80)
    assert (found.cells, found.left_out) == (2, 1)  # the third has no training image
    assert found.lowest == pytest.approx(min(z))


def test_a_perfect_model_is_alarmed_at_the_nominal_rate_with_cells_too():
    seeds, low, high = 120, 0, 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        training = law(rng, 200)
        found = copying_test(training, law(rng, 200), law(rng, 200), partition(training, 4, rng))
        low += found.interval.high < 0
        high += found.interval.low > 0
    assert low <= binom.ppf(0.999, seeds, 0.025)
    assert high <= binom.ppf(0.999, seeds, 0.025)


def test_no_cell_with_enough_images_is_no_answer():
    rng = np.random.default_rng(0)
    training = law(rng, 50)
    assert copying_test(training, law(rng, 10), law(rng, 50), training[:1]) is None


def test_a_partition_finds_separate_groups_and_takes_fewer_different_rows_than_cells():
    rng = np.random.default_rng(0)
    rows = np.repeat(np.array([[0.0, 0], [50, 0], [0, 50]]), 40, axis=0) + rng.normal(size=(120, 2))
    centres = partition(rows, 3, rng)
    assert cdist(centres, [[0, 0], [50, 0], [0, 50]]).min(axis=0).max() < 1
    assert len(partition(np.zeros((9, 2)), 3, rng)) == 1
    with pytest.raises(DataError, match="4 cells"):
        partition(rows[:3], 4, rng)


def test_authenticity_counts_as_published():
    training = np.array([[0.0], [1.0], [10.0]])
    generated = np.array([[0.4], [3.0], [11.0], [25.0]])  # own distances .4, 2, 1, 15; of the nearest: 1, 1, 9, 9
    found = authenticity(training, generated)
    assert found.value == 0.5
    with pytest.raises(DataError, match="two training"):
        authenticity(training[:1], generated)


def test_near_copies_of_a_duplicated_image_are_called_authentic_which_is_the_known_failure():
    rng = np.random.default_rng(0)
    training = law(rng, 100)
    copies = training[:20] + 1e-3 * law(rng, 20)
    assert authenticity(training, copies).value == 0.0
    assert authenticity(np.concatenate([training, training[:20]]), copies).value == 1.0


def test_the_memorisation_distance_is_the_mean_smallest_cosine_distance():
    rng = np.random.default_rng(0)
    for shift in (0.0, 6.0):  # with and without negative values
        training, generated = law(rng, 60) + shift, law(rng, 40) + shift
        cosines = 1 - cdist(generated, training, "cosine")
        np.testing.assert_allclose(
            memorisation_distances(training, generated), 1 - np.abs(cosines).max(axis=1), atol=1e-6
        )
    assert memorisation_distances(training, training[:5]).max() == 0.0
    assert memorisation_distances(training, np.zeros((1, 6), dtype=np.float32))[0] <= 1.0
