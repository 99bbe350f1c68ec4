import numpy as np
import pytest

from ldm_eval.errors import DataError
from ldm_eval.stats.linear import fit_logistic


def data(n=200, d=5, k=3, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, d))
    y = rng.integers(k, size=n)
    return centres[y] + rng.normal(size=(n, d)) * 2.0 + 7.0, y


def test_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    x, y = data()
    penalty = 0.05
    scaler = StandardScaler().fit(x)
    theirs = LogisticRegression(C=1 / (len(x) * penalty), tol=1e-10, max_iter=5000).fit(scaler.transform(x), y)
    ours = fit_logistic(x, y, penalty=penalty)
    np.testing.assert_allclose(ours.probabilities(x), theirs.predict_proba(scaler.transform(x)), atol=2e-6)


def test_rotating_into_the_row_space_does_not_change_the_answer():
    # 40 rows of 60 features; the same problem with 61 rows would not be rotated, so compare optimality instead
    x, y = data(n=40, d=60, k=2)
    penalty = 0.1
    fit = fit_logistic(x, y, penalty=penalty)
    z = (x - fit.mean) / fit.scale
    residual = (fit.probabilities(x) - (y[:, None] == fit.classes)) / len(x)
    np.testing.assert_allclose(z.T @ residual + penalty * fit.weights, 0, atol=1e-5)
    np.testing.assert_allclose(residual.sum(axis=0), 0, atol=1e-5)


def test_two_fits_are_the_same_and_units_do_not_matter():
    x, y = data()
    first, second = fit_logistic(x, y, penalty=0.01), fit_logistic(x, y, penalty=0.01)
    assert np.array_equal(first.weights, second.weights)
    scaled = fit_logistic(x * 1000.0 - 3.0, y, penalty=0.01)
    np.testing.assert_allclose(scaled.probabilities(x * 1000.0 - 3.0), first.probabilities(x), atol=1e-6)


def test_with_a_huge_penalty_only_the_class_shares_remain():
    x, y = data()
    fit = fit_logistic(x, y, penalty=1e9)
    shares = np.bincount(y) / len(y)
    np.testing.assert_allclose(fit.probabilities(x), np.tile(shares, (len(x), 1)), atol=1e-5)


def test_labels_may_be_words_and_constant_features_are_harmless():
    x, y = data(k=2)
    x = np.column_stack([x, np.full(len(x), 0.1)])
    words = np.array(["a", "b"])[y]
    fit = fit_logistic(x, words, penalty=0.01)
    assert fit.classes.tolist() == ["a", "b"]
    assert (fit.predict(x) == words).mean() > 0.6
    np.testing.assert_allclose(fit.probabilities(x).sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("x", "y", "penalty", "message"),
    [
        (np.ones((4, 2)), np.zeros(4), 1.0, "two classes"),
        (np.ones((4, 2)), np.zeros(3), 1.0, "one label"),
        (np.ones(4), np.zeros(4), 1.0, r"\(N, D\)"),
        (np.full((2, 2), np.nan), np.array([0, 1]), 1.0, "finite"),
        (np.ones((2, 2)), np.array([0, 1]), 0.0, "positive"),
    ],
)
def test_refuses_what_it_cannot_fit(x, y, penalty, message):
    with pytest.raises(DataError, match=message):
        fit_logistic(x, y, penalty=penalty)


def test_refuses_other_features_than_it_was_fitted_on():
    x, y = data()
    with pytest.raises(DataError, match="fitted on 5"):
        fit_logistic(x, y, penalty=1.0).probabilities(x[:, :3])
