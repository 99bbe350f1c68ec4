"""Membership inference by several attacks: what does the best of them tell about the training images?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ldm_eval.api import (
    Alarm,
    Cell,
    Evidence,
    Figure,
    Finding,
    Interval,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    SignatureValue,
    Table,
)
from ldm_eval_privacy.attack_scores import SIMA
from ldm_eval_privacy.attacks import ATTACKS, FALSE_POSITIVE_RATE, OWN, Attack, Judged, judge
from ldm_eval_privacy.membership_premise import FEWEST, LOST, PREMISE_SETTINGS, blind_table, establish
from ldm_eval_privacy.roc_series import guessing, roc_series
from ldm_eval_privacy.settings import positive_settings

__all__ = ["MembershipAttacks"]

_SCORED = "scored images of each set"
_HALF = {"trials": 0.5, "fewest": FEWEST}
_LEVEL = 0.95


class MembershipAttacks:
    """AUC of the attack that one half of the images ranks first, judged on the other half; all others beside it."""

    id: ClassVar[str] = "privacy/membership_attacks"
    title: ClassVar[str] = "Membership inference by SimA, PIA, SecMI and the denoising loss"
    question: ClassVar[str] = "Which of the published attacks tells training images from fresh ones, and how well?"
    settings: ClassVar[tuple[str, ...]] = tuple(PREMISE_SETTINGS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "membership_advantage_auc": Planning(
            "auc", _SCORED, 0.5, SIMA.max_images, {"judged": 0.5, "chosen": 1.0, "lost": LOST, "fewest": FEWEST}
        ),
        "membership_advantage_tpr_*": Planning("proportion", _SCORED, FALSE_POSITIVE_RATE, SIMA.max_images, _HALF),
        "membership_advantage_*_rate": Planning("proportion", _SCORED, None, SIMA.max_images, _HALF),
    }
    needs: ClassVar[Needs] = Needs(
        roles=("training", "holdout"),
        features=("training", "holdout"),
        scores=tuple(attack.score for attack in (*ATTACKS, OWN)),
    )
    # One run in forty is Invalid by chance (the blind classifier's level), and then raises no alarm.
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="membership_advantage_auc",
        alarm=Alarm("low", ">", 0.5),
        catches=PhantomCase("ldm_eval_privacy.attack_phantoms:memoriser", "the optimal denoiser of the training set"),
        leaves_alone=PhantomCase(
            "ldm_eval_privacy.attack_phantoms:exact_law", "the exact denoiser of a Gaussian mixture", truth=0.5
        ),
        power=0.9,
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Check the premise with the blind classifier, then attack.

        Raises:
            ConfigError: for a setting this check does not have.
        """
        attacks = (*ATTACKS, OWN) if _has_autoencoder(evidence) else ATTACKS
        premise = establish(evidence, self.id, [attack.score.name for attack in attacks])
        if isinstance(premise, NotApplicable | Invalid):
            return premise
        # Bounds that hold for all attacks at once, so that looking at the worst of them is no trick.
        judged = judge(evidence, premise, attacks, 1 - (1 - _LEVEL) / len(attacks))
        best = max((one for one in judged if one.attack is not OWN), key=lambda one: one.choice.auc)
        report = _Report(evidence, judged, best)
        return [*report.primary(), *report.secondary(), report.table(), blind_table(premise.blind), report.figure()]


def _has_autoencoder(evidence: Evidence) -> bool:
    return bool(evidence.scores(OWN.score.name, "training").values.shape[1])


class _Report:
    """What is said of the judged attacks; ``best`` was ranked first by the calibration half."""

    def __init__(self, evidence: Evidence, judged: Sequence[Judged], best: Judged) -> None:
        from ldm_eval.stats.multiplicity import holm

        self._evidence = evidence
        self._judged = judged
        self._best = best
        self._adjusted = [float(p) for p in holm([one.p_value for one in judged])]

    def primary(self) -> list[Measurement]:
        """The one primary endpoint, and the rates at its threshold."""
        from ldm_eval.stats.roc import auc_interval, detectable_auc

        best, rates = self._best, self._best.rates
        auc = auc_interval(best.members, best.others, _LEVEL)
        smallest = detectable_auc(auc.positives, auc.negatives)
        return [
            self._measured(
                "membership_advantage_auc",
                auc.value,
                auc.interval,
                auc.positives + auc.negatives,
                "AUC, 0.5 is chance",
                f"Primary. {best.attack.title} ({best.choice.words}), ranked first of {len(ATTACKS)} attacks by the "
                f"other half; attack advantage on {auc.positives} training and {auc.negatives} holdout images, not a "
                "privacy guarantee. The smallest AUC this run could have seen (with probability 0.95) is "
                f"{smallest:.2f}.",
            ),
            self._measured(
                "membership_advantage_tpr_at_1_percent_fpr",
                rates.true_positives / rates.positives,
                rates.true_positive_rate,
                rates.positives,
                "share of training images",
                f"{rates.true_positives} of {rates.positives} training images recognised while "
                f"{rates.false_positives} of {rates.negatives} holdout images were; threshold transferred from the "
                "other half, not interpolated.",
            ),
            self._measured(
                "membership_advantage_false_positive_rate",
                rates.false_positives / rates.negatives,
                rates.false_positive_rate,
                rates.negatives,
                "share of holdout images",
                "What the threshold chosen for 1 % on the other half really gave.",
            ),
        ]

    def secondary(self) -> list[Measurement]:
        """The AUC of every attack, with bounds that hold for all of them together."""
        return [
            self._measured(
                f"{one.attack.name}_auc",
                one.auc.value,
                one.auc.interval,
                one.auc.positives + one.auc.negatives,
                "AUC, 0.5 is chance",
                f"Secondary. {one.attack.title} ({one.choice.words}, chosen on the other half). The bounds of the "
                f"{len(self._judged)} attacks hold together in 95 % of runs (Bonferroni); Holm's adjusted p-value of "
                f"no leak is {adjusted:.2g}.",
                one.attack,
            )
            for one, adjusted in zip(self._judged, self._adjusted, strict=True)
        ]

    def table(self) -> Table:
        """All attacks side by side."""
        from ldm_eval.stats.roc import detectable_auc

        first = self._judged[0]
        level = first.auc.interval.level
        smallest = detectable_auc(len(first.members), len(first.others), level)
        rows = [self._row(one, adjusted) for one, adjusted in zip(self._judged, self._adjusted, strict=True)]
        return Table(
            "attacks",
            "What each attack tells of the judged half",
            (
                "attack",
                "network calls per image",
                "chosen on the other half",
                "AUC on that half",
                "AUC",
                "low",
                "high",
                "Holm's p",
                "recognised",
                "falsely recognised",
            ),
            tuple(rows),
            note=f"Bounds at level {level:.4g}, so that all hold together in 95 % of runs; an attack alone would have "
            f"been seen at an AUC of {smallest:.2f} (with probability 0.95). Recognised: training and holdout images "
            "above the threshold that 1 % of new holdout images exceed, chosen on the other half.",
        )

    def _row(self, one: Judged, adjusted: float) -> tuple[Cell, ...]:
        rates, interval = one.rates, one.auc.interval
        return (
            one.attack.title,
            one.attack.score.calls_per_image,
            one.choice.words,
            one.choice.auc,
            one.auc.value,
            interval.low,
            interval.high,
            adjusted,
            f"{rates.true_positives} of {rates.positives}",
            f"{rates.false_positives} of {rates.negatives}",
        )

    def figure(self) -> Figure:
        """The ROC curves on the judged half."""
        lines = [roc_series(one.attack.title, one.members, one.others) for one in self._judged]
        best = self._best
        return Figure(
            "roc",
            "lines",
            "Membership inference by several attacks",
            f"ROC curves of the attacks on the judged half. {best.attack.title} was ranked first by the other half; "
            f"its AUC is {best.auc.value:.2f}. On the diagonal an attack is a guess.",
            "false positive rate (holdout images called members)",
            "true positive rate (training images called members)",
            (*lines, guessing(lines[0])),
            log_x=True,
        )

    def _measured(
        self, name: str, value: float, interval: Interval, n: int, unit: str, note: str, attack: Attack | None = None
    ) -> Measurement:
        return self._evidence.measurement(
            name,
            value,
            interval,
            n=n,
            unit=unit,
            direction="none" if "false" in name else "lower",
            against="training",
            uses_extractor=False,
            group=None,
            floor=None,
            note=note,
            **_protocol(self._evidence, ATTACKS if attack is None else (attack,)),
        )


def _protocol(evidence: Evidence, attacks: Sequence[Attack]) -> dict[str, SignatureValue]:
    scores = {
        f"{attack.score.name}_{name}": value for attack in attacks for name, value in attack.score.parameters.items()
    }
    return {
        "score": " ".join(attack.score.name for attack in attacks),
        "holdout_digest": evidence.images("holdout").digest,
        **scores,
        **positive_settings(MembershipAttacks.id, PREMISE_SETTINGS, evidence.parameters),
    }
