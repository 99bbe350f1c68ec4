"""Whose membership shows: how well training images of each group are told from holdout images of the same group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ldm_eval.api import (
    CANARY,
    UNKNOWN,
    Alarm,
    Evidence,
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
from ldm_eval_privacy.attacks import LOSS, Judged, judge
from ldm_eval_privacy.denoising_loss import DENOISING_LOSS
from ldm_eval_privacy.membership_premise import PREMISE_SETTINGS, Premise, blind_table, establish
from ldm_eval_privacy.settings import positive_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.stats.roc import AucEstimate

__all__ = ["FEWEST_OF_GROUP", "GroupExposure"]

FEWEST_OF_GROUP = 20
"""Fewest judged images of a group, and of the rest of its attribute, in each of the two sets."""

_PHANTOM = "ldm_eval_privacy.group_phantoms:exposed_group"


@dataclass(frozen=True, slots=True)
class _Group:
    """The attack on one group and on the rest of its attribute, both at the level of the family."""

    attribute: str
    name: str
    own: AucEstimate
    rest: AucEstimate

    @property
    def label(self) -> str:
        """For cards, e.g. ``glasses: yes``."""
        return f"{self.attribute}: {self.name}"

    @property
    def gap(self) -> Interval:
        """Of the difference, from two independent intervals (Zou and Donner 2008)."""
        a, b = self.own, self.rest
        down = math.hypot(a.value - a.interval.low, b.interval.high - b.value)
        up = math.hypot(a.interval.high - a.value, b.value - b.interval.low)
        value = a.value - b.value
        return Interval(max(-1.0, value - down), min(1.0, value + up), a.interval.level, "square-and-add of two AUCs")


class GroupExposure:
    """AUC of the loss attack within each group, and the largest excess of a group over the rest."""

    id: ClassVar[str] = "privacy/group_exposure"
    title: ClassVar[str] = "Exposure to membership inference by group"
    question: ClassVar[str] = "Does it show more clearly for some groups of people that they were in the training set?"
    settings: ClassVar[tuple[str, ...]] = tuple(PREMISE_SETTINGS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "*": Planning("mean", "scored images of each set, in the groups' shares", most=DENOISING_LOSS.max_images)
    }
    needs: ClassVar[Needs] = Needs(
        roles=("training", "holdout"), features=("training", "holdout"), scores=(DENOISING_LOSS,)
    )
    # One run in forty is Invalid by chance (the blind classifier's level), and then raises no alarm.
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="exposure_gap",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(
            _PHANTOM,
            "members of one group score N(-2, 1), all others N(0, 1)",
            {"shift": 2.0, "other_shift": 0.0},
            truth=0.4213504,  # Phi(2 / sqrt 2) - 1/2
        ),
        leaves_alone=PhantomCase(
            _PHANTOM, "members of every group score N(-1, 1)", {"shift": 1.0, "other_shift": 1.0}, truth=0.0
        ),
        power=0.9,
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Choose the attack on one half of all images, and judge it on the other half group by group.

        Raises:
            ConfigError: for a setting this check does not have.
        """
        columns = _columns(evidence)
        if not columns:
            return NotApplicable(
                "No attribute is known of both the training and the holdout images. Give both a table with the same "
                "column of groups."
            )
        premise = establish(evidence, self.id, [DENOISING_LOSS.name])
        if not isinstance(premise, Premise):
            return premise
        judged = judge(evidence, premise, [LOSS])[0]
        candidates = _candidates(evidence, premise, columns)
        if not candidates:
            return NotApplicable(
                f"No attribute has two groups with {FEWEST_OF_GROUP} judged images each in both sets. Give more images."
            )
        return _Report(evidence, premise, judged, _compared(judged, candidates)).findings()


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """Which judged images are of a group and which of the rest, for members and for others."""

    attribute: str
    name: str
    members: NDArray[np.bool_]
    members_rest: NDArray[np.bool_]
    others: NDArray[np.bool_]
    others_rest: NDArray[np.bool_]

    @property
    def fewest(self) -> int:
        """Of the four counts, the smallest."""
        return min(int(part.sum()) for part in (self.members, self.members_rest, self.others, self.others_rest))


def _columns(evidence: Evidence) -> list[str]:
    training, holdout = evidence.images("training").groups, evidence.images("holdout").groups
    return [name for name in sorted(training) if name in holdout and name != CANARY]


def _candidates(evidence: Evidence, premise: Premise, columns: Sequence[str]) -> list[_Candidate]:
    import numpy as np

    out = []
    for attribute in columns:
        members = np.asarray(evidence.images("training").groups[attribute])[premise.members.judge]
        others = np.asarray(evidence.images("holdout").groups[attribute])[premise.others.judge]
        names = sorted((set(members.tolist()) & set(others.tolist())) - {UNKNOWN, ""})
        known, known_others = np.isin(members, names), np.isin(others, names)
        for name in names:
            own, own_others = members == name, others == name
            one = _Candidate(attribute, name, own, known & ~own, own_others, known_others & ~own_others)
            if one.fewest >= FEWEST_OF_GROUP:
                out.append(one)
    return out


def _compared(judged: Judged, candidates: Sequence[_Candidate]) -> list[_Group]:
    """Each at a level at which all hold together (Bonferroni)."""
    from ldm_eval.stats.roc import auc_interval

    level = 1 - 0.05 / len(candidates)
    return [
        _Group(
            one.attribute,
            one.name,
            auc_interval(judged.members[one.members], judged.others[one.others], level),
            auc_interval(judged.members[one.members_rest], judged.others[one.others_rest], level),
        )
        for one in candidates
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Report:
    evidence: Evidence
    premise: Premise
    judged: Judged
    groups: list[_Group]

    def findings(self) -> list[Finding]:
        """The largest gap, the attack within each group, and what the blind classifier saw."""
        gaps = [group.gap for group in self.groups]
        found = max(range(len(gaps)), key=lambda at: gaps[at].low)
        estimator = f"{gaps[0].estimator}, Bonferroni over {len(gaps)} groups"
        interval = Interval(max(gap.low for gap in gaps), max(gap.high for gap in gaps), 0.95, estimator)
        which = (
            f"Membership shows more clearly for '{self.groups[found].label}' than for the rest."
            if interval.low > 0
            else "For no group does it show more clearly than for the rest, as far as these images tell."
        )
        n = len(self.judged.members) + len(self.judged.others)
        gap = self._measurement(
            "exposure_gap",
            max(group.own.value - group.rest.value for group in self.groups),
            interval,
            n,
            "difference of AUCs",
            f"Primary. {which} {self._reach(gaps)} The attack ({self.judged.choice.words}) was chosen on the other "
            "half of all images; each group's training images are told from holdout images of the same group.",
        )
        return [gap, *map(self._auc, self.groups), self._table(), blind_table(self.premise.blind)]

    def _reach(self, gaps: list[Interval]) -> str:
        """The smallest gap seen with probability 0.95: of the group with the shortest lower arm, read as normal."""
        from scipy.special import ndtri

        arm = min(group.own.value - group.rest.value - gap.low for group, gap in zip(self.groups, gaps, strict=True))
        smallest = arm * (1 + float(ndtri(0.95)) / float(ndtri(0.5 + gaps[0].level / 2)))
        return f"The smallest gap this run could have seen (with probability 0.95) is {smallest:.2f}."

    def _auc(self, group: _Group) -> Measurement:
        own = group.own
        note = f"{own.positives} training and {own.negatives} holdout images of the group."
        n, unit = own.positives + own.negatives, "AUC, 0.5 is chance"
        return self._measurement("exposure_auc", own.value, own.interval, n, unit, note, group.label)

    def _measurement(
        self, name: str, value: float, interval: Interval, n: int, unit: str, note: str, group: str | None = None
    ) -> Measurement:
        protocol: dict[str, SignatureValue] = {
            "score": DENOISING_LOSS.name,
            "holdout_digest": self.evidence.images("holdout").digest,
            **{f"score_{key}": setting for key, setting in DENOISING_LOSS.parameters.items()},
            **positive_settings(GroupExposure.id, PREMISE_SETTINGS, self.evidence.parameters),
        }
        return self.evidence.measurement(
            name,
            value,
            interval,
            n=n,
            unit=unit,
            direction="lower",
            against="training",
            uses_extractor=False,
            group=group,
            floor=None,
            note=note,
            **protocol,
        )

    def _table(self) -> Table:
        rows = tuple(
            (
                group.attribute,
                group.name,
                group.own.positives,
                group.own.negatives,
                round(group.own.value - group.rest.value, 4),
                round(group.gap.low, 4),
                round(group.gap.high, 4),
            )
            for group in self.groups
        )
        columns = ("attribute", "group", "training judged", "holdout judged", "AUC above the rest", "low", "high")
        note = (
            f"Intervals hold together at 0.95. Groups with fewer than {FEWEST_OF_GROUP} judged images in a set are left"
            " out."
        )
        return Table("groups", "Exposure by group", columns, rows, note)
