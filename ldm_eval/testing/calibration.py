"""Calibration: every instrument is put before what it must see and what it must leave alone, and keeps its promises.

``calibrate_instrument`` does one, in this process; ``calibrate`` does many, each in a process of its own, and writes
down what was found with the versions it was found with.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from math import comb

from ldm_eval.api import Alarm, CheckSpec, Phantoms
from ldm_eval.errors import ConfigError, did_you_mean
from ldm_eval.hooks.catalogue import Catalogue, PluginRecord, unavailable_reason
from ldm_eval.stats.proportions import clopper_pearson
from ldm_eval.store.certificate import CalibratedCase, Certificate, Instrument, Rate
from ldm_eval.testing.calibration_pool import Job, Outcome, run_jobs
from ldm_eval.testing.conformance import CaseName, CaseRun, rate_problems, run_case
from ldm_eval.testing.inspection import description_problems
from ldm_eval.version import installed_version

__all__ = [
    "CORE",
    "DIFFUSION",
    "FEWEST_SEEDS",
    "FULL_SEEDS",
    "QUICK_SEEDS",
    "Calibrator",
    "calibrate",
    "calibrate_check",
    "calibrate_diffusion",
    "estimated_seconds",
    "instrument_names",
]

QUICK_SEEDS, FULL_SEEDS, FEWEST_SEEDS = 100, 1000, 10
"""Seeds per phantom. Fewer than ten cannot part an instrument that raises its alarm by the toss of a coin."""

CORE = "ldm-eval"
"""Who offers the diffusion mathematics."""

DIFFUSION = ("diffusion/samplers", "diffusion/orders", "diffusion/parameterisations", "diffusion/bound")
"""Instruments that are no checks: each compares what is computed with closed forms, without random numbers."""

_LEVEL = 0.95
_ALIKE = 0.01


def instrument_names(catalogue: Catalogue, patterns: Iterable[str] = ()) -> list[str]:
    """The instruments that ``patterns`` choose (all when there are none): installed checks, then ``diffusion/*``.

    Raises:
        ConfigError: for a pattern that chooses nothing.
    """
    known = [*catalogue.checks, *DIFFUSION]
    wanted = [pattern.strip() for pattern in patterns if pattern.strip()] or ["*"]
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ConfigError(
                f"--checks {pattern}: no instrument is called so.{did_you_mean(pattern, known)} "
                f"There are: {', '.join(known)}."
            )
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in wanted)]


@dataclass(frozen=True, slots=True)
class Calibrator:
    """How a calibration is done.

    Attributes:
        seeds: Seeds per phantom.
        first_seed: First of the consecutive seeds.
        jobs: Processes at a time.
        patience: Seconds that one seed, or the start of a process, may take; then the instrument is stopped.
        disabled: Plugins to leave out, as the catalogue was told.
        extra: Plugin modules that no package registers, as the catalogue was told.
    """

    seeds: int = QUICK_SEEDS
    first_seed: int = 0
    jobs: int = 1
    patience: float = 120.0
    disabled: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.seeds < FEWEST_SEEDS:
            raise ConfigError(
                f"--seeds {self.seeds}: with fewer than {FEWEST_SEEDS} seeds an instrument that answers by chance "
                "cannot be told from a good one."
            )
        if self.first_seed < 0:
            raise ConfigError(f"--first-seed {self.first_seed}: seeds are whole numbers from 0.")
        if self.jobs < 1:
            raise ConfigError(f"--jobs {self.jobs}: at least one process has to work.")
        if not self.patience > 0:
            raise ConfigError(f"--timeout {self.patience:g}: a seed needs some time; name more than 0 seconds.")


def calibrate(
    catalogue: Catalogue,
    names: Sequence[str],
    how: Calibrator,
    on_done: Callable[[Instrument], None] = lambda instrument: None,
) -> Certificate:
    """Calibrate the instruments ``names``, each in a process of its own.

    An instrument whose process raises, hangs, exits or crashes has failed, with what happened as its problem; the
    others go on. What needs an extra that is not installed is ``unavailable``.

    Args:
        catalogue: All that is installed, discovered with ``how.disabled`` and ``how.extra``.
        names: From ``instrument_names``.
        how: Seeds and machine; ``jobs`` and ``patience`` leave no trace in the certificate.
        on_done: Called with every instrument as it is finished, in no particular order.
    """
    found = {name: _unavailable(name, catalogue) for name in names}
    for instrument in found.values():
        if instrument is not None:
            on_done(instrument)

    def finished(outcome: Outcome) -> None:
        plugin = _offered_by(outcome.name, catalogue)
        instrument = outcome.instrument or Instrument(outcome.name, plugin, "failed", (outcome.problem,), ())
        found[outcome.name] = instrument
        on_done(instrument)

    run_jobs(_jobs(found, how, how.seeds), how.jobs, how.patience, finished)
    return Certificate(
        tool={"name": CORE, "version": installed_version()},
        plugins=_plugins(names, catalogue),
        libraries={
            **{name: version(name) for name in ("numpy", "scipy", "torch")},
            "python": platform.python_version(),
        },
        seeds=how.seeds,
        first_seed=how.first_seed,
        instruments=tuple(instrument for _, instrument in sorted(found.items()) if instrument is not None),
    )


def estimated_seconds(catalogue: Catalogue, names: Sequence[str], how: Calibrator) -> float:
    """How long ``calibrate`` will take here, from one timed seed of each phantom.

    Instruments that do not answer to that seed are counted with the patience they will be given.
    """
    spent: list[float] = []

    def finished(outcome: Outcome) -> None:
        once = how.patience if outcome.instrument is None else outcome.seconds
        spent.append(once + how.seeds * outcome.seconds_per_seed)

    available = {name: _unavailable(name, catalogue) for name in names}
    run_jobs(_jobs(available, how, 0), how.jobs, how.patience, finished)
    ends = [0.0] * how.jobs
    for seconds in sorted(spent, reverse=True):  # the longest first: what a pool of workers comes to
        ends[ends.index(min(ends))] += seconds
    return max(ends)


def _jobs(found: Mapping[str, Instrument | None], how: Calibrator, seeds: int) -> list[Job]:
    return [
        Job(name, seeds, how.first_seed, how.disabled, how.extra)
        for name, instrument in found.items()
        if instrument is None
    ]


def _offered_by(name: str, catalogue: Catalogue) -> str:
    spec = catalogue.checks.get(name)
    if spec is None:
        return CORE
    owner = catalogue.owner(spec)
    return owner.distribution or owner.name


def _unavailable(name: str, catalogue: Catalogue) -> Instrument | None:
    spec = catalogue.checks.get(name)
    reason = unavailable_reason(spec.requires, spec.extra) if spec is not None else ""
    return Instrument(name, _offered_by(name, catalogue), "unavailable", (reason,), ()) if reason else None


def _plugins(names: Sequence[str], catalogue: Catalogue) -> tuple[dict[str, str], ...]:
    owners: dict[str, PluginRecord] = {}
    for name in names:
        if name in catalogue.checks:
            owner = catalogue.owner(catalogue.checks[name])
            owners[owner.name] = owner
    return tuple(
        {"name": owner.name, "distribution": owner.distribution, "version": owner.version}
        for _, owner in sorted(owners.items())
    )


def calibrate_check(
    spec: CheckSpec,
    plugin: str,
    seeds: int,
    first_seed: int = 0,
    on_seed: Callable[[], None] | None = None,
) -> Instrument:
    """Put one check before both of its phantoms, in this process.

    It is calibrated when exact binomial tails do not reject what it promised (power, false alarms, coverage of its
    interval where the truth is known), when its alarm tells the two phantoms apart (Fisher's exact test at 0.01), and
    when every run kept the rules of a run.
    """
    problems = list(description_problems(spec))
    phantoms: object = spec.phantoms
    if not isinstance(phantoms, Phantoms) or not isinstance(phantoms.alarm, Alarm):
        return Instrument(spec.id, plugin, "failed", tuple(problems), ())
    caught = run_case(spec, "catches", seeds, first_seed, on_seed)
    left = run_case(spec, "leaves_alone", seeds, first_seed, on_seed)
    problems += [*caught.problems, *left.problems, *rate_problems(phantoms, caught, left), *_alike(caught, left)]
    cases = (_case("catches", phantoms, caught), _case("leaves_alone", phantoms, left))
    return Instrument(spec.id, plugin, "failed" if problems else "calibrated", tuple(dict.fromkeys(problems)), cases)


def _case(name: CaseName, phantoms: Phantoms, run: CaseRun) -> CalibratedCase:
    if name == "catches":
        expected = f"alarm in at least {100 * phantoms.power:g} %"
    else:
        expected = f"alarm in at most {100 * phantoms.false_alarms:g} %"
    tally = run.tally
    coverage = None if tally.covered is None else _rate(tally.covered, len(run.levels))
    return CalibratedCase(name, tally.effect, expected, _rate(tally.alarms, tally.seeds), coverage, truth=tally.truth)


def _rate(count: int, of: int) -> Rate | None:
    if of == 0:
        return None
    interval = clopper_pearson(count, of, _LEVEL)
    return Rate(count, of, interval.low, interval.high, _LEVEL)


def _alike(caught: CaseRun, left: CaseRun) -> Iterator[str]:
    """A lax promise can be kept by chance; telling the two phantoms apart cannot."""
    a, n = caught.tally.alarms, caught.tally.seeds
    b, m = left.tally.alarms, left.tally.seeds
    if n and m and _fisher(a, n, b, m) > _ALIKE:
        yield (
            f"the alarm does not tell its phantoms apart: raised in {a} of {n} seeds of the one it must catch and in "
            f"{b} of {m} of the one it must leave alone"
        )


def _fisher(a: int, n: int, b: int, m: int) -> float:
    """One-sided: how likely at least ``a`` of all a + b alarms fall among the first ``n``, were it all one rate."""
    every = comb(n + m, a + b)
    return sum(comb(n, k) * comb(m, a + b - k) for k in range(a, min(n, a + b) + 1)) / every


def calibrate_diffusion(name: str, on_comparison: Callable[[], None] | None = None) -> Instrument:
    """Compare one part of the diffusion mathematics with its closed forms, in this process. Imports torch."""
    from ldm_eval.testing.diffusion_instruments import INSTRUMENTS

    rows, problems = [], []
    for comparison in INSTRUMENTS[name]():
        rows.append(comparison.row())
        if comparison.problem:
            problems.append(comparison.problem)
        if on_comparison is not None:
            on_comparison()
    return Instrument(name, CORE, "failed" if problems else "calibrated", tuple(problems), tuple(rows))
