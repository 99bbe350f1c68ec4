"""A policy that requires calibrated instruments: what a certificate vouches for, and what it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ldm_eval.api import Crashed, Invalid, Measurement, NotApplicable
from ldm_eval.errors import PolicyError
from ldm_eval.gate import (
    Limit,
    MadeBy,
    Policy,
    Rule,
    Waiver,
    decide,
    parse_policy,
    uncalibrated_rules,
    verdict_from_json,
    verdict_to_json,
)
from ldm_eval.store.certificate import Certificate, Instrument
from ldm_eval.store.results import Results

TODAY = date(2026, 5, 1)
CHECK = "privacy/near_copies"
PLUGIN = {"name": "privacy", "distribution": "ldm-eval", "version": "0.1.0"}
PASSES, FAILS, UNDECIDED = (0.1, 0.0, 0.2), (0.9, 0.8, 1.0), (0.5, 0.4, 0.6)
MakeMeasurement = Callable[..., Measurement]
MakeResults = Callable[..., Results]


def policy(**changes: Any) -> Policy:
    rule = Rule("copies", CHECK, "near_copy_rate", Limit(highest=0.5))
    return Policy("test", "f" * 64, (rule,), **{"require_calibration": True, **changes})


def certificate(verdict: Any = "calibrated", *problems: str, name: str = CHECK, **changes: Any) -> Certificate:
    instrument = Instrument(name, "ldm-eval", verdict, problems, ())
    made = Certificate({"name": "ldm-eval", "version": "0.1.0"}, (PLUGIN,), {}, 20, 0, (instrument,))
    return replace(made, **changes)


@pytest.fixture
def measured(results: MakeResults, measurement: MakeMeasurement) -> Callable[..., Results]:
    def make(numbers: tuple[float, float, float] = PASSES, **changes: Any) -> Results:
        settings = {"plugins": (PLUGIN,), "policy_digest": "f" * 64, **changes}
        return results(measurement(*numbers), **settings)

    return make


@pytest.mark.parametrize(("numbers", "status"), [(PASSES, "pass"), (FAILS, "fail"), (UNDECIDED, "inconclusive")])
def test_a_calibrated_instrument_is_judged_by_its_bound(
    numbers: tuple[float, float, float], status: str, measured: Callable[..., Results]
) -> None:
    verdict = decide(measured(numbers), policy(), TODAY, certificate())
    assert verdict.rules[0].status == status
    assert verdict.warnings == ()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, "there is no calibration certificate"),
        (certificate(name="quality/other"), "it is not in the calibration certificate"),
        (certificate("failed", "It raised no alarm."), "failed its calibration in"),
        (certificate("unavailable", "needs foo"), "could not be calibrated in"),
        (certificate(tool={"name": "ldm-eval", "version": "0.0.9"}), "of ldm-eval 0.0.9, these numbers are by"),
        (certificate(tool={"name": "ldm-eval", "version": "0.2.0"}), "of ldm-eval 0.2.0, these numbers are by"),
        (
            certificate(plugins=({**PLUGIN, "version": "0.0.9"},)),
            "of ldm-eval 0.0.9, these numbers are by ldm-eval 0.1",
        ),
        (certificate(plugins=()), "it names no plugin of 'ldm-eval'"),
    ],
)
@pytest.mark.parametrize("numbers", [PASSES, FAILS, UNDECIDED])
def test_an_instrument_that_is_not_shown_to_work_decides_nothing(
    made: Certificate | None, said: str, numbers: tuple[float, float, float], measured: Callable[..., Results]
) -> None:
    verdict = decide(measured(numbers), policy(), TODAY, made)
    (rule,) = verdict.rules
    assert (rule.status, verdict.exit_code) == ("error", 4)
    assert said in rule.reason
    assert (rule.value, rule.low, rule.high) == numbers  # still to be seen
    assert verdict.calibration == (made.digest if made else None)


def test_the_reason_says_what_to_do(measured: Callable[..., Results]) -> None:
    two = replace(policy(), rules=(*policy().rules, Rule("other", "quality/fid", "fid", Limit(highest=1.0))))
    reason = decide(measured(), two, TODAY).rules[0].reason
    assert f"`ldm-eval calibrate --checks {CHECK},quality/fid --output calibration.json`" in reason
    assert "--calibration calibration.json`" in reason
    broken = decide(measured(), policy(), TODAY, certificate("failed", "It raised no alarm.")).rules[0].reason
    assert "It raised no alarm." in broken
    assert "until it is repaired" in broken


def test_a_plugin_without_a_version_is_not_recognised(measured: Callable[..., Results]) -> None:
    module = {"name": "my_checks", "distribution": "", "version": ""}
    made = certificate(plugins=(module,), instruments=(Instrument(CHECK, "my_checks", "calibrated", (), ()),))
    reason = decide(measured(plugins=(module,)), policy(), TODAY, made).rules[0].reason
    assert "has no version by which it could be recognised" in reason


def test_an_instrument_that_could_not_be_loaded_has_failed(measured: Callable[..., Results]) -> None:
    made = certificate(instruments=(Instrument(CHECK, "", "failed", ("its plugin could not be loaded",), ()),))
    reason = decide(measured(), policy(), TODAY, made).rules[0].reason
    assert "failed its calibration" in reason
    assert "its plugin could not be loaded. Its numbers" in reason
    nobodys = replace(made, instruments=(Instrument(CHECK, "", "calibrated", (), ()),))
    assert decide(measured(), policy(), TODAY, nobodys).rules[0].status == "error"


def test_a_plugin_that_the_run_did_not_use_vouches_for_nothing(measured: Callable[..., Results]) -> None:
    made = certificate(instruments=(Instrument(CHECK, "strangers", "calibrated", (), ()),))
    made = replace(made, plugins=(PLUGIN, {"name": "s", "distribution": "strangers", "version": "0.1.0"}))
    assert "the run names no plugin of 'strangers'" in decide(measured(), policy(), TODAY, made).rules[0].reason


@pytest.mark.parametrize(
    ("outcome", "status"), [(NotApplicable("no"), "not_run"), (Invalid("no"), "invalid"), (Crashed("no"), "error")]
)
def test_a_rule_without_a_number_keeps_its_own_reason(outcome: Any, status: str, results: MakeResults) -> None:
    (rule,) = decide(results(outcome), policy(), TODAY, None).rules
    assert rule.status == status
    assert "calibra" not in rule.reason


def test_without_the_requirement_a_failed_instrument_is_a_warning(measured: Callable[..., Results]) -> None:
    verdict = decide(measured(), policy(require_calibration=False), TODAY, certificate("failed", "No alarm."))
    assert verdict.status == "pass"
    (warning,) = verdict.warnings
    assert CHECK in warning
    assert "failed its calibration" in warning
    assert decide(measured(), policy(require_calibration=False), TODAY, certificate()).warnings == ()
    assert decide(measured(), policy(require_calibration=False), TODAY).warnings == ()


def test_mathematics_that_failed_is_a_warning(measured: Callable[..., Results]) -> None:
    made = certificate()
    failed = Instrument("diffusion/samplers", "ldm-eval", "failed", ("ddim misses its limit",), ())
    verdict = decide(measured(), policy(), TODAY, replace(made, instruments=(*made.instruments, failed)))
    assert verdict.status == "pass"
    assert "ddim misses its limit" in verdict.warnings[0]


def test_other_libraries_and_other_settings_are_warnings(measured: Callable[..., Results]) -> None:
    tool = {"name": "ldm-eval", "version": "0.1.0", "numpy": "2.2.0"}
    found = measured(tool=tool, run={"check_parameters": {CHECK: {"alpha": 0.5}, "quality/fid": {"x": 1}}})
    warnings = decide(found, policy(), TODAY, certificate(libraries={"numpy": "2.4.6", "python": "3.11"})).warnings
    assert len(warnings) == 2
    assert f"settings of the run's own, and calibrated with the default ones: {CHECK}." in warnings[0]
    assert "numpy 2.4.6 (the results: 2.2.0)" in warnings[1]
    assert decide(found, policy(), TODAY, certificate(name="quality/fid", libraries={"numpy": "2.2.0"})).warnings == ()


def test_a_waiver_answers_for_an_uncalibrated_instrument_in_the_open(
    measured: Callable[..., Results], model_digest: str
) -> None:
    waiver = Waiver("copies", "Calibrated by hand.", "A. Person", date(2027, 1, 1), model_digest)
    (rule,) = decide(measured(), policy(waivers=(waiver,)), TODAY).rules
    assert (rule.status, rule.unwaived) == ("waived", "error")
    assert "there is no calibration certificate" in rule.reason


def test_partial_results_are_refused_with_a_certificate_too(measured: Callable[..., Results]) -> None:
    verdict = decide(measured(partial=True), policy(), TODAY, certificate())
    assert verdict.status == "error"
    assert "calibrated" not in verdict.rules[0].reason


def test_the_verdict_comes_back_with_its_certificate(measured: Callable[..., Results]) -> None:
    with_one = decide(measured(), policy(), TODAY, certificate())
    assert verdict_to_json(with_one)["calibration"] == certificate().digest
    assert verdict_from_json(verdict_to_json(with_one)) == with_one
    without = decide(measured(), policy(require_calibration=False), TODAY)
    assert "calibration" not in verdict_to_json(without)
    assert verdict_from_json(verdict_to_json(without)) == without


def test_rules_that_will_lack_calibration_are_known_before_the_run() -> None:
    by = MadeBy("0.1.0", (PLUGIN,))
    assert uncalibrated_rules(policy(), by, None) == ("copies",)
    assert uncalibrated_rules(policy(), MadeBy("0.2.0", (PLUGIN,)), certificate()) == ("copies",)
    assert uncalibrated_rules(policy(), by, certificate()) == ()
    assert uncalibrated_rules(policy(require_calibration=False), by, None) == ()


DOCUMENT = {
    "schema_version": 1,
    "name": "p",
    "rules": [{"id": "r", "check": CHECK, "measurement": "near_copy_rate", "at_most": 0.1}],
}


def test_the_requirement_is_a_key_of_the_policy_and_off_by_default() -> None:
    assert not parse_policy(DOCUMENT, "f" * 64).require_calibration
    assert parse_policy({**DOCUMENT, "require_calibration": True}, "f" * 64).require_calibration
    assert not parse_policy({**DOCUMENT, "require_calibration": False}, "f" * 64).require_calibration


@pytest.mark.parametrize("value", ["true", 1, None, []])
def test_the_requirement_is_true_or_false_and_nothing_else(value: object) -> None:
    with pytest.raises(PolicyError, match="require_calibration must be true or false"):
        parse_policy({**DOCUMENT, "require_calibration": value}, "f" * 64)


def test_a_misspelt_requirement_is_refused() -> None:
    with pytest.raises(PolicyError, match="Did you mean 'require_calibration'"):
        parse_policy({**DOCUMENT, "requires_calibration": True}, "f" * 64)
