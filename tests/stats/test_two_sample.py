import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import bdtrc, ndtr

from ldm_eval.errors import DataError
from ldm_eval.stats.two_sample import classifier_two_sample_test, disjoint_subsets


def compare(seed, shift=0.0, n=300, dimension=8):
    generator = np.random.default_rng(seed)
    first = generator.standard_normal((n, dimension))
    second = generator.standard_normal((n, dimension)) + shift / np.sqrt(dimension)
    return classifier_two_sample_test(first, second, generator=generator)


@pytest.fixture(scope="module")
def null_results():
    return [compare(seed) for seed in range(300)]


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2])
def test_p_values_are_super_uniform_when_nothing_differs(null_results, level):
    rejected = sum(result.p_value <= level for result in null_results)
    assert bdtrc(rejected - 1, len(null_results), level) > 1e-3


def test_the_accuracy_interval_holds_one_half_when_nothing_differs(null_results):
    missed = sum(not result.interval.low <= 0.5 <= result.interval.high for result in null_results)
    assert bdtrc(missed - 1, len(null_results), 0.05) > 1e-3


def test_accuracy_approaches_the_best_possible():
    results = [compare(seed, shift=2.0, n=1000) for seed in range(20)]
    assert np.mean([result.accuracy for result in results]) == pytest.approx(ndtr(1.0), abs=0.01)
    assert all(result.p_value < 1e-6 for result in results)
    assert np.mean([result.false_alarm_rate for result in results]) == pytest.approx(ndtr(-1.0), abs=0.02)


def test_blurred_digits_are_told_from_sharp_ones():
    from sklearn.datasets import load_digits

    digits = load_digits().images
    generator = np.random.default_rng(0)
    halves = disjoint_subsets(len(digits), 800, generator)
    sharp, others = digits[halves.one], digits[halves.other]
    blurred = gaussian_filter(others, sigma=(0, 0.6, 0.6))
    flat = [each.reshape(len(each), -1) for each in (sharp, others, blurred)]
    assert classifier_two_sample_test(flat[0], flat[2], generator=generator).p_value < 1e-6
    assert classifier_two_sample_test(flat[0], flat[1], generator=generator).p_value > 0.01


def test_the_p_value_is_the_exact_binomial_tail():
    result = compare(1, shift=0.5)
    assert result.p_value == pytest.approx(float(bdtrc(result.correct - 1, result.judged, 0.5)))
    assert result.judged == 300
    assert result.accuracy == result.correct / result.judged


def test_unequal_sets_are_judged_in_equal_number():
    generator = np.random.default_rng(0)
    result = classifier_two_sample_test(
        generator.standard_normal((500, 4)), generator.standard_normal((101, 4)), generator=generator
    )
    assert (result.per_set, result.judged) == (101, 102)


def test_few_images_and_unequal_widths_are_refused():
    generator = np.random.default_rng(0)
    with pytest.raises(DataError, match="20 images"):
        classifier_two_sample_test(np.zeros((10, 2)), np.zeros((50, 2)), generator=generator)
    with pytest.raises(DataError, match="one D"):
        classifier_two_sample_test(np.zeros((50, 2)), np.zeros((50, 3)), generator=generator)


def test_disjoint_subsets_share_no_row():
    subsets = disjoint_subsets(11, 5, np.random.default_rng(0))
    assert len({*subsets.one.tolist(), *subsets.other.tolist()}) == 10
    with pytest.raises(DataError, match="12"):
        disjoint_subsets(11, 6, np.random.default_rng(0))
