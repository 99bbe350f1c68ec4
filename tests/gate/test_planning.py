from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ldm_eval.api import CheckSpec, Planning
from ldm_eval.errors import ConfigError
from ldm_eval.gate.planning import PlannedRule, plan_policy
from ldm_eval.gate.policy import Policy, parse_policy
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.store.results import Results, load_results

PILOT = Path(__file__).parents[2] / "reports" / "example-demo"


@pytest.fixture(scope="module")
def checks() -> dict[str, CheckSpec]:
    return Catalogue.discover().checks


@pytest.fixture(scope="module")
def pilot() -> Results:
    return load_results(PILOT)


def _policy(**rules: Mapping[str, Any]) -> Policy:
    tables = [{"id": name.replace("_", "-"), **rule} for name, rule in rules.items()]
    return parse_policy({"schema_version": 1, "name": "p", "rules": tables}, "0" * 64)


COPIES = {"check": "privacy/near_copies", "measurement": "exact_copy_rate", "at_most": 0.01}
DISTANCE = {"check": "quality/frechet_distance", "measurement": "frechet_distance_excess", "at_most": 40.0}
GAP = {"check": "fairness/representation", "measurement": "worst_share_gap", "at_most": 0.05}
AUC = {"check": "privacy/membership_loss", "measurement": "membership_auc", "at_most": 0.65}


def _one(found: tuple[PlannedRule, ...]) -> PlannedRule:
    (only,) = found
    return only


def test_a_rule_is_planned_for_half_way_to_its_limit(checks: dict[str, CheckSpec]) -> None:
    found = _one(plan_policy(_policy(copies=COPIES), checks, samples=1000))
    assert (found.truth, found.source, found.answer, found.n) == (0.005, "half-way", "pass", 3446)
    assert found.power == pytest.approx(0.26, abs=0.01)
    found = _one(plan_policy(_policy(auc=AUC), checks, samples=1000))
    assert (found.truth, found.default_n) == (0.575, 256)
    assert "256 at most" in found.note


def test_an_assumed_value_beyond_the_limit_is_planned_to_fail(checks: dict[str, CheckSpec]) -> None:
    found = _one(plan_policy(_policy(copies=COPIES), checks, samples=1000, assume={"copies": 0.05}))
    assert (found.answer, found.source) == ("fail", "assumed")
    assert found.n is not None
    assert found.n < 300


def test_no_n_decides_a_rule_whose_truth_is_its_limit(checks: dict[str, CheckSpec]) -> None:
    found = _one(plan_policy(_policy(copies=COPIES), checks, samples=1000, assume={"copies": 0.01}))
    assert found.n is None
    assert "the limit itself" in found.note


def test_a_number_without_a_known_spread_needs_a_pilot_and_gets_no_guess(
    checks: dict[str, CheckSpec], pilot: Results
) -> None:
    without = _one(plan_policy(_policy(distance=DISTANCE), checks, samples=1000, assume={"distance": 20.0}))
    assert (without.n, without.power, without.truth) == (None, None, None)
    assert without.note.startswith("Needs a pilot run")
    found = _one(plan_policy(_policy(distance=DISTANCE), checks, samples=1000, pilot=pilot))
    assert found.source == "pilot"
    assert found.truth == pytest.approx(28.7, abs=0.1)
    assert found.n is not None
    assert 100 < found.n < 400
    assert "times the pilot's, in every set" in found.images


def test_an_assumed_value_stands_beside_that_of_the_pilot(checks: dict[str, CheckSpec], pilot: Results) -> None:
    found = plan_policy(_policy(copies=COPIES), checks, samples=1000, assume={"copies": 0.002}, pilot=pilot)
    assert [(one.source, one.truth) for one in found] == [("assumed", 0.002), ("pilot", 0.0)]
    assert found[1].n == 368


def test_the_pilot_says_when_labels_are_missing_rather_than_samples(
    checks: dict[str, CheckSpec], pilot: Results
) -> None:
    without = _one(plan_policy(_policy(gap=GAP), checks, samples=1000))
    assert without.n is not None
    assert "without errors" in without.note
    found = _one(plan_policy(_policy(gap={**GAP, "at_most": 0.03}), checks, samples=1000, pilot=pilot))
    assert found.n is None
    assert "Label more real images" in found.note


def test_the_holdout_of_the_pilot_bounds_what_more_samples_can_do(checks: dict[str, CheckSpec], pilot: Results) -> None:
    rule = {"check": "privacy/near_copies", "measurement": "near_copy_excess", "at_most": 0.02}
    growing = _one(plan_policy(_policy(excess=rule), checks, samples=1000, assume={"excess": 0.01}))
    assert growing.n == 3945
    both = plan_policy(_policy(excess=rule), checks, samples=1000, assume={"excess": 0.01}, pilot=pilot)
    assert both[0].n is not None
    assert both[0].n > 4 * 3945
    assert "control of 400 images" in both[0].note
    assert both[0].images == "samples"


def test_the_least_n_of_a_rule_and_of_its_check_counts(checks: dict[str, CheckSpec]) -> None:
    rule = {**COPIES, "min_n": 5000}
    found = _one(plan_policy(_policy(copies=rule), checks, samples=1000, assume={"copies": 0.5}))
    assert (found.n, found.power) == (5000, 0.0)
    found = _one(plan_policy(_policy(copies=COPIES), checks, samples=1000, assume={"copies": 0.5}))
    assert found.n == checks["privacy/near_copies"].needs.samples


def test_what_cannot_be_meant_is_refused(checks: dict[str, CheckSpec]) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'copies'"):
        plan_policy(_policy(copies=COPIES), checks, samples=1000, assume={"copeis": 0.1})
    with pytest.raises(ConfigError, match="a probability above 0"):
        plan_policy(_policy(copies=COPIES), checks, samples=1000, target=1.5)
    unknown = _one(plan_policy(_policy(copies={**COPIES, "check": "privacy/near_copy"}), checks, samples=1000))
    assert "is not installed" in unknown.note


def test_every_installed_check_says_how_its_numbers_are_planned(checks: dict[str, CheckSpec], pilot: Results) -> None:
    ours = [one for one in pilot.checks if one.check in checks]
    assert ours
    for record in ours:
        assert checks[record.check].planning, record.check
        assert all(isinstance(one, Planning) for one in checks[record.check].planning.values())
