"""A lower bound of epsilon from one training: coin flips decided which canaries were in, and the loss guesses which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ldm_eval.api import (
    CANARY,
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
    Scalar,
    ScoreSpec,
    Table,
)
from ldm_eval.errors import ConfigError
from ldm_eval_privacy.denoising_loss import DENOISING_LOSS
from ldm_eval_privacy.settings import positive_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.stats.audit import OneRunAudit

__all__ = ["CANARY_LOSS", "FEWEST", "INCLUDED", "LEFT_OUT", "EmpiricalEpsilon"]

INCLUDED, LEFT_OUT = "included", "left out"
"""What the group column of canaries says."""

FEWEST = 50
"""With 14 guesses, all right, epsilon is shown to be 1.4 at most; fewer canaries are not worth a training."""

_DEFAULTS = {"delta": 1e-5, "guess_share": 0.3}
_LEVEL = 0.95
_NOISE_LEVEL = "0.1"
_NOISES = 8
_UNFAIR = 1e-6
_SIZES = (50, 100, 200, 500, 1000, 2000)

CANARY_LOSS: ScoreSpec = replace(
    DENOISING_LOSS,
    name="canary_loss",
    roles=("canaries",),
    max_images=2000,
    calls_per_image=_NOISES,
    parameters={"noises": _NOISES, "levels": _NOISE_LEVEL},
)
"""The denoising loss at one noise level, fixed beforehand: what is not chosen needs no half of the canaries to choose
it, and a sixth of the network calls. Hence a score of its own name, with more images than the other may have."""


class EmpiricalEpsilon:
    """The largest epsilon that right guesses about coin-flipped canaries refute; lower is better."""

    id: ClassVar[str] = "privacy/empirical_epsilon"
    title: ClassVar[str] = "Empirical epsilon"
    question: ClassVar[str] = "How much does the training give away of one image, at the least?"
    settings: ClassVar[tuple[str, ...]] = tuple(_DEFAULTS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "empirical_epsilon": Planning("mean", "canaries", None, CANARY_LOSS.max_images, {"fewest": FEWEST}),
        "canary_guess_accuracy": Planning(
            "proportion",
            "canaries",
            0.5,
            CANARY_LOSS.max_images,
            {"trials": _DEFAULTS["guess_share"], "fewest": FEWEST},
        ),
        "canary_auc": Planning("auc", "canaries", 0.5, CANARY_LOSS.max_images, {"judged": 0.5, "fewest": FEWEST}),
    }
    needs: ClassVar[Needs] = Needs(roles=("canaries",), scores=(CANARY_LOSS,))
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="empirical_epsilon",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(
            "ldm_eval_privacy.epsilon_phantoms:randomised_response",
            "the loss tells 88 % of the coins truly: epsilon is 2",
            {"epsilon": 2.0},
            truth=2.0,
        ),
        leaves_alone=PhantomCase(
            "ldm_eval_privacy.epsilon_phantoms:randomised_response",
            "a loss that does not depend on the coins",
            {"epsilon": 0.0},
            truth=0.0,
        ),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Guess for the canaries with the lowest and the highest losses, and count.

        Raises:
            ConfigError: for a setting this check does not have, or one outside its range.
        """
        import numpy as np

        from ldm_eval.stats.audit import fixed_guesses, one_run_audit

        values = _settings(evidence.parameters)
        scores = evidence.scores(CANARY_LOSS.name, "canaries")
        said = evidence.images("canaries").groups.get(CANARY)
        if said is None:
            return NotApplicable(
                "These images were not put in or left out by coin flips (`ldm-eval train --canaries N`)."
            )
        said = said[scores.index]
        if len(said) < FEWEST:
            return NotApplicable(
                f"An audit needs {FEWEST} canaries; there are {len(said)}. Train with `ldm-eval train --canaries N`."
            )
        included: NDArray[np.bool_] = np.asarray(said == INCLUDED)
        if reason := _not_a_coin(included, np.asarray(said == LEFT_OUT)):
            return Invalid(reason)
        losses = scores.values[:, 0].astype(np.float64)
        guesses = fixed_guesses(len(losses), values["guess_share"])
        audit = one_run_audit(-losses, included, guesses, values["delta"], _LEVEL)
        return _findings(evidence, audit, losses, included, values)


def _settings(given: Mapping[str, Scalar]) -> dict[str, float]:
    values = positive_settings(EmpiricalEpsilon.id, _DEFAULTS, given)
    for name, limit in (("delta", 0.5), ("guess_share", 1.0)):
        if values[name] > limit:
            raise ConfigError(f"{EmpiricalEpsilon.id}: '{name}' must be at most {limit:g}; found {values[name]:g}.")
    return values


def _not_a_coin(included: NDArray[np.bool_], left_out: NDArray[np.bool_]) -> str:
    """Why these were not fair coins; empty when they may have been."""
    from scipy.special import bdtr

    heads, m = int(included.sum()), len(included)
    if heads + int(left_out.sum()) != m:
        return f"The canaries are neither all '{INCLUDED}' nor '{LEFT_OUT}', so it is not known what the coins said."
    if 2 * float(bdtr(min(heads, m - heads), m, 0.5)) < _UNFAIR:
        return (
            f"{heads} of {m} canaries were included. Fair coins do that in fewer than one of a million trainings, and "
            "the audit rests on fair coins. Train with `ldm-eval train --canaries N`."
        )
    return ""


def _findings(
    evidence: Evidence,
    audit: OneRunAudit,
    losses: NDArray[np.float64],
    included: NDArray[np.bool_],
    values: Mapping[str, float],
) -> list[Finding]:
    from ldm_eval.stats.proportions import clopper_pearson
    from ldm_eval.stats.roc import auc_interval

    def measured(name: str, value: float, interval: Interval, n: int, unit: str, note: str) -> Measurement:
        return evidence.measurement(
            name,
            value,
            interval,
            n=n,
            unit=unit,
            direction="lower",
            against="canaries",
            uses_extractor=False,
            group=None,
            floor=None,
            note=note,
            score=CANARY_LOSS.name,
            score_noises=_NOISES,
            score_levels=_NOISE_LEVEL,
            **values,
        )

    share = audit.correct / audit.guesses
    ranked = auc_interval(-losses[included], -losses[~included], _LEVEL)
    return [
        measured(
            "empirical_epsilon",
            audit.epsilon,
            Interval(audit.epsilon, audit.ceiling, _LEVEL, "one-run audit", "lower"),
            audit.canaries,
            "epsilon",
            f"Primary. A lower bound at delta = {audit.delta:g}: {audit.correct} of {audit.guesses} guesses about "
            f"{audit.canaries} canaries were right. With so many canaries no more than {audit.ceiling:.2f} can be "
            "shown, whatever the model; 0 means that nothing was shown, not that the training is private.",
        ),
        measured(
            "canary_guess_accuracy",
            share,
            clopper_pearson(audit.correct, audit.guesses, _LEVEL),
            audit.guesses,
            "share of guesses, 0.5 is chance",
            f"Attack advantage (twice the accuracy, less one) {2 * share - 1:.2f} on the {audit.guesses} canaries of "
            f"lowest and highest loss at noise level {_NOISE_LEVEL} of T; low means member, as fixed beforehand.",
        ),
        measured(
            "canary_auc",
            ranked.value,
            ranked.interval,
            audit.canaries,
            "AUC, 0.5 is chance",
            f"Of the loss between {ranked.positives} included canaries and {ranked.negatives} left out.",
        ),
        _ceilings(audit, values),
    ]


def _ceilings(audit: OneRunAudit, values: Mapping[str, float]) -> Table:
    from ldm_eval.stats.audit import epsilon_bound, fixed_guesses

    rows = []
    for m in sorted({*_SIZES, audit.canaries}):
        guesses = fixed_guesses(m, values["guess_share"])
        three_in_four = epsilon_bound(m, guesses, round(0.75 * guesses), audit.delta, audit.level)
        rows.append((m, guesses, three_in_four, epsilon_bound(m, guesses, guesses, audit.delta, audit.level)))
    return Table(
        "ceilings",
        "What an audit can show at most",
        ("canaries", "guesses", "epsilon shown by 75 % right", "by all right: the ceiling"),
        tuple(rows),
        note=f"This run has {audit.canaries} canaries. Lower bounds at level {audit.level:g}, delta {audit.delta:g}.",
    )
