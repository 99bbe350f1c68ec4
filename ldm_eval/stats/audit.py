"""The audit of a training in one run: what guesses about coin-flipped training images prove about its privacy.

Fair coins decide which of m canaries are trained on. An auditor who sees the model guesses for r of them, fixed
beforehand, whether they were in; v guesses are right. Were the training (epsilon, delta)-differentially private, the
chance of that many would be bounded (Steinke, Nasr and Jagielski, arXiv:2305.08846, cor. 5.4 and appendix D), so too
many right guesses refute every epsilon up to some value. That value is a *lower* bound of the true one; there is no
upper bound in such an audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, gammaln

from ldm_eval.errors import DataError
from ldm_eval.stats.power import Allowed, Chances, Design, whole_parts

__all__ = ["AuditDesign", "OneRunAudit", "audit_p_value", "epsilon_bound", "fixed_guesses", "one_run_audit"]

Float = NDArray[np.float64]

_LARGEST = 64.0
"""exp(-64) is lost beside 1 in float64, so no epsilon above it can be told apart."""

_HALVINGS = 60


@final
@dataclass(frozen=True, slots=True)
class OneRunAudit:
    """What one audit found.

    Attributes:
        canaries: m, whose inclusion was flipped for.
        guesses: r, fixed beforehand: half of them "in", half of them "out".
        correct: v of them were right.
        epsilon: Lower bound of epsilon: with confidence ``level`` the training is not (epsilon', delta)-private for any
            smaller epsilon'. 0: nothing was shown.
        ceiling: The bound that r right guesses of r would have given; no model can be shown to leak more at this m.
        delta: As stated beforehand.
        level: One-sided confidence level.
    """

    canaries: int
    guesses: int
    correct: int
    epsilon: float
    ceiling: float
    delta: float
    level: float


def fixed_guesses(canaries: int, share: float) -> int:
    """The even number of guesses that is nearest below ``share`` of the canaries; at least 2, at most ``canaries``."""
    return max(2, 2 * int(min(share, 1.0) * canaries / 2 + 1e-9))


def audit_p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """The largest chance of ``correct`` or more right guesses under any (epsilon, delta)-private training.

    ``beta + 2 m delta max_i (P[B >= v - i] - beta) / i`` with B binomial over r guesses that are right with probability
    ``e^epsilon / (1 + e^epsilon)``, ``beta = P[B >= v]``, i = 1..v; at most 1.

    Args:
        canaries: m >= r.
        guesses: r, made by a rule that was fixed before the model was seen.
        correct: v, 0 <= v <= r.
        epsilon: >= 0.
        delta: 0 <= delta < 1.

    Raises:
        DataError: for numbers that cannot be.
    """
    _refuse(canaries, guesses, correct, delta)
    if not epsilon >= 0:
        raise DataError(f"An audit tests an epsilon of 0 or more; found {epsilon}.")
    if correct == 0:
        return 1.0
    log_right = -float(np.log1p(np.exp(-epsilon)))
    log_wrong = log_right - epsilon
    beta = float(betainc(correct, guesses - correct + 1, np.exp(log_right)))
    if delta == 0:
        return min(beta, 1.0)
    below = np.arange(correct - 1, -1, -1, dtype=np.float64)  # v-1, v-2, ..., 0
    log_ways = gammaln(guesses + 1) - gammaln(below + 1) - gammaln(guesses - below + 1)
    masses = np.exp(log_ways + below * log_right + (guesses - below) * log_wrong)
    steepest = float((np.cumsum(masses) / np.arange(1, correct + 1)).max())
    return min(beta + 2 * canaries * delta * steepest, 1.0)


@cache
def epsilon_bound(canaries: int, guesses: int, correct: int, delta: float, level: float = 0.95) -> float:
    """The largest epsilon that ``correct`` right guesses refute at ``level``; 0 when not even 0 is refuted.

    The p-value rises with epsilon until it reaches ``1 - level`` (as long as ``beta`` is that small both of its terms
    rise), so halving finds the place; the lower end of the last interval is returned.

    Raises:
        DataError: for numbers that cannot be.
    """
    if not 0 < level < 1:
        raise DataError(f"A level lies between 0 and 1; found {level}.")

    def refuted(epsilon: float) -> bool:
        return audit_p_value(canaries, guesses, correct, epsilon, delta) < 1 - level

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while high < _LARGEST and refuted(high):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def one_run_audit(
    scores: ArrayLike, included: ArrayLike, guesses: int, delta: float, level: float = 0.95
) -> OneRunAudit:
    """Guess "in" for the ``guesses / 2`` canaries with the highest scores and "out" for as many with the lowest.

    Neither the score, nor its sign, nor ``guesses`` may have been chosen by looking at what the coins said: the best of
    several numbers of guesses reports a positive epsilon on pure noise in 35 to 50 % of runs (5 % are promised).
    Equal scores are told apart by their rows.

    Args:
        scores: ``(m,)`` finite, high for those that the auditor holds to be in.
        included: ``(m,) bool``, what the coins said.
        guesses: Even, 2 to m.
        delta: 0 <= delta < 1.
        level: One-sided confidence level.

    Raises:
        DataError: for scores that are not finite, shapes that do not fit or numbers that cannot be.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(included, dtype=bool)
    if values.ndim != 1 or values.shape != truth.shape or not np.isfinite(values).all():
        raise DataError(
            f"An audit needs one finite score and one coin for each canary; found {values.shape} and {truth.shape}."
        )
    if guesses % 2:
        raise DataError(f"Half of the guesses say 'in' and half 'out'; found {guesses}, which is odd.")
    m = len(values)
    _refuse(m, guesses, 0, delta)
    order = np.argsort(values, kind="stable")
    half = guesses // 2
    correct = int(truth[order[m - half :]].sum()) + int((~truth[order[:half]]).sum())
    bound, ceiling = (epsilon_bound(m, guesses, right, delta, level) for right in (correct, guesses))
    return OneRunAudit(m, guesses, correct, bound, ceiling, delta, level)


@final
@dataclass(frozen=True, slots=True)
class AuditDesign(Design):
    """An audit of a mechanism that is right as often as its epsilon allows (randomised response); n counts canaries.

    Exact for that mechanism; any other with the same epsilon is seen less often. A lower bound passes no rule that
    limits epsilon from above.

    Attributes:
        share: Of the canaries that are guessed for.
        delta: As stated.
        level: One-sided.
    """

    share: float
    delta: float
    level: float = 0.95

    def chances(self, truth: float, n: ArrayLike, allowed: Allowed) -> Chances:
        """Exact binomial tails. ``truth`` is epsilon; only ``allowed.highest`` is a limit."""
        sizes = whole_parts(n, 1.0)
        right = 1 / (1 + np.exp(-max(truth, 0.0)))
        fails = []
        for m in sizes.tolist():
            guesses = fixed_guesses(m, self.share)
            enough = self._enough(m, guesses, allowed.highest)
            fails.append(0.0 if enough > guesses else float(betainc(enough, guesses - enough + 1, right)))
        return Chances(np.zeros(len(sizes)), np.array(fails))

    def _enough(self, m: int, guesses: int, limit: float) -> int:
        """The fewest right guesses whose bound exceeds ``limit``; more than all when none do."""
        low, high = 0, guesses + 1
        while high - low > 1:
            middle = (low + high) // 2
            above = epsilon_bound(m, guesses, middle, self.delta, self.level) > limit
            low, high = (low, middle) if above else (middle, high)
        return high


def _refuse(canaries: int, guesses: int, correct: int, delta: float) -> None:
    if not 0 <= correct <= guesses <= canaries or guesses < 1:
        raise DataError(
            f"An audit needs 0 <= right guesses <= guesses <= canaries; found {correct}, {guesses}, {canaries}."
        )
    if not 0 <= delta < 1:
        raise DataError(f"delta is 0 or more and less than 1; found {delta}.")
