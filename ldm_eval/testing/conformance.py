"""The conformance kit: a check is put before its own phantoms, and before the rules that a run relies on.

Plugin authors call ``assert_conforms`` from one test::

    from ldm_eval.api import CheckSpec
    from ldm_eval.testing.conformance import assert_conforms

    def test_my_check_conforms():
        assert_conforms(CheckSpec.of(MyCheck))
"""

from __future__ import annotations

import importlib
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from scipy.special import bdtr, bdtrc

from ldm_eval.api import Alarm, Check, CheckSpec, Evidence, Interval, Invalid, Measurement, PhantomCase, Phantoms
from ldm_eval.errors import ConfigError, PluginError, did_you_mean
from ldm_eval.testing.declared import DeclaredEvidence
from ldm_eval.testing.inspection import (
    description_problems,
    direction_problems,
    import_problems,
    report_problems,
)

__all__ = [
    "CaseName",
    "CaseRun",
    "CaseTally",
    "ConformanceReport",
    "assert_conforms",
    "examine",
    "phantom_evidence",
    "rate_problems",
    "run_case",
]

CaseName = Literal["catches", "leaves_alone"]
"""The two phantoms of a check."""

REJECTED_BELOW = 1e-3
"""A promised rate is rejected when a count this far off would be rarer than this, were the promise true."""


@dataclass(frozen=True, slots=True)
class CaseTally:
    """How one phantom went.

    Attributes:
        effect: The phantom in words.
        seeds: Runs that gave the measurement or answered Invalid; a crash is a problem, not a quiet instrument.
        alarms: Runs that raised the alarm.
        invalid: Runs that answered Invalid (a premise that is tested fails by chance now and then): no alarm.
        truth: The exact value, where it is known.
        covered: Intervals that held it.
    """

    effect: str
    seeds: int
    alarms: int
    invalid: int = 0
    truth: float | None = None
    covered: int | None = None


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """What the kit found. ``problems`` is empty when the check conforms; each is one sentence for its author."""

    check: str
    seeds: int
    catches: CaseTally | None
    leaves_alone: CaseTally | None
    problems: tuple[str, ...]

    @property
    def conforms(self) -> bool:
        """True when there are no problems."""
        return not self.problems

    def summary(self) -> str:
        """The report as text: the two counts, then the problems."""
        lines = [f"{self.check}: {'conforms' if self.conforms else 'does not conform'}"]
        for name, tally in (("catches", self.catches), ("leaves alone", self.leaves_alone)):
            if tally is not None:
                covered = "" if tally.covered is None else f"; {tally.covered} intervals hold {tally.truth:g}"
                invalid = f", invalid in {tally.invalid}" if tally.invalid else ""
                counts = f"alarm in {tally.alarms} of {tally.seeds} seeds{invalid}{covered}"
                lines.append(f"  {name} ({tally.effect}): {counts}")
        return "\n".join([*lines, *(f"  - {problem}" for problem in self.problems)])


def assert_conforms(spec: CheckSpec, *, seeds: int = 20, first_seed: int = 0) -> ConformanceReport:
    """Examine ``spec`` and return the report.

    Raises:
        AssertionError: naming every problem.
    """
    report = examine(spec, seeds=seeds, first_seed=first_seed)
    if not report.conforms:
        raise AssertionError(report.summary())
    return report


def examine(spec: CheckSpec, *, seeds: int = 20, first_seed: int = 0) -> ConformanceReport:
    """Run a check on both of its phantoms and look at everything that a run and a reader rely on.

    Looked at: the description; what importing the check's module drags in; that only declared evidence is read and
    none is written to; the types and names returned; finite values inside their intervals; equal findings from equal
    evidence; global random generators left alone; the alarm rate on both phantoms against what was promised; and,
    where the truth is known, how often the interval holds it. A run that answers Invalid raises no alarm, and may do
    so as often as false alarms are tolerated. Rates are judged by exact binomial tails: a promise is rejected only
    when the count would have a probability below 0.001 under it.

    Args:
        spec: The check. For a class, ``CheckSpec.of(TheCheck)``.
        seeds: Seeds per phantom. More seeds reject smaller shortfalls: at 20 a power of 0.95 is rejected at 14
            alarms or fewer, false alarms of 0.05 at 6 or more.
        first_seed: First of the consecutive seeds.

    Raises:
        ConfigError: for fewer than one seed.
    """
    if seeds < 1:
        raise ConfigError(f"A check is examined on at least one seed; found seeds={seeds}.")
    problems = [*description_problems(spec), *import_problems(spec.load)]
    phantoms: object = spec.phantoms
    catches = leaves_alone = None
    if isinstance(phantoms, Phantoms) and isinstance(phantoms.alarm, Alarm):
        caught = run_case(spec, "catches", seeds, first_seed)
        left = run_case(spec, "leaves_alone", seeds, first_seed)
        problems += [*caught.problems, *left.problems, *rate_problems(phantoms, caught, left)]
        catches, leaves_alone = caught.tally, left.tally
    return ConformanceReport(
        check=spec.id,
        seeds=seeds,
        catches=catches,
        leaves_alone=leaves_alone,
        problems=tuple(dict.fromkeys(problems)),
    )


def phantom_evidence(spec: CheckSpec, case: PhantomCase, seed: int) -> Evidence:
    """The evidence of one phantom for one seed, under the rules of a real run (see ``DeclaredEvidence``).

    Raises:
        PluginError: when the factory cannot be found or does not return Evidence for this check.
    """
    evidence = _factory(case.factory)(seed=seed, **case.parameters)
    if not isinstance(evidence, Evidence):
        raise PluginError(f"{case.factory} returned {type(evidence).__name__}; a phantom is an Evidence")
    if evidence.check != spec.id:
        raise PluginError(f"{case.factory} made evidence for the check '{evidence.check}', not for '{spec.id}'")
    return DeclaredEvidence(evidence, spec.needs)


def _factory(path: str) -> Callable[..., object]:
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise PluginError(f"the phantom factory {path} cannot be imported: {error}") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise PluginError(f"{module_name} has no function '{name}'.{did_you_mean(name, vars(module))}")
    found: Callable[..., object] = factory
    return found


@dataclass(frozen=True, slots=True)
class CaseRun:
    """One phantom before its check, for all seeds.

    Attributes:
        tally: The counts.
        levels: Confidence levels of the intervals that were reported, one per run that measured.
        problems: What was wrong, one sentence each.
    """

    tally: CaseTally
    levels: tuple[float, ...]
    problems: tuple[str, ...]


@final
class _Complaints:
    """Problems of one case, each with the seeds it was seen at, so that twenty seeds do not give twenty lines."""

    def __init__(self, case: str, seeds: int) -> None:
        self._case, self._seeds = case, seeds
        self._counts: Counter[str] = Counter()

    def add(self, problem: str) -> None:
        """Note ``problem`` once more."""
        self._counts[problem] += 1

    def lines(self) -> tuple[str, ...]:
        """One line per problem."""
        return tuple(
            f"{self._case}: {text}" + (f" (in {count} of {self._seeds} seeds)" if count > 1 else "")
            for text, count in self._counts.items()
        )


def run_case(
    spec: CheckSpec, name: CaseName, seeds: int, first_seed: int = 0, on_seed: Callable[[], None] | None = None
) -> CaseRun:
    """Put a check before one of its phantoms, once per seed, and count.

    Args:
        spec: The check; its phantoms are of the right types (see ``description_problems``).
        name: Which phantom.
        seeds: How many seeds.
        first_seed: First of the consecutive seeds; at this one the check runs twice on the same and once on equal
            evidence.
        on_seed: Called after every seed: a sign of life.
    """
    case: PhantomCase = getattr(spec.phantoms, name)
    complaints = _Complaints(name, seeds)
    measured: list[Measurement] = []
    refusals: list[str] = []
    for seed in range(first_seed, first_seed + seeds):
        try:
            report = _report(spec, case, seed, complaints, thorough=seed == first_seed)
        except (Exception, SystemExit) as error:  # a plugin may raise anything; it is reported, not obeyed
            complaints.add(f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])
            continue
        finally:
            if on_seed is not None:
                on_seed()
        found = _looked_at(spec.phantoms, report)
        if isinstance(found, Measurement):
            measured.append(found)
            for problem in direction_problems(spec.phantoms.alarm, found):
                complaints.add(problem)
        elif isinstance(found, Invalid):
            refusals.append(found.reason)
        else:
            complaints.add(found)
    covered = None if case.truth is None else sum(_holds(m.interval, case.truth) for m in measured)
    alarms = sum(spec.phantoms.alarm.raised_by(m) for m in measured)
    tally = CaseTally(case.effect, len(measured) + len(refusals), alarms, len(refusals), case.truth, covered)
    if bdtrc(len(refusals) - 1, max(1, tally.seeds), spec.phantoms.false_alarms) < REJECTED_BELOW:
        complaints.add(f"it answered Invalid in {len(refusals)} of {tally.seeds} seeds, last: {refusals[-1]}")
    return CaseRun(tally, tuple(m.interval.level for m in measured), complaints.lines())


def _report(spec: CheckSpec, case: PhantomCase, seed: int, complaints: _Complaints, *, thorough: bool) -> object:
    """What the check reports at one seed; ``thorough`` runs it again on the same and on equal evidence."""
    check: Check = spec.load()
    evidence = phantom_evidence(spec, case, seed)
    before = _global_generators()
    report = check.run(evidence)
    if _global_generators() != before:
        complaints.add("it uses a global random generator; take randomness from evidence.rng(purpose)")
    for problem in report_problems(spec, report):
        complaints.add(problem)
    if thorough:
        if check.run(evidence) != report:
            complaints.add("the same evidence gives other findings the second time")
        if spec.load().run(phantom_evidence(spec, case, seed)) != report:
            complaints.add(f"the phantom made again with the same seed ({seed}) gives other findings")
    return report


def _global_generators() -> tuple[object, ...]:
    numpy_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  (looked at, never used)
    torch = sys.modules.get("torch")  # a check that never imported it cannot have touched it
    torch_state = None if torch is None else bytes(torch.get_rng_state().numpy())
    return random.getstate(), bytes(numpy_state["key"]), numpy_state["pos"], torch_state


def _looked_at(phantoms: Phantoms, report: object) -> Measurement | Invalid | str:
    """The measurement that the alarm looks at, or Invalid, or a sentence that says it is not there."""
    if isinstance(report, Invalid):
        return report
    measurements = (
        [item for item in report if isinstance(item, Measurement)] if isinstance(report, list | tuple) else []
    )
    for measurement in measurements:
        if (measurement.name, measurement.group) == (phantoms.measurement, phantoms.group):
            return measurement
    group = "" if phantoms.group is None else f" of the group '{phantoms.group}'"
    names = sorted({measurement.name for measurement in measurements})
    return (
        f"no measurement '{phantoms.measurement}'{group} was reported.{did_you_mean(phantoms.measurement, names)} "
        f"Reported: {', '.join(names) or 'none'}"
    )


def _holds(interval: Interval, truth: float) -> bool:
    above = interval.sided == "upper" or interval.low <= truth
    below = interval.sided == "lower" or truth <= interval.high
    return above and below


def rate_problems(phantoms: Phantoms, catches: CaseRun, leaves_alone: CaseRun) -> Iterator[str]:
    """Promises that the counts reject, by exact binomial tails: power, false alarms, coverage where truth is known."""
    caught, left = catches.tally, leaves_alone.tally
    if caught.seeds and bdtr(caught.alarms, caught.seeds, phantoms.power) < REJECTED_BELOW:
        yield (
            f"catches: the alarm was raised in {caught.alarms} of {caught.seeds} seeds, "
            f"where {phantoms.power:.0%} was promised ({caught.effect})"
        )
    if left.seeds and bdtrc(left.alarms - 1, left.seeds, phantoms.false_alarms) < REJECTED_BELOW:
        yield (
            f"leaves_alone: the alarm was raised in {left.alarms} of {left.seeds} seeds, "
            f"where {phantoms.false_alarms:.0%} is tolerated ({left.effect})"
        )
    for name, run in (("catches", catches), ("leaves_alone", leaves_alone)):
        covered = run.tally.covered
        if covered is not None and run.levels and bdtr(covered, len(run.levels), min(run.levels)) < REJECTED_BELOW:
            yield (
                f"{name}: {covered} of {len(run.levels)} intervals hold the true value {run.tally.truth:g}, "
                f"where {min(run.levels):.0%} should"
            )
