"""What can be wrong with a check's description and with what it reports, as sentences."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from ldm_eval.api import (
    Alarm,
    CheckSpec,
    Figure,
    Finding,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Table,
)

__all__ = ["description_problems", "direction_problems", "import_problems", "report_problems"]

_ID = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*")
_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_HEAVY = ("torch", "pandas", "matplotlib", "scipy.stats")
_ROUNDING = 1e-9

# Names of test modules are not importable in a fresh interpreter; their file is.
_LOOK = """
import importlib, importlib.util, json, sys
name, file, heavy = sys.argv[1], sys.argv[2], sys.argv[3:]
try:
    importlib.import_module(name)
except ModuleNotFoundError as error:
    if not file or error.name is None or not (name + ".").startswith(error.name + "."):
        raise
    found = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
print(json.dumps([module for module in heavy if module in sys.modules]))
"""


def description_problems(spec: CheckSpec) -> Iterator[str]:
    """What is wrong with the description of a check, before it has run."""
    if not _ID.fullmatch(str(spec.id)):
        yield f"the id '{spec.id}' must read family/what_it_measures, in small letters, digits and underscores"
    for name, text in (("title", spec.title), ("question", spec.question)):
        if not str(text).strip():
            yield f"it has no {name}"
    needs: object = spec.needs  # a plugin's types are what they turn out to be
    phantoms: object = spec.phantoms
    if not isinstance(needs, Needs):
        yield f"needs must be a Needs; found {type(needs).__name__}"
    if isinstance(phantoms, Phantoms):
        yield from _phantom_problems(phantoms)
    else:
        yield "it declares no phantoms: one that it must catch and one that it must leave alone"


def _phantom_problems(phantoms: Phantoms) -> Iterator[str]:
    alarm: object = phantoms.alarm
    if not isinstance(alarm, Alarm):
        yield f"the alarm must be an Alarm; found {type(alarm).__name__}"
    if not 0 <= phantoms.false_alarms < phantoms.power <= 1:
        yield (
            f"a power of {phantoms.power} with false alarms of {phantoms.false_alarms} promises nothing: "
            "0 <= false_alarms < power <= 1"
        )
    for name, case in (("catches", phantoms.catches), ("leaves_alone", phantoms.leaves_alone)):
        if not _PATH.fullmatch(case.factory):
            yield f"{name}: the factory '{case.factory}' must read package.module:function"
        if not case.effect.strip():
            yield f"{name}: the effect is not said in words"
    if _same(phantoms.catches, phantoms.leaves_alone):
        yield "catches and leaves_alone are the same phantom, which nothing could tell apart"


def _same(first: PhantomCase, second: PhantomCase) -> bool:
    return first.factory == second.factory and dict(first.parameters) == dict(second.parameters)


def direction_problems(alarm: Alarm, found: Measurement) -> Iterator[str]:
    """An alarm that goes off on the side which the measurement itself calls better: one of the two words is false."""
    side, better = ("high", "higher") if alarm.comparison == ">" else ("low", "lower")
    if found.direction == better:
        yield (
            f"the alarm is raised by {side} values of '{found.name}', whose direction says that {better} is better: "
            "correct the direction, or raise the alarm on the worse side"
        )


def import_problems(load: Callable[[], object]) -> Iterator[str]:
    """Heavy modules that come along when the module behind ``load`` is imported in a fresh interpreter."""
    while isinstance(load, functools.partial):
        load = load.func
    name = getattr(load, "__module__", None)
    if isinstance(name, str) and name != "__main__":
        file = getattr(sys.modules.get(name), "__file__", None) or ""
        yield from _imported_by(name, file)


@functools.cache
def _imported_by(name: str, file: str) -> tuple[str, ...]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    # Our own program and our own interpreter; the module named is one that is imported here already.
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _LOOK, name, file, *_HEAVY], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return (f"its module {name} cannot be imported alone: {last}",)
    heavy = json.loads(done.stdout.splitlines()[-1])
    return tuple(
        f"importing its module {name} imports {module}, so listing checks is slow: import it inside run()"
        for module in heavy
    )


def report_problems(spec: CheckSpec, report: object) -> Iterator[str]:
    """What is wrong with what ``run`` returned on a phantom. Invalid is an answer; how often it comes is counted."""
    if isinstance(report, Invalid):
        return
    if isinstance(report, NotApplicable):
        yield f"it answered NotApplicable on its own phantom: {report.reason}"
        return
    if not isinstance(report, Sequence) or isinstance(report, str):
        yield f"run() must return a list of findings; it returned {type(report).__name__}"
        return
    seen: set[tuple[str, ...]] = set()
    for finding in report:
        if not isinstance(finding, Measurement | Table | Figure):
            yield f"run() returned a {type(finding).__name__}; findings are Measurement, Table and Figure"
            continue
        key = _key(finding)
        if key in seen:
            yield f"two findings are called {' / '.join(key)}"
        seen.add(key)
        if isinstance(finding, Measurement):
            yield from _measurement_problems(spec, finding)
        elif isinstance(finding, Figure):
            yield from _figure_problems(finding)


def _key(finding: Finding) -> tuple[str, ...]:
    if isinstance(finding, Measurement):
        return ("measurement", finding.name, *([finding.group] if finding.group is not None else []))
    return (type(finding).__name__.lower(), finding.name)


def _measurement_problems(spec: CheckSpec, found: Measurement) -> Iterator[str]:
    name, interval = f"measurement '{found.name}'", found.interval
    if found.check != spec.id:
        yield f"{name} says it comes from {found.check}; make it with evidence.measurement(...)"
    if not all(map(math.isfinite, (found.value, interval.low, interval.high))):
        yield f"{name} is not finite: {found.value} in [{interval.low}, {interval.high}]"
    slack = _ROUNDING * max(1.0, abs(found.value))
    below = interval.sided != "upper" and found.value < interval.low - slack
    above = interval.sided != "lower" and found.value > interval.high + slack
    if below or above:
        yield f"{name} = {found.value:.6g} lies outside its own interval [{interval.low:.6g}, {interval.high:.6g}]"
    for what, text in (("name", found.name), ("unit", found.unit), ("interval estimator", interval.estimator)):
        if not text.strip():
            yield f"{name} has no {what}"
    for key, value in found.signature.items():
        if not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
            yield f"{name}: '{key}' of its signature must be text, a finite number, a bool or None; found {value!r}"


def _figure_problems(figure: Figure) -> Iterator[str]:
    if not figure.alt.strip():
        yield f"figure '{figure.name}' has no alternative text"
    for series in figure.series:
        numbers = [*series.x, *series.y, *series.low, *series.high]
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            yield f"figure '{figure.name}': series '{series.name}' holds a number that is not finite"
        lengths = {len(series.x), len(series.y)} | {len(bars) for bars in (series.low, series.high) if bars}
        if len(lengths) > 1:
            yield f"figure '{figure.name}': the columns of series '{series.name}' differ in length"
