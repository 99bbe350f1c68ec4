"""A plugin whose checks break in every way a check can break, beside one that is good."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ldm_eval.api import (
    Alarm,
    CheckSpec,
    Evidence,
    Figure,
    Finding,
    Interval,
    Invalid,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    ScoreSpec,
    Series,
    SuiteSpec,
)
from ldm_eval.hooks import hookimpl

_CASE = PhantomCase("tests.nowhere:nothing", "none")
_PHANTOMS = Phantoms("mean_level", Alarm("low", ">", 1.0), _CASE, _CASE)


def _mean_level(evidence: Evidence) -> Finding:
    pixels = evidence.images("samples").pixels
    levels = pixels.reshape(len(pixels), -1).mean(axis=1)
    half = 1.96 * float(levels.std(ddof=1)) / len(levels) ** 0.5
    mean = float(levels.mean())
    interval = Interval(mean - half, mean + half, 0.95, "normal")
    return evidence.measurement("mean_level", mean, interval, n=len(levels), unit="grey level", direction="none")


class Good:
    id: ClassVar[str] = "hostile/good"
    title: ClassVar[str] = "Mean level"
    question: ClassVar[str] = "How bright are the samples?"
    needs: ClassVar[Needs] = Needs(samples=2)
    phantoms: ClassVar[Phantoms] = _PHANTOMS

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        return [_mean_level(evidence)]


class Prints(Good):
    id: ClassVar[str] = "hostile/prints"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        print('{"done": "this is not an answer"}', flush=True)
        os.write(1, b"nor is this\n")
        return [_mean_level(evidence)]


class ReadsStdin(Good):
    id: ClassVar[str] = "hostile/reads_stdin"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        if sys.stdin.read() or os.read(0, 1):
            raise RuntimeError("there was something on stdin")
        return [_mean_level(evidence)]


class OtherScore(Good):
    """Means another score by a name that is taken."""

    id: ClassVar[str] = "clash/other_score"
    needs: ClassVar[Needs] = Needs(
        roles=("training",), scores=(ScoreSpec("level", "hostile_plugin:level_score", ("training",), 9, 1),)
    )


class Raises(Good):
    id: ClassVar[str] = "hostile/raises"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        raise RuntimeError("told you so")


class Hangs(Good):
    id: ClassVar[str] = "hostile/hangs"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        time.sleep(3600)
        return []


class Exits(Good):
    id: ClassVar[str] = "hostile/exits"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        os._exit(7)


class SystemExits(Good):
    id: ClassVar[str] = "hostile/system_exits"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        sys.exit(0)


class Segfaults(Good):
    id: ClassVar[str] = "hostile/segfaults"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        import ctypes

        ctypes.string_at(0)
        return []


class ReturnsNan(Good):
    id: ClassVar[str] = "hostile/returns_nan"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        interval = Interval(0.0, 1.0, 0.95, "none")
        return [evidence.measurement("nan", float("nan"), interval, n=1, unit="", direction="none")]


class ReturnsNothing(Good):
    id: ClassVar[str] = "hostile/returns_nothing"

    def run(self, evidence: Evidence) -> Any:
        return []


class Peeks(Good):
    """Reads training images that it did not declare."""

    id: ClassVar[str] = "hostile/peeks"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        evidence.images("training")
        return [_mean_level(evidence)]


class DrawsNan(Good):
    id: ClassVar[str] = "hostile/draws_nan"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        series = (Series("one", (0.0,), (float("nan"),)),)
        return [_mean_level(evidence), Figure("broken", "lines", "Broken", "Nothing", "x", "y", series)]


class Unlucky(Good):
    """Good, unless the test says what goes wrong today."""

    id: ClassVar[str] = "hostile/unlucky"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        match os.environ.get("HOSTILE_TODAY"):
            case "disk":
                raise OSError(errno.ENOSPC, "No space left on device", "evidence.png")
            case "memory":
                raise MemoryError("too little of it today")
        return [_mean_level(evidence)]


class SaysInvalid(Good):
    id: ClassVar[str] = "hostile/says_invalid"

    def run(self, evidence: Evidence) -> Invalid:
        return Invalid("the premise does not hold")


class ScoreRaises(Good):
    id: ClassVar[str] = "hostile/score_raises"
    needs: ClassVar[Needs] = Needs(
        roles=("training",), scores=(ScoreSpec("broken", "hostile_plugin:broken_score", ("training",), 8, 1),)
    )


class ScoreExits(Good):
    id: ClassVar[str] = "hostile/score_exits"
    needs: ClassVar[Needs] = Needs(
        roles=("training",), scores=(ScoreSpec("exit", "hostile_plugin:exit_score", ("training",), 8, 1),)
    )


def broken_score(parts: Any, images: Any, seed: int, parameters: Mapping[str, Any]) -> Any:
    raise ValueError("no score today")


def exit_score(parts: Any, images: Any, seed: int, parameters: Mapping[str, Any]) -> Any:
    os._exit(9)


class GoodScore(Good):
    id: ClassVar[str] = "hostile/good_score"
    needs: ClassVar[Needs] = Needs(
        roles=("training",), scores=(ScoreSpec("level", "hostile_plugin:level_score", ("training",), 8, 1),)
    )

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        values = evidence.scores("level", "training").values
        mean = float(values.mean())
        interval = Interval(mean, mean, 0.95, "none")
        return [evidence.measurement("level", mean, interval, n=len(values), unit="", direction="none")]


class SamplesScore(Good):
    id: ClassVar[str] = "hostile/samples_score"
    needs: ClassVar[Needs] = Needs(
        samples=2, scores=(ScoreSpec("level", "hostile_plugin:level_score", ("samples",), 8, 1),)
    )

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        values = evidence.scores("level", "samples").values
        interval = Interval(0.0, 1.0, 0.95, "none")
        return [evidence.measurement("level", 0.5, interval, n=len(values), unit="", direction="none")]


class GoodFeatures(Good):
    id: ClassVar[str] = "hostile/good_features"
    needs: ClassVar[Needs] = Needs(samples=2, features=("training",))

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        features = np.asarray(evidence.features("training"), dtype=np.float64)
        mean = float((features * np.arange(1, features.size + 1).reshape(features.shape)).mean())
        interval = Interval(mean, mean, 0.95, "none")
        return [evidence.measurement("weighted", mean, interval, n=len(features), unit="", direction="none")]


def level_score(parts: Any, images: Any, seed: int, parameters: Mapping[str, Any]) -> Any:
    return images.flatten(1).mean(dim=1, keepdim=True).cpu().numpy().astype(np.float32)


_CHECKS = (
    Good,
    Prints,
    ReadsStdin,
    OtherScore,
    Raises,
    Hangs,
    Exits,
    SystemExits,
    Segfaults,
    ReturnsNan,
    ReturnsNothing,
    Peeks,
    DrawsNan,
    Unlucky,
    SaysInvalid,
    ScoreRaises,
    ScoreExits,
    GoodScore,
    GoodFeatures,
    SamplesScore,
)


@hookimpl
def ldm_eval_checks() -> list[CheckSpec]:
    missing = CheckSpec.of(type("Unavailable", (Good,), {"id": "hostile/unavailable"}), requires=("no_such_module",))
    return [*(CheckSpec.of(check) for check in _CHECKS), missing]


@hookimpl
def ldm_eval_suites() -> list[SuiteSpec]:
    return [SuiteSpec("hostile", "checks that break", ("hostile/*",))]
