"""Membership inference from the denoising loss: does the model know its training images better than fresh ones?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ldm_eval.api import (
    Alarm,
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
    Role,
    Series,
    SignatureValue,
    Table,
)
from ldm_eval_privacy.denoising_loss import DENOISING_LOSS, noise_levels
from ldm_eval_privacy.settings import positive_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.stats.roc import AucEstimate, RatesAtThreshold
    from ldm_eval_privacy.blind import BlindResult

__all__ = ["FEWEST", "MembershipLoss"]

FEWEST = 50
"""Fewest different scored images of each set: with 25 and 25 judged, an AUC of 0.80 is seen with probability 0.95."""

_DEFAULTS = {"grey_levels": 4.0, "max_overlap": 0.01, "blind_images": 2000.0, "max_side": 64.0}
_RATE = 0.01
_SCORED = "scored images of each set"
_HALF = {"trials": 0.5, "fewest": FEWEST}
_LOST = 0.025
"""Share of runs that the blind classifier calls Invalid by chance."""


@dataclass(frozen=True, slots=True, eq=False)
class _Half:
    """Rows of one set (training or holdout) by their use; ``learn`` adds unscored images for the blind classifier."""

    calibrate: NDArray[np.int64]
    judge: NDArray[np.int64]
    learn: NDArray[np.int64]
    losses: dict[int, NDArray[np.float32]]

    def scores(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """``(R, K)`` losses of these rows."""
        import numpy as np

        return np.stack([self.losses[int(row)] for row in rows]).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the calibration half chose: a noise level, and the sign that makes members score high."""

    column: int
    sign: float
    calibration_auc: float


@dataclass(frozen=True, slots=True, eq=False)
class _Attack:
    """The attack as chosen on one half and judged on the other; scores are high for members."""

    choice: _Choice
    members: NDArray[np.float64]
    others: NDArray[np.float64]
    auc: AucEstimate
    rates: RatesAtThreshold


class MembershipLoss:
    """AUC of the best loss-based membership test, chosen on one half of the images and judged on the other."""

    id: ClassVar[str] = "privacy/membership_loss"
    title: ClassVar[str] = "Membership inference from the denoising loss"
    question: ClassVar[str] = "Can someone with the model tell whether a given image was trained on?"
    settings: ClassVar[tuple[str, ...]] = tuple(_DEFAULTS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "membership_auc": Planning(
            "auc",
            _SCORED,
            0.5,
            DENOISING_LOSS.max_images,
            {"judged": 0.5, "chosen": 1.0, "lost": _LOST, "fewest": FEWEST},
        ),
        "membership_tpr_*": Planning("proportion", _SCORED, _RATE, DENOISING_LOSS.max_images, _HALF),
        "membership_*_rate": Planning("proportion", _SCORED, None, DENOISING_LOSS.max_images, _HALF),
    }
    needs: ClassVar[Needs] = Needs(
        roles=("training", "holdout"), features=("training", "holdout"), scores=(DENOISING_LOSS,)
    )
    # One run in forty is Invalid by chance (the blind classifier's level), and then raises no alarm.
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="membership_auc",
        alarm=Alarm("low", ">", 0.5),
        catches=PhantomCase("ldm_eval_privacy.phantoms:memoriser", "the optimal denoiser of the training set"),
        leaves_alone=PhantomCase("ldm_eval_privacy.phantoms:exact_law", "the exact denoiser of the law", truth=0.5),
        power=0.9,
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Check the premise with the blind classifier, then attack.

        Raises:
            ConfigError: for a setting this check does not have.
        """
        values = positive_settings(self.id, _DEFAULTS, evidence.parameters)
        halves = _halves(evidence, values)
        if isinstance(halves, NotApplicable | Invalid):
            return halves
        members, others = halves
        blind = _blind(evidence, members, others)
        seen = [result for result in blind if result.sees_a_difference]
        if seen:
            return Invalid(_why_invalid(seen[0]))
        return _findings(evidence, _attack(members, others), blind)


def _why_invalid(result: BlindResult) -> str:
    interval = result.auc.interval
    return (
        f"Training and holdout images can be told apart without the model: from {result.name} alone with AUC "
        f"{result.auc.value:.3f} (lower bound {interval.low:.3f} > 0.5, {interval.estimator}, level "
        f"{interval.level:g}). A membership test would see that difference too. Take the holdout set from the same "
        "source, stored and processed the same way."
    )


def _halves(evidence: Evidence, values: dict[str, float]) -> tuple[_Half, _Half] | NotApplicable | Invalid:
    import numpy as np

    from ldm_eval.stats.duplicates import find_duplicates
    from ldm_eval.stats.proportions import clopper_pearson
    from ldm_eval_privacy.pixel_space import PixelIndex, comparable, same_size

    sets = [evidence.images("training"), evidence.images("holdout")]
    if not same_size(sets):
        return NotApplicable("Training and holdout images have different sizes; give both at the model's size.")
    training, holdout = comparable(sets, int(values["max_side"]))
    index = PixelIndex(training, values["grey_levels"], neighbours=len(training))
    known = index.match(holdout).difference <= values["grey_levels"]
    if known.all() or clopper_pearson(int(known.sum()), len(known)).low > values["max_overlap"]:
        return Invalid(
            f"{int(known.sum())} of {len(known)} holdout images are (nearly) training images: they are members, not "
            "non-members. Remove them from the holdout set."
        )
    fresh = np.zeros(len(holdout), dtype=bool)
    fresh[find_duplicates(holdout, near=values["grey_levels"]).representatives] = True
    most = int(values["blind_images"])
    members = _split(evidence, "training", index.duplicates.representatives, most)
    others = _split(evidence, "holdout", np.flatnonzero(fresh & ~known), most)
    counts = [len(half.losses) for half in (members, others)]
    if min(counts) < FEWEST:
        return NotApplicable(
            f"A membership test needs {FEWEST} different scored images of each set; after removing duplicates there "
            f"are {counts[0]} of training and {counts[1]} of holdout. Give more images."
        )
    return members, others


def _split(evidence: Evidence, role: Role, usable: NDArray[np.int64], most: int) -> _Half:
    """Divide the usable scored images at random; unscored ones only teach the blind classifier."""
    import numpy as np

    scores = evidence.scores(DENOISING_LOSS.name, role)
    position = {int(row): at for at, row in enumerate(scores.index)}
    scored = np.array([row for row in usable if int(row) in position], dtype=np.int64)
    unscored = np.array([row for row in usable if int(row) not in position], dtype=np.int64)
    order = evidence.rng(f"halves of {role}").permutation(scored)
    half = len(order) // 2
    calibrate, judge = np.sort(order[:half]), np.sort(order[half:])
    more = evidence.rng(f"unscored of {role}").permutation(unscored)  # in the order of a folder the first are one class
    learn = np.concatenate([calibrate, more])[:most]
    return _Half(calibrate, judge, learn, {int(row): scores.values[position[int(row)]] for row in scored})


def _blind(evidence: Evidence, members: _Half, others: _Half) -> list[BlindResult]:
    import numpy as np

    from ldm_eval_privacy.blind import BlindView, judge_blindly
    from ldm_eval_privacy.image_statistics import image_statistics

    def grey_or_rgb(role: Role, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = evidence.images(role)
        if len({evidence.images(one).shape[0] for one in ("training", "holdout")}) == 1:
            return np.asarray(images.pixels[rows])
        pixels = np.asarray(images.pixels[rows])
        return pixels if pixels.shape[1] == 3 else np.repeat(pixels, 3, axis=1)

    def statistics(role: Role, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        return image_statistics(grey_or_rgb(role, rows))

    def features(role: Role, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        return evidence.features(role)[rows]

    views = []
    for name, describe in (("image statistics", statistics), (f"{evidence.extractor().name} features", features)):
        views.append(
            BlindView(
                name,
                describe("training", members.learn),
                describe("holdout", others.learn),
                describe("training", members.judge),
                describe("holdout", others.judge),
            )
        )
    return judge_blindly(views)


def _attack(members: _Half, others: _Half) -> _Attack:
    from ldm_eval.stats.roc import auc, auc_interval, rates_at, threshold_at

    inside, outside = members.scores(members.calibrate), others.scores(others.calibrate)
    found = [auc(inside[:, column], outside[:, column]) for column in range(inside.shape[1])]
    column = max(range(len(found)), key=lambda at: abs(found[at] - 0.5))
    sign = 1.0 if found[column] >= 0.5 else -1.0
    choice = _Choice(column, sign, max(found[column], 1 - found[column]))
    judged_in = sign * members.scores(members.judge)[:, column]
    judged_out = sign * others.scores(others.judge)[:, column]
    threshold = threshold_at(sign * outside[:, column], _RATE)
    return _Attack(
        choice,
        judged_in,
        judged_out,
        auc_interval(judged_in, judged_out),
        rates_at(judged_in, judged_out, threshold),
    )


def _findings(evidence: Evidence, attack: _Attack, blind: Sequence[BlindResult]) -> list[Finding]:
    from ldm_eval.stats.roc import detectable_auc

    rates, n_in, n_out = attack.rates, len(attack.members), len(attack.others)
    level = noise_levels(DENOISING_LOSS.parameters)[attack.choice.column]
    sign = "low" if attack.choice.sign < 0 else "high"
    smallest = detectable_auc(n_in, n_out)

    def measured(name: str, value: float, interval: Interval, n: int, unit: str, note: str) -> Measurement:
        return evidence.measurement(
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
            **_protocol(evidence),
        )

    return [
        measured(
            "membership_auc",
            attack.auc.value,
            attack.auc.interval,
            n_in + n_out,
            "AUC, 0.5 is chance",
            f"Primary. Attack advantage on {n_in} training and {n_out} holdout images, not a privacy guarantee; a "
            f"{sign} loss at noise level {level:g} of T means member, as chosen on the other half. The smallest AUC "
            f"this run could have seen (with probability 0.95) is {smallest:.2f}.",
        ),
        measured(
            "membership_tpr_at_1_percent_fpr",
            rates.true_positives / rates.positives,
            rates.true_positive_rate,
            n_in,
            "share of training images",
            f"{rates.true_positives} of {rates.positives} training images recognised while {rates.false_positives} of "
            f"{rates.negatives} holdout images were; threshold transferred from the other half, not interpolated.",
        ),
        measured(
            "membership_false_positive_rate",
            rates.false_positives / rates.negatives,
            rates.false_positive_rate,
            n_out,
            "share of holdout images",
            "What the threshold chosen for 1 % on the other half really gave.",
        ),
        _blind_table(blind),
        _roc_figure(attack),
    ]


def _protocol(evidence: Evidence) -> dict[str, SignatureValue]:
    spec = DENOISING_LOSS
    return {
        "score": spec.name,
        "holdout_digest": evidence.images("holdout").digest,
        **{f"score_{name}": value for name, value in spec.parameters.items()},
        **positive_settings(MembershipLoss.id, _DEFAULTS, evidence.parameters),
    }


def _blind_table(blind: Sequence[BlindResult]) -> Table:
    rows = tuple((r.name, r.auc.value, r.auc.interval.low, r.auc.interval.high, r.auc.positives) for r in blind)
    return Table(
        "blind_classifier",
        "Can the two sets be told apart without the model?",
        ("what it saw", "AUC", "low", "high", "training images judged"),
        rows,
        note="Lower bounds do not exceed 0.5, so a difference between the sets is not what the attack sees.",
    )


def _roc_figure(attack: _Attack) -> Figure:
    import numpy as np

    from ldm_eval.stats.roc import roc_curve

    curve = roc_curve(attack.members, attack.others)
    smallest = 1 / len(attack.others)
    grid = np.unique(np.concatenate([[smallest], curve.false_positive_rate[curve.false_positive_rate >= smallest]]))
    at = np.searchsorted(curve.false_positive_rate, grid, side="right") - 1
    rate = tuple(grid.round(6).tolist())
    return Figure(
        "roc",
        "lines",
        "Membership inference from the denoising loss",
        f"ROC curve of the attack on the judged half, AUC {attack.auc.value:.2f} "
        f"({attack.auc.interval.low:.2f} to {attack.auc.interval.high:.2f}). On the diagonal the attack is a guess.",
        "false positive rate (holdout images called members)",
        "true positive rate (training images called members)",
        (Series("attack", rate, tuple(curve.true_positive_rate[at].round(6).tolist())), Series("guessing", rate, rate)),
        log_x=True,
    )
