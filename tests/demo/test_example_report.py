"""The committed report is one of the shipped model, and says of it what was planted."""

import hashlib
import json
from pathlib import Path

import ldm_eval_demo
import pytest
from ldm_eval_demo import truths

REPORT = Path(__file__).parents[2] / "reports" / "example-demo"


@pytest.fixture(scope="module")
def results():
    return json.loads((REPORT / "results.json").read_text())


def test_the_report_is_of_the_model_that_ships(results):
    shipped = Path(ldm_eval_demo.__file__).with_name("demo.pt").read_bytes()
    assert results["model"]["sha256"] == hashlib.sha256(shipped).hexdigest()


def test_its_findings_agree_with_what_was_planted():
    compared = truths.compare(REPORT)
    assert len(compared) >= 7
    assert [truth.planted for truth in compared if not truth.agrees] == []


NEEDS_MORE = {
    "privacy/caption_likelihood",
    "privacy/prompt_screen",
    "privacy/empirical_epsilon",
    "privacy/group_leakage",
    "quality/clip_score",
    "quality/frechet_to_statistics",
    "quality/per_class",
}
"""What cannot be asked of an unconditional model without text, classes, canaries, statistics or exact copies."""


def test_every_installed_check_measured_or_says_what_it_lacks(results):
    others = {item["check"]: item["status"] for item in results["outcomes"] if item["status"] != "measured"}
    assert others == dict.fromkeys(NEEDS_MORE, "not_applicable")
    families = {outcome["check"].partition("/")[0] for outcome in results["outcomes"]}
    assert families == {"quality", "privacy", "fairness", "misuse"}


def test_the_leak_that_was_planted_is_found_and_the_gate_says_so():
    verdict = json.loads((REPORT / "gate.json").read_text())
    found = {rule["rule"]: rule["status"] for rule in verdict["rules"]}
    assert found["no-excess-of-near-copies"] == "fail"
    assert found["members-not-recognisable"] == "fail"
    assert found["skin-tones-as-in-training"] == "inconclusive"
    assert verdict["status"] == "fail"
