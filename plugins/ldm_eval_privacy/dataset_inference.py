"""Dataset inference: do all attacks together, over a whole set of images, show that the set was trained on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ldm_eval.api import (
    Alarm,
    Cell,
    Evidence,
    Figure,
    Finding,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    Series,
    SignatureValue,
    Table,
)
from ldm_eval_privacy.attack_scores import SIMA
from ldm_eval_privacy.attacks import ATTACKS, columns_of
from ldm_eval_privacy.membership_premise import FEWEST, PREMISE_SETTINGS, Premise, blind_table, establish
from ldm_eval_privacy.score_classifier import PENALTY, classify
from ldm_eval_privacy.settings import positive_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.stats.means import MeanEstimate

__all__ = ["DatasetInference"]

_LEVEL = 0.95
_POWER = 0.95
_SHOWN = 6
_FEWEST_OWNED = 5


@dataclass(frozen=True, slots=True, eq=False)
class _Inference:
    """What the classifier says of the judged images.

    Attributes:
        members: ``(M,)`` probabilities of being a member, of judged training images.
        others: ``(N,)`` of judged holdout images.
        gap: Difference of their means.
        spread: Standard deviation of one image's probability, the two sets pooled.
        weights: What each score counts, in units of its spread: (attack, column, weight).
    """

    members: NDArray[np.float64]
    others: NDArray[np.float64]
    gap: MeanEstimate
    spread: float
    weights: tuple[tuple[str, str, float], ...]

    @property
    def p_value(self) -> float:
        """One-tailed, Welch: of training images being given no higher probability than holdout images."""
        from scipy.special import stdtr

        if self.gap.standard_error == 0:
            return 1.0 if self.gap.value <= 0 else 0.0
        return float(stdtr(self.gap.degrees_of_freedom, -self.gap.value / self.gap.standard_error))


class DatasetInference:
    """How much more probable all attacks together call a training image than a holdout image, over the judged half."""

    id: ClassVar[str] = "privacy/dataset_inference"
    title: ClassVar[str] = "Dataset inference"
    question: ClassVar[str] = "Can the owner of a set of images show that it was trained on?"
    settings: ClassVar[tuple[str, ...]] = tuple(PREMISE_SETTINGS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "dataset_membership_gap": Planning(
            "mean", "scored images of each set", 0.0, SIMA.max_images, {"fewest": FEWEST}
        )
    }
    needs: ClassVar[Needs] = Needs(
        roles=("training", "holdout"),
        features=("training", "holdout"),
        scores=tuple(attack.score for attack in ATTACKS),
    )
    # One run in forty is Invalid by chance (the blind classifier's level), and then raises no alarm.
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="dataset_membership_gap",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(
            "ldm_eval_privacy.attack_phantoms:memoriser",
            "half of the training images are memorised, the others unknown",
            {"check": "privacy/dataset_inference", "known": 0.5},
        ),
        leaves_alone=PhantomCase(
            "ldm_eval_privacy.attack_phantoms:exact_law",
            "the exact denoiser of a Gaussian mixture",
            {"check": "privacy/dataset_inference"},
            truth=0.0,
        ),
        power=0.9,
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Check the premise with the blind classifier, learn from one half, and test on the other.

        Raises:
            ConfigError: for a setting this check does not have.
        """
        premise = establish(evidence, self.id, [attack.score.name for attack in ATTACKS])
        if isinstance(premise, NotApplicable | Invalid):
            return premise
        found = _infer(evidence, premise)
        return [_gap(evidence, found), _weights_table(found), blind_table(premise.blind), _figure(found)]


def _infer(evidence: Evidence, premise: Premise) -> _Inference:
    import numpy as np

    from ldm_eval.stats.means import difference_of_means

    found = classify(evidence, premise, [attack.score.name for attack in ATTACKS])
    members, others = found.members, found.others
    spread = float(np.sqrt((members.var(ddof=1) + others.var(ddof=1)) / 2))
    names = [(attack.title, column) for attack in ATTACKS for column in columns_of(attack.score)]
    weights = tuple((*name, float(weight)) for name, weight in zip(names, found.weights, strict=True))
    return _Inference(members, others, difference_of_means(members, others, _LEVEL), spread, weights)


def _gap(evidence: Evidence, found: _Inference) -> Measurement:
    return evidence.measurement(
        "dataset_membership_gap",
        found.gap.value,
        found.gap.interval,
        n=found.gap.n,
        unit="difference of mean probability",
        direction="lower",
        against="training",
        uses_extractor=False,
        group=None,
        floor=None,
        note=f"One-tailed p-value that {len(found.members)} training images are called members no more than "
        f"{len(found.others)} holdout images: {found.p_value:.2g}. {_reach(found)}",
        **_protocol(evidence),
    )


def _reach(found: _Inference) -> str:
    """How large a set would be enough, or how large an effect would have been seen."""
    import math

    from scipy.special import ndtri

    needed = float(ndtri(_LEVEL)) + float(ndtri(_POWER))
    if found.gap.interval.low > 0:
        size = math.ceil(2 * (needed * found.spread / found.gap.value) ** 2)
        return (
            f"An owner would need about {max(size, _FEWEST_OWNED)} such images and as many fresh ones (p < 0.05 with "
            "probability 0.95)."
        )
    smallest = (float(ndtri(0.5 + _LEVEL / 2)) + float(ndtri(_POWER))) * found.gap.standard_error
    return f"The smallest gap this run could have seen (with probability 0.95) is {smallest:.2g}."


def _protocol(evidence: Evidence) -> dict[str, SignatureValue]:
    scores = {
        f"{attack.score.name}_{name}": value for attack in ATTACKS for name, value in attack.score.parameters.items()
    }
    return {
        "score": " ".join(attack.score.name for attack in ATTACKS),
        "classifier": f"ridge logistic regression of log scores, penalty {PENALTY:g}",
        "holdout_digest": evidence.images("holdout").digest,
        **scores,
        **positive_settings(DatasetInference.id, PREMISE_SETTINGS, evidence.parameters),
    }


def _weights_table(found: _Inference) -> Table:
    heaviest = sorted(found.weights, key=lambda one: -abs(one[2]))[:_SHOWN]
    rows: tuple[tuple[Cell, ...], ...] = tuple(heaviest)
    return Table(
        "weights",
        "What the classifier goes by",
        ("attack", "score", "weight"),
        rows,
        note=f"The heaviest {len(rows)} of {len(found.weights)} scores, as learned on the other half: log odds per "
        "standard deviation of the score's logarithm. Negative: a low score speaks for a member.",
    )


def _figure(found: _Inference) -> Figure:
    import numpy as np

    share = np.linspace(0, 1, 101)

    def line(name: str, values: NDArray[np.float64]) -> Series:
        return Series(name, tuple(np.quantile(values, share).round(6).tolist()), tuple(share.round(2).tolist()))

    return Figure(
        "membership_probability",
        "lines",
        "How probable all attacks together call membership",
        "Cumulative share of judged training and holdout images by the probability that they were trained on. Where "
        f"the set leaks, the curve of training images lies to the right; the means differ by {found.gap.value:.3f}.",
        "probability of being a training image, by all attacks",
        "share of images",
        (line("training", found.members), line("holdout", found.others)),
    )
