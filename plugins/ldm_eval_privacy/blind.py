"""The blind classifier: can members be told from non-members by looking at the data alone, without the model?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_eval.stats.roc import AucEstimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BlindResult", "BlindView", "judge_blindly"]

_PENALTY = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class BlindView:
    """One description of both sets: rows to learn from, and rows to be judged on (none in both).

    Attributes:
        name: e.g. ``"image statistics"``.
        learn_members, learn_others: ``(L, D)``.
        judge_members, judge_others: ``(J, D)``.
    """

    name: str
    learn_members: NDArray[np.floating]
    learn_others: NDArray[np.floating]
    judge_members: NDArray[np.floating]
    judge_others: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class BlindResult:
    """AUC of one view on the judged half."""

    name: str
    auc: AucEstimate

    @property
    def sees_a_difference(self) -> bool:
        """True when the lower bound exceeds one half."""
        return self.auc.interval.low > 0.5


def judge_blindly(views: Sequence[BlindView], level: float = 0.95) -> list[BlindResult]:
    """Fit a logistic regression to each view and judge it on images it has not seen.

    Halves, not cross-fitting: the AUCs of two swapped folds are positively correlated when there is nothing to find,
    so their mean is alarmed too often. With V views each lower bound is at 1 - (1-level)/V, two-sided, so that sets of
    one law are called different in at most (1-level)/2 of the runs, whichever view is alarmed.
    """
    import numpy as np

    from ldm_eval.stats.linear import fit_logistic
    from ldm_eval.stats.roc import auc_interval

    results = []
    for view in views:
        rows = np.concatenate([view.learn_members, view.learn_others])
        truth = np.repeat([1, 0], [len(view.learn_members), len(view.learn_others)])
        model = fit_logistic(rows, truth, penalty=_PENALTY)
        members, others = (model.logits(half)[:, 1] for half in (view.judge_members, view.judge_others))
        results.append(BlindResult(view.name, auc_interval(members, others, 1 - (1 - level) / len(views))))
    return results
