"""How many images does a policy need before it can decide? Pure: from rules, how checks are planned, and a pilot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from scipy.special import ndtri

from ldm_eval.api import CheckSpec, Measured, Measurement, Planning
from ldm_eval.errors import ConfigError, DataError, did_you_mean
from ldm_eval.gate.policy import Limit, Policy, Rule
from ldm_eval.stats.designs import AucDesign, ShareDesign, WorstGapDesign
from ldm_eval.stats.power import (
    LARGEST_N,
    Allowed,
    Design,
    DifferenceDesign,
    MeanDesign,
    ProportionDesign,
    power,
    smallest_n,
)
from ldm_eval.stats.shares import BinaryErrors
from ldm_eval.store.results import Results

__all__ = ["PlannedRule", "TruthSource", "plan_policy"]

TruthSource = Literal["half-way", "pilot", "assumed", "none"]

_LEVEL = 0.95
_NO_ERRORS = BinaryErrors(1e9, 1e9, 1e9, 1e9)
_NO_ERRORS_NOTE = "For a classifier without errors: the least there can be. A pilot run counts the errors of yours."


@dataclass(frozen=True, slots=True)
class PlannedRule:
    """What one rule needs, for one assumed truth.

    Attributes:
        rule: Its id.
        check: Id of the check.
        measurement: Name of the measurement.
        group: Its group, if any.
        requirement: The limit in words.
        truth: The true value that is assumed; None when nothing is.
        source: Where it comes from.
        answer: What the right answer then is: ``"pass"`` or ``"fail"``; empty without a truth.
        images: What n counts.
        n: Smallest n that gives that answer with the wanted chance; None when none does, or it is not known.
        default_n: The n of a run as it was asked for, or of the pilot where only the pilot tells how much varies.
        power: Chance of the right answer at ``default_n``.
        note: What the reader must know, or why there is no n.
    """

    rule: str
    check: str
    measurement: str
    group: str | None
    requirement: str
    truth: float | None
    source: TruthSource
    answer: Literal["pass", "fail", ""]
    images: str
    n: int | None
    default_n: int | None
    power: float | None
    note: str


@dataclass(frozen=True, slots=True)
class _Pilot:
    """What a pilot run found for one rule; shares and errors of the classifier per group; how many holdout images."""

    measurement: Measurement
    shares: tuple[Measurement, ...]
    errors: Mapping[str, BinaryErrors]
    holdout: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A rule with all that is known about it, but for the truth."""

    rule: Rule
    planning: Planning
    allowed: Allowed
    least: int
    default_n: int
    pilot: _Pilot | None

    @property
    def level(self) -> float:
        """Level of the interval: the pilot's, or what the rule pins, or 95 %."""
        if self.pilot is not None:
            return self.pilot.measurement.interval.level
        pinned = self.rule.signature.get("level", _LEVEL)
        return float(pinned) if isinstance(pinned, float) and 0 < pinned < 1 else _LEVEL


def plan_policy(
    policy: Policy,
    checks: Mapping[str, CheckSpec],
    *,
    samples: int,
    target: float = 0.9,
    assume: Mapping[str, float] | None = None,
    pilot: Results | None = None,
) -> tuple[PlannedRule, ...]:
    """Plan every rule; a rule with both an assumed value and a pilot gets two entries.

    Args:
        policy: The rules.
        checks: Installed checks by id.
        samples: Images that the run is to sample.
        target: Wanted chance of the right answer.
        assume: Rule id -> true value to plan for.
        pilot: Results of an earlier run of this model, or of one like it.

    Raises:
        ConfigError: for an assumption about a rule that the policy does not have, or a power that is no probability.
    """
    if not 0 < target < 1:
        raise ConfigError(f"The power {target:g} was asked for; it is a probability above 0 and below 1, such as 0.9.")
    known = [rule.id for rule in policy.rules]
    for name, value in (assume or {}).items():
        if name not in known:
            raise ConfigError(
                f"--assume {name}={value:g}: the policy has no such rule.{did_you_mean(name, known)} "
                f"There are: {', '.join(known)}."
            )
    found: list[PlannedRule] = []
    for rule in policy.rules:
        spec = checks.get(rule.check)
        if spec is None:
            note = f"The check '{rule.check}' is not installed.{did_you_mean(rule.check, checks)}"
            found.append(_unplanned(rule, "", note))
            continue
        found += _plan(_wanted(rule, spec, samples, pilot), (assume or {}).get(rule.id), target)
    return tuple(found)


def _wanted(rule: Rule, spec: CheckSpec, samples: int, pilot: Results | None) -> _Wanted:
    name = rule.measurement.partition("@")[0]  # in whichever feature space, it is the same kind of number
    planning = spec.planning.get(name) or next(
        (one for pattern, one in spec.planning.items() if fnmatchcase(name, pattern)), Planning("mean")
    )
    seen = _seen(rule, pilot) if pilot is not None else None
    fewest = int(planning.parameters.get("fewest", 2 if planning.most else spec.needs.samples))
    least = max(2, fewest, rule.min_n or 0)
    default_n = planning.most or samples
    if planning.kind == "mean" and seen is not None:
        default_n = seen.measurement.n
    return _Wanted(rule, planning, _allowed(rule.limit), least, default_n, seen)


def _plan(wanted: _Wanted, assumed: float | None, target: float) -> list[PlannedRule]:
    try:
        design, note = _design(wanted)
    except DataError as error:
        return [_unplanned(wanted.rule, wanted.planning.images, str(error))]
    if design is None:
        return [_unplanned(wanted.rule, wanted.planning.images, note)]
    truths: list[tuple[float, TruthSource]] = [] if assumed is None else [(assumed, "assumed")]
    if wanted.pilot is not None:
        truths.append((wanted.pilot.measurement.value, "pilot"))
    if not truths and (halfway := _halfway(wanted.rule.limit, wanted.planning.perfect)) is not None:
        truths.append((halfway, "half-way"))
    if not truths:
        note = f"Needs a value to plan for: --assume {wanted.rule.id}=VALUE, or a pilot run (--pilot DIR)."
        return [_unplanned(wanted.rule, wanted.planning.images, note)]
    return [_answer(wanted, design, truth, source, target, note) for truth, source in truths]


def _answer(
    wanted: _Wanted, design: Design, truth: float, source: TruthSource, target: float, note: str
) -> PlannedRule:
    rule, allowed = wanted.rule, wanted.allowed
    try:
        n = smallest_n(design, truth, allowed, target, wanted.least)
        at_default = 0.0
        if wanted.default_n >= wanted.least:
            at_default = float(power(design, truth, [wanted.default_n], allowed)[0])
    except DataError as error:
        return _unplanned(rule, wanted.planning.images, str(error))
    most = wanted.planning.most
    if n is None:
        note = f"{_why_none(design, truth, allowed, target)} {note}".strip()
    elif most is not None and n > most:
        note = f"A run takes {most:,} at most, so it will often leave this limit undecided. {note}".strip()
    return PlannedRule(
        rule.id,
        rule.check,
        rule.measurement,
        rule.group,
        str(rule.limit),
        truth,
        source,
        "pass" if allowed.holds(truth) else "fail",
        _images(wanted, n),
        n,
        wanted.default_n,
        at_default,
        note,
    )


def _images(wanted: _Wanted, n: int | None) -> str:
    """What n counts; beside it, how many times the pilot's images that is where only the pilot tells."""
    if wanted.planning.kind == "difference" and wanted.pilot is not None and wanted.pilot.holdout:
        return wanted.planning.images.partition(",")[0]
    if n is None or wanted.planning.kind != "mean" or wanted.pilot is None:
        return wanted.planning.images
    return f"{wanted.planning.images} ({n / wanted.pilot.measurement.n:.3g} times the pilot's, in every set)"


def _why_none(design: Design, truth: float, allowed: Allowed, target: float) -> str:
    if allowed.on_edge(truth):
        return "No n decides: the assumed truth is the limit itself."
    best = float(power(design, truth, [LARGEST_N], allowed)[0])
    if isinstance(design, ShareDesign | WorstGapDesign) and best < target:
        return "No n decides: the doubt about the classifier's errors stays. Label more real images, not samples."
    return f"No n up to {LARGEST_N:,} reaches {target:.0%}; the chance there is {best:.1%}."


def _design(wanted: _Wanted) -> tuple[Design | None, str]:
    """The design of a measurement and a note on what it takes for granted; None and why when it needs a pilot."""
    values, level, pilot = wanted.planning.parameters, wanted.level, wanted.pilot
    match wanted.planning.kind:
        case "proportion":
            return ProportionDesign(level, values.get("trials", 1.0)), ""
        case "difference":
            control, fixed = values["control"], None
            note = f"With {control:.2g} in the control."
            if pilot is not None and pilot.holdout:
                fixed = max(1, int(pilot.holdout * values["controls"]))
                note = f"With {control:.2g} in the control of {fixed:,} images that the pilot's holdout gives."
            return DifferenceDesign(control, values["controls"], level, fixed), note
        case "auc":
            lost = values.get("lost", 0.0)
            note = f"One run in {round(1 / lost)} is Invalid by chance, which counts as undecided." if lost else ""
            return AucDesign(values.get("judged", 1.0), bool(values.get("chosen", 0.0)), lost, level), note
        case "share":
            errors = pilot.errors.get(wanted.rule.group or "") if pilot else None
            return ShareDesign(errors or _NO_ERRORS, level, level), "" if errors else _NO_ERRORS_NOTE
        case "gap":
            return _gap_design(wanted)
        case "mean":
            return _mean_design(wanted)


def _gap_design(wanted: _Wanted) -> tuple[Design, str]:
    pilot, target = wanted.pilot, wanted.planning.parameters.get("target", 0.5)
    if pilot is None or not pilot.shares or any(one.group not in pilot.errors for one in pilot.shares):
        note = f"Two groups with a target of {target:.0%}. {_NO_ERRORS_NOTE}"
        return WorstGapDesign((target, 1 - target), (1.0, -1.0), (_NO_ERRORS, _NO_ERRORS), wanted.level), note
    targets = tuple(_value(one.signature["target"]) for one in pilot.shares)
    gaps = [one.value - target for one, target in zip(pilot.shares, targets, strict=True)]
    worst = max(abs(gap) for gap in gaps) or 1.0
    errors = tuple(pilot.errors[one.group or ""] for one in pilot.shares)
    note = f"With the pilot's {len(targets)} groups, their targets and its classifier's errors."
    if len(targets) > 2:
        note += " The power is a lower bound."
    return WorstGapDesign(targets, tuple(gap / worst for gap in gaps), errors, wanted.level), note


def _mean_design(wanted: _Wanted) -> tuple[Design | None, str]:
    if wanted.pilot is None:
        return None, (
            "Needs a pilot run: how much this number varies depends on model and data. "
            "Run it once with few samples, then add --pilot DIR."
        )
    measured = wanted.pilot.measurement
    interval = measured.interval
    arms = (measured.value - interval.low, interval.high - measured.value)
    if interval.sided != "two" or not all(map(math.isfinite, arms)) or max(arms) <= 0:
        return None, "The pilot's interval is not two-sided, or has no width; it says nothing about the spread."
    error = max(arms) / float(ndtri(0.5 + interval.level / 2))
    return MeanDesign(error, measured.n, interval.level, bool(wanted.planning.parameters.get("curved", 0.0))), (
        "Normal, by the pilot's standard error over the root of n; wrong for a number that itself moves with n."
    )


def _halfway(limit: Limit, perfect: float | None) -> float | None:
    """Half-way from a perfect value to the limit; from the middle of a band where nothing is said to be perfect."""
    if perfect is None and limit.lowest is not None and limit.highest is not None:
        perfect = (limit.lowest + limit.highest) / 2
    if perfect is None or not _allowed(limit).holds(perfect):
        return None
    nearest = limit.highest if limit.highest is not None else limit.lowest
    return None if nearest is None or nearest == perfect else (perfect + nearest) / 2


def _allowed(limit: Limit) -> Allowed:
    return Allowed(
        -math.inf if limit.lowest is None else limit.lowest, math.inf if limit.highest is None else limit.highest
    )


def _unplanned(rule: Rule, images: str, note: str) -> PlannedRule:
    asked = (rule.id, rule.check, rule.measurement, rule.group, str(rule.limit))
    return PlannedRule(*asked, None, "none", "", images, None, None, None, note)


def _seen(rule: Rule, pilot: Results) -> _Pilot | None:
    record = next((one for one in pilot.checks if one.check == rule.check), None)
    if record is None or not isinstance(record.outcome, Measured):
        return None
    measurements = record.outcome.measurements
    named = [one for one in measurements if one.name == rule.measurement and one.group == rule.group]
    if len(named) != 1:
        return None
    shares = tuple(one for one in measurements if one.name == "corrected_share" and "target" in one.signature)
    holdout = next((one.n for one in pilot.data if one.role == "holdout"), 0)
    return _Pilot(named[0], shares, _pilot_errors(record.outcome, shares), holdout)


def _pilot_errors(outcome: Measured, shares: tuple[Measurement, ...]) -> dict[str, BinaryErrors]:
    """The classifier's errors, read back from the table of shares: what its specificity must have been."""
    table = next((one for one in outcome.tables if one.name == "shares"), None)
    wanted = ("labelled so", "corrected", "recognised", "real images labelled")
    if table is None or not shares or not set(wanted) <= set(table.columns):
        return {}
    rows = {str(row[0]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
    total = sum(_value(row["real images labelled"]) for row in rows.values())
    found = {}
    for group, row in rows.items():
        raw, share, sensitivity, positives = (_value(row[column]) for column in wanted)
        if share >= 1 or not 0 < positives < total:
            return {}
        specificity = min(max(1 - (raw - share * sensitivity) / (1 - share), 0.0), 1.0)
        negatives = total - positives
        found[group] = BinaryErrors(sensitivity * positives, positives, specificity * negatives, negatives)
    return found


def _value(cell: object) -> float:
    return float(cell) if isinstance(cell, int | float) else 0.0
