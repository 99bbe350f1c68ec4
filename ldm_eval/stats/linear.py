"""Ridge-penalised logistic regression: small, deterministic, and without any choice that depends on chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax

from ldm_eval.errors import DataError

__all__ = ["LinearClassifier", "fit_logistic"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LinearClassifier:
    """A fitted softmax classifier; features are standardised inside.

    Attributes:
        classes: ``(K,)`` class values in sorted order, K >= 2, of the dtype of the labels it was fitted on.
        mean: ``(D,)`` float64, subtracted from features.
        scale: ``(D,)`` float64, positive; features are divided by it.
        weights: ``(D, K)`` float64, for standardised features.
        intercept: ``(K,)`` float64.
    """

    classes: NDArray[Any]
    mean: Float
    scale: Float
    weights: Float
    intercept: Float

    def logits(self, x: ArrayLike) -> Float:
        """``(N, D) -> (N, K)`` unnormalised log probabilities. Raises DataError for another D."""
        rows = _matrix(x)
        if rows.shape[1] != len(self.mean):
            raise DataError(f"This classifier was fitted on {len(self.mean)} features; found {rows.shape[1]}.")
        return np.asarray((rows - self.mean) / self.scale @ self.weights + self.intercept)

    def probabilities(self, x: ArrayLike) -> Float:
        """``(N, D) -> (N, K)`` class probabilities in the order of ``classes``; rows sum to one."""
        return np.asarray(softmax(self.logits(x), axis=1))

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """``(N, D) -> (N,)`` the most probable class (the first of equals)."""
        return np.asarray(self.classes[np.argmax(self.logits(x), axis=1)])


def fit_logistic(x: ArrayLike, y: ArrayLike, *, penalty: float) -> LinearClassifier:
    """Fit softmax regression: the minimum of mean cross-entropy + penalty/2 · sum of squared weights.

    The intercept is not penalised. The objective is strictly convex in the weights, so there is one answer and no
    seed. When D > N the problem is first rotated into the row space of ``x``, which leaves that answer unchanged.

    Args:
        x: ``(N, D)`` features, any real dtype; computed in float64.
        y: ``(N,)`` class values (integers or strings), at least two different ones.
        penalty: Positive; for standardised features and the *mean* loss (scikit-learn's ``C = 1/(N·penalty)``).

    Raises:
        DataError: for features that are not finite, another number of labels, one class only, or penalty <= 0.
    """
    rows, labels = _matrix(x), np.asarray(y)
    classes = np.unique(labels)
    _refuse(rows, labels, classes, penalty)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    # A constant column's std is rounding noise of its mean, not a scale to divide by.
    scale = np.where(scale > 1e-12 * np.maximum(1.0, np.abs(mean)), scale, 1.0)
    z = (rows - mean) / scale
    basis: Float | None = None
    if z.shape[1] > z.shape[0]:
        basis, corner = np.linalg.qr(z.T)
        z = corner.T
    target = (labels[:, None] == classes[None, :]).astype(np.float64)
    # In these units the penalty is at most 1 whatever it was, and Newton's equations stay well conditioned.
    unit = 1 / np.sqrt(1 + penalty)
    weights, intercept = _minimise(z * unit, target, penalty * unit**2)
    weights = weights * unit
    return LinearClassifier(classes, mean, scale, weights if basis is None else basis @ weights, intercept)


def _minimise(z: Float, target: Float, penalty: float) -> tuple[Float, Float]:
    from scipy.optimize import minimize  # 0.1 s that listing checks need not pay

    (n, d), k = z.shape, target.shape[1]

    def objective(flat: Float) -> tuple[float, Float]:
        weights, intercept = flat[: d * k].reshape(d, k), flat[d * k :]
        log_p = log_softmax(z @ weights + intercept, axis=1)
        residual = (np.exp(log_p) - target) / n
        value = -float((target * log_p).sum()) / n + 0.5 * penalty * float((weights**2).sum())
        return value, np.concatenate([(z.T @ residual + penalty * weights).ravel(), residual.sum(axis=0)])

    def curvature(flat: Float, step: Float) -> Float:
        p = np.exp(log_softmax(z @ flat[: d * k].reshape(d, k) + flat[d * k :], axis=1))
        weights, intercept = step[: d * k].reshape(d, k), step[d * k :]
        moved = p * (z @ weights + intercept)
        moved = (moved - p * moved.sum(axis=1, keepdims=True)) / n
        return np.concatenate([(z.T @ moved + penalty * weights).ravel(), moved.sum(axis=0)])

    # Newton steps by conjugate gradients: a few dozen matrix products, and no small LAPACK calls, which spend their
    # time on thread synchronisation (L-BFGS-B took ten times as long on 240 rows).
    start = np.zeros(d * k + k)
    found = minimize(
        objective, start, jac=True, hessp=curvature, method="Newton-CG", options={"xtol": 1e-8, "maxiter": 200}
    )
    solution: Float = np.asarray(found.x, dtype=np.float64)
    return solution[: d * k].reshape(d, k), solution[d * k :]


def _matrix(x: ArrayLike) -> Float:
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2:
        raise DataError(f"Features must be (N, D); found shape {rows.shape}.")
    return rows


def _refuse(rows: Float, labels: NDArray[Any], classes: NDArray[Any], penalty: float) -> None:
    if labels.shape != (len(rows),):
        raise DataError(f"Each of the {len(rows)} rows needs one label; found labels of shape {labels.shape}.")
    if len(classes) < 2:
        raise DataError(f"A classifier needs at least two classes; found {classes.tolist()}.")
    if not np.isfinite(rows).all():
        raise DataError("Features must be finite numbers; found NaN or infinity. Check the extractor's output.")
    if not penalty > 0:
        raise DataError(
            f"The ridge penalty must be positive (separable data have no optimum without); found {penalty}."
        )
