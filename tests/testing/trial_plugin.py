"""A plugin whose checks keep or break their promises in every way, for calibration."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ldm_eval.api import Alarm, CheckSpec, Evidence, Finding, Interval, Needs, PhantomCase, Phantoms
from ldm_eval.hooks import hookimpl
from ldm_eval.testing.evidence import PhantomEvidence


def features(seed: int, shift: float, check: str) -> Evidence:
    values = np.random.default_rng(seed).normal(shift, 1.0, (100, 1)).astype(np.float32)
    return PhantomEvidence(check, seed, features={"samples": values})


def phantoms(check: str) -> Phantoms:
    def case(shift: float) -> PhantomCase:
        words = f"a shift of {shift} standard deviations"
        return PhantomCase("trial_plugin:features", words, {"shift": shift, "check": check}, shift)

    return Phantoms("mean_shift", Alarm("low", ">", 0.0), catches=case(0.5), leaves_alone=case(0.0))


class Good:
    id: ClassVar[str] = "trial/good"
    title: ClassVar[str] = "Mean shift"
    question: ClassVar[str] = "Is the mean of the features above zero?"
    needs: ClassVar[Needs] = Needs(samples=100, features=("samples",))
    phantoms: ClassVar[Phantoms] = phantoms("trial/good")

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        values = evidence.features("samples").astype(np.float64)
        half = 1.984 * float(values.std(ddof=1)) / len(values) ** 0.5
        value = float(values.mean())
        interval = Interval(value - half, value + half, 0.95, "t")
        return [
            evidence.measurement("mean_shift", value, interval, n=len(values), unit="sd", direction="lower"),
        ]


class Constant(Good):
    id = "trial/constant"
    phantoms = phantoms("trial/constant")

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        interval = Interval(0.1, 0.9, 0.95, "wishful")
        return [evidence.measurement("mean_shift", 0.5, interval, n=1, unit="sd", direction="lower")]


class Raises(Good):
    id = "trial/raises"
    phantoms = phantoms("trial/raises")

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        raise ValueError(f"no answer to seed {evidence.seed % 2}")


class Hangs(Good):
    id = "trial/hangs"
    phantoms = phantoms("trial/hangs")

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        time.sleep(600)
        return []


class Leaves(Good):
    """Ends its process with a code that says all is well."""

    id = "trial/leaves"
    phantoms = phantoms("trial/leaves")

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        os._exit(0)


class Exits(Good):
    id = "trial/exits"
    phantoms = phantoms("trial/exits")

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        sys.exit("enough")


class Dies(Good):
    id = "trial/dies"
    phantoms = phantoms("trial/dies")

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        print('{"instrument": "calibrated"}', flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        return []


class Elsewhere(Good):
    id = "trial/elsewhere"
    phantoms = phantoms("trial/elsewhere")


@hookimpl
def ldm_eval_checks() -> list[CheckSpec]:
    here = (Good, Constant, Raises, Hangs, Leaves, Exits, Dies)
    return [*map(CheckSpec.of, here), CheckSpec.of(Elsewhere, requires=("no_such_module",), extra="elsewhere")]
