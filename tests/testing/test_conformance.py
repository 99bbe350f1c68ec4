"""The kit that proves checks: it lets a good one pass and names what is wrong with each bad one."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from ldm_eval.api import (
    Alarm,
    CheckSpec,
    Evidence,
    Figure,
    Interval,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Series,
)
from ldm_eval.errors import ConfigError, PluginError
from ldm_eval.testing.conformance import assert_conforms, examine, phantom_evidence
from ldm_eval.testing.evidence import PhantomEvidence

ID = "trial/mean_shift"


def shifted_features(seed: int, shift: float, role: str = "samples") -> Evidence:
    values = np.random.default_rng(seed).normal(shift, 1.0, (100, 1)).astype(np.float32)
    return PhantomEvidence(ID, seed, features={role: values})  # type: ignore[dict-item]


def other_check(seed: int, shift: float) -> Evidence:
    return PhantomEvidence("trial/other", seed, features={"samples": np.zeros((2, 1), dtype=np.float32)})


def not_evidence(seed: int, shift: float) -> object:
    return {"samples": shift}


def _case(shift: float, truth: float | None = None, factory: str = "shifted_features") -> PhantomCase:
    return PhantomCase(f"{__name__}:{factory}", f"a shift of {shift}", {"shift": shift}, truth)


PHANTOMS = Phantoms(
    measurement="mean_shift",
    alarm=Alarm("low", ">", 0.0),
    catches=_case(0.5, truth=0.5),
    leaves_alone=_case(0.0, truth=0.0),
)


def _mean(evidence: Evidence, sign: float = 1.0, half: float = 1.96, offset: float = 0.0) -> Measurement:
    values = evidence.features("samples").astype(np.float64)
    value = sign * float(values.mean()) + offset
    bound = half * float(values.std(ddof=1)) / len(values) ** 0.5
    interval = Interval(value - bound, value + bound, 0.95, "normal")
    return evidence.measurement(
        "mean_shift", value, interval, n=len(values), unit="standard deviations", direction="none", uses_extractor=True
    )


class Good:
    id: ClassVar[str] = ID
    title: ClassVar[str] = "Mean shift"
    question: ClassVar[str] = "Is the mean of the features above zero?"
    needs: ClassVar[Needs] = Needs(samples=100, features=("samples",))
    phantoms: ClassVar[Phantoms] = PHANTOMS

    def run(self, evidence: Evidence) -> Sequence[Any] | NotApplicable | Invalid:
        return [_mean(evidence)]


def _running(run: Callable[[Evidence], Any]) -> CheckSpec:
    """The good check with another ``run``."""
    check = type("Trial", (Good,), {"run": lambda self, evidence: run(evidence), "__module__": __name__})
    return CheckSpec.of(check)


def _problems(spec: CheckSpec, seeds: int = 20) -> str:
    return "\n".join(examine(spec, seeds=seeds).problems)


def test_a_good_check_conforms() -> None:
    report = assert_conforms(CheckSpec.of(Good))
    assert report.conforms
    assert report.catches is not None
    assert report.leaves_alone is not None
    assert (report.catches.seeds, report.catches.alarms) == (20, 20)
    assert report.leaves_alone.alarms <= 3
    assert report.catches.covered is not None
    assert report.catches.covered >= 16
    assert "conforms" in report.summary()


def test_the_kit_seldom_accuses_a_good_check() -> None:
    accused = sum(not examine(CheckSpec.of(Good), first_seed=1000 * i).conforms for i in range(40))
    assert accused == 0  # each of its four rate tests errs in less than 1 of 1,000


def test_a_constant_check_is_named_for_missing_the_effect() -> None:
    spec = _running(
        lambda e: [e.measurement("mean_shift", 0.0, Interval(-1, 1, 0.95, "none"), n=1, unit="u", direction="none")]
    )
    assert "catches: the alarm was raised in 0 of 20 seeds, where 95% was promised" in _problems(spec)


def test_a_constant_alarm_is_named_for_its_false_alarms() -> None:
    spec = _running(lambda e: [_mean(e, offset=9.0)])
    problems = _problems(spec)
    assert "leaves_alone: the alarm was raised in 20 of 20 seeds, where 5% is tolerated" in problems
    assert "0 of 20 intervals hold the true value 0" in problems


def test_a_noisy_check_is_named_for_both_rates() -> None:
    def run(evidence: Evidence) -> list[Measurement]:
        value = float(evidence.rng("noise").normal())
        interval = Interval(value - 0.1, value + 0.1, 0.95, "wishful")
        return [evidence.measurement("mean_shift", value, interval, n=100, unit="sd", direction="none")]

    problems = _problems(_running(run))
    assert "catches: the alarm was raised" in problems
    assert "leaves_alone: the alarm was raised" in problems
    assert "intervals hold the true value" in problems


def test_a_flipped_check_is_named_for_missing_the_effect() -> None:
    problems = _problems(_running(lambda e: [_mean(e, sign=-1.0)]))
    assert "catches: the alarm was raised in 0 of 20 seeds" in problems
    assert "catches: 0 of 20 intervals hold the true value 0.5" in problems


def test_intervals_that_are_too_narrow_are_named() -> None:
    phantoms = dataclasses.replace(PHANTOMS, power=0.5, false_alarms=0.45)
    spec = dataclasses.replace(_running(lambda e: [_mean(e, half=0.4)]), phantoms=phantoms)
    problems = _problems(spec, seeds=40)
    assert "intervals hold the true value" in problems
    assert "the alarm was raised" not in problems


def test_a_check_that_reports_nan_is_named() -> None:
    problems = _problems(_running(lambda e: [_mean(e, offset=float("nan"))]))
    assert "catches: EvidenceError: An interval must have finite bounds; found low=nan" in problems
    assert "(in 20 of 20 seeds)" in problems


def test_a_nan_that_slips_past_the_types_is_named() -> None:
    def run(evidence: Evidence) -> list[Any]:
        found = _mean(evidence)
        object.__setattr__(found, "value", float("nan"))
        bars = Figure("f", "bars", "t", "", "x", "y", (Series("s", ("a", "b"), (1.0, float("nan")), (1.0,)),))
        return [found, bars]

    problems = _problems(_running(run))
    assert "measurement 'mean_shift' is not finite: nan" in problems
    assert "series 's' holds a number that is not finite" in problems
    assert "the columns of series 's' differ in length" in problems
    assert "figure 'f' has no alternative text" in problems


def test_a_check_that_declares_no_phantoms_is_named() -> None:
    spec = dataclasses.replace(CheckSpec.of(Good), phantoms=None)  # type: ignore[arg-type]
    report = examine(spec)
    assert report.problems == ("it declares no phantoms: one that it must catch and one that it must leave alone",)
    with pytest.raises(AssertionError, match=r"trial/mean_shift: does not conform\n  - it declares no phantoms"):
        assert_conforms(spec)


def test_a_class_without_phantoms_is_refused_before_it_is_a_check() -> None:
    class Unproven:
        id: ClassVar[str] = ID
        title: ClassVar[str] = "Mean shift"
        question: ClassVar[str] = "Is the mean of the features above zero?"
        needs: ClassVar[Needs] = Needs()

        def run(self, evidence: Evidence) -> Sequence[Any] | NotApplicable | Invalid:
            return [_mean(evidence)]

    wanted = "Unproven declares no phantoms. .* one case that it must catch and one that it must leave alone"
    with pytest.raises(PluginError, match=wanted):
        assert_conforms(CheckSpec.of(Unproven))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda e: {"mean_shift": 1.0}, "run() must return a list of findings; it returned dict"),
        (lambda e: (x for x in [_mean(e)]), "it returned generator"),
        (lambda e: [_mean(e), 0.5], "run() returned a float"),
        (lambda e: [_mean(e), _mean(e)], "two findings are called measurement / mean_shift"),
        (lambda e: NotApplicable("no time"), "it answered NotApplicable on its own phantom: no time"),
        (lambda e: Invalid("no trust"), "it answered Invalid in 20 of 20 seeds, last: no trust"),
        (lambda e: [], "no measurement 'mean_shift' was reported. Reported: none"),
        (lambda e: [dataclasses.replace(_mean(e), name="mean_shfit")], "Did you mean 'mean_shfit'?"),
        (lambda e: [dataclasses.replace(_mean(e), group="a")], "no measurement 'mean_shift' was reported"),
        (lambda e: [dataclasses.replace(_mean(e), check="x/y")], "says it comes from x/y"),
        (lambda e: [dataclasses.replace(_mean(e), value=50.0)], "lies outside its own interval"),
        (lambda e: [dataclasses.replace(_mean(e), unit=" ")], "has no unit"),
        (lambda e: [dataclasses.replace(_mean(e), signature={"a": float("inf")})], "'a' of its signature"),
        (lambda e: 1 / 0, "ZeroDivisionError: division by zero (in 20 of 20 seeds)"),
        (lambda e: exit(3), "SystemExit: 3"),
        (lambda e: [e.images("training")], "images of 'training', which it did not declare"),
        (lambda e: [e.logits("samples")], "logits of 'samples', which it did not declare"),
        (lambda e: [e.scores("loss", "samples")], "scores 'loss' of 'samples', which it did not declare"),
        (lambda e: [e.attributes("samples")], "attribute labels of 'samples', which it did not declare"),
        (lambda e: e.features("samples").sort(axis=0), "read-only"),
        (lambda e: [_mean(e, offset=1e-6 * random.random())], "the same evidence gives other findings"),
        (lambda e: [_mean(e)] if np.random.rand() < 2 else [], "it uses a global random generator"),  # noqa: NPY002
    ],
)
def test_what_breaks_the_rules_is_named(run: Callable[[Evidence], Any], message: str) -> None:
    assert message in _problems(_running(run))


def test_a_premise_that_fails_by_chance_is_no_problem_and_no_alarm() -> None:
    spec = _running(lambda e: Invalid("by chance") if e.seed == 7 else [_mean(e)])
    report = assert_conforms(spec)
    assert report.catches is not None
    assert (report.catches.seeds, report.catches.alarms, report.catches.invalid) == (20, 19, 1)
    assert "alarm in 19 of 20 seeds, invalid in 1" in report.summary()
    often = _problems(_running(lambda e: Invalid("too often") if e.seed % 3 == 0 else [_mean(e)]))
    assert "catches: it answered Invalid in 7 of 20 seeds, last: too often" in often
    assert "the alarm was raised in 13 of 20 seeds" in often


def test_the_findings_must_not_depend_on_what_ran_before() -> None:
    calls: list[int] = []

    def run(evidence: Evidence) -> list[Measurement]:
        calls.append(1)
        return [_mean(evidence, offset=1e-9 * len(calls))]

    assert "the same evidence gives other findings the second time" in _problems(_running(run))


@pytest.mark.parametrize(
    ("direction", "comparison", "false"),
    [
        ("higher", ">", True),
        ("lower", "<", True),
        ("lower", ">", False),
        ("higher", "<", False),
        ("none", ">", False),
        ("target", "<", False),
    ],
)
def test_an_alarm_on_the_better_side_of_its_direction_is_named(direction: Any, comparison: Any, false: bool) -> None:
    """A word alone: every number is right, and the card would point the wrong way."""
    phantoms = dataclasses.replace(PHANTOMS, alarm=Alarm("value", comparison, 0.0))
    spec = _running(lambda evidence: [dataclasses.replace(_mean(evidence), direction=direction)])
    told = _problems(dataclasses.replace(spec, phantoms=phantoms))
    assert (f"whose direction says that {direction} is better" in told) is false


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "MeanShift"}, "the id 'MeanShift' must read family/what_it_measures"),
        ({"id": "a/b/c"}, "must read family/what_it_measures"),
        ({"title": " "}, "it has no title"),
        ({"question": ""}, "it has no question"),
        ({"needs": ("samples",)}, "needs must be a Needs; found tuple"),
        ({"phantoms": dataclasses.replace(PHANTOMS, power=0.05)}, "promises nothing"),
        ({"phantoms": dataclasses.replace(PHANTOMS, alarm=lambda m: True)}, "must be an Alarm; found function"),
        ({"phantoms": dataclasses.replace(PHANTOMS, catches=PHANTOMS.leaves_alone)}, "are the same phantom"),
        ({"phantoms": dataclasses.replace(PHANTOMS, catches=_case(1.0, factory="gone"))}, "has no function 'gone'"),
        ({"phantoms": dataclasses.replace(PHANTOMS, catches=_case(1.0, factory="not_evidence"))}, "returned dict"),
        ({"phantoms": dataclasses.replace(PHANTOMS, catches=_case(1.0, factory="other_check"))}, "'trial/other', not"),
        ({"phantoms": dataclasses.replace(PHANTOMS, catches=PhantomCase("nowhere:f", "x"))}, "cannot be imported"),
        ({"phantoms": dataclasses.replace(PHANTOMS, catches=PhantomCase("f", ""))}, "package.module:function"),
        ({"phantoms": dataclasses.replace(PHANTOMS, catches=PhantomCase("a:f", " "))}, "not said in words"),
    ],
)
def test_a_wrong_description_is_named(change: dict[str, Any], message: str) -> None:
    assert message in _problems(dataclasses.replace(CheckSpec.of(Good), **change), seeds=1)


def test_a_module_that_drags_torch_in_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_trial.py").write_text("import torch\ndef load(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    import heavy_trial  # type: ignore[import-not-found]

    problems = _problems(dataclasses.replace(CheckSpec.of(Good), load=heavy_trial.load), seeds=1)
    assert "importing its module heavy_trial imports torch, so listing checks is slow" in problems


def test_a_promise_of_certainty_allows_no_miss() -> None:
    phantoms = dataclasses.replace(PHANTOMS, power=1.0, false_alarms=0.0, alarm=Alarm("value", ">", 0.25))
    assert examine(dataclasses.replace(CheckSpec.of(Good), phantoms=phantoms)).conforms
    strict = dataclasses.replace(phantoms, alarm=Alarm("value", ">", 0.5))
    assert "where 100% was promised" in _problems(dataclasses.replace(CheckSpec.of(Good), phantoms=strict))


def test_no_seeds_prove_nothing() -> None:
    with pytest.raises(ConfigError, match="at least one seed"):
        examine(CheckSpec.of(Good), seeds=0)


def test_declared_evidence_is_what_a_run_gives() -> None:
    evidence = phantom_evidence(CheckSpec.of(Good), PHANTOMS.catches, seed=3)
    assert evidence.has("samples")
    assert not evidence.has("training")
    assert evidence.extractor().dimension == 1
    assert len(evidence.images("samples")) == 100
    assert not evidence.images("samples").pixels.flags.writeable
    assert evidence.private_folder() is None
    assert evidence.rng("x").random() == phantom_evidence(CheckSpec.of(Good), PHANTOMS.catches, 3).rng("x").random()
