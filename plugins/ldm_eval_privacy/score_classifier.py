"""A classifier of members by many scores at once, learned on one half of the images and judged on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_eval.api import Evidence, Role
from ldm_eval_privacy.membership_premise import Premise, scores_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PENALTY", "Classified", "classify"]

PENALTY = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """What the classifier says of the judged half.

    Attributes:
        members: ``(M,)`` probabilities of being a member, of judged training images.
        others: ``(N,)`` of judged holdout images.
        weights: ``(F,)`` log odds per standard deviation of each score's logarithm.
    """

    members: NDArray[np.float64]
    others: NDArray[np.float64]
    weights: NDArray[np.float64]


def classify(evidence: Evidence, premise: Premise, names: Sequence[str]) -> Classified:
    """Ridge logistic regression of the logarithms of all columns of the scores ``names`` (all of them >= 0).

    Logarithms, because the scores of an image that is known differ from others by orders of magnitude.
    """
    import numpy as np

    from ldm_eval.stats.linear import fit_logistic

    def features(role: Role, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        scores = np.concatenate([scores_of(evidence, name, role, rows) for name in names], axis=1)
        return np.asarray(np.log(np.maximum(scores, np.finfo(np.float32).tiny)))

    inside, outside = features("training", premise.members.calibrate), features("holdout", premise.others.calibrate)
    truth = np.repeat([1, 0], [len(inside), len(outside)])
    model = fit_logistic(np.concatenate([inside, outside]), truth, penalty=PENALTY)
    return Classified(
        model.probabilities(features("training", premise.members.judge))[:, 1],
        model.probabilities(features("holdout", premise.others.judge))[:, 1],
        model.weights[:, 1] - model.weights[:, 0],
    )
