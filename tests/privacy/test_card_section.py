"""The section for data protection: golden texts of built results, and words that a lay reader need not look up."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ldm_eval_privacy.attack_phantoms import memoriser as attacked
from ldm_eval_privacy.card_limits import smallest
from ldm_eval_privacy.card_numbers import percent, span
from ldm_eval_privacy.card_section import TITLE, render
from ldm_eval_privacy.membership_attacks import MembershipAttacks
from ldm_eval_privacy.membership_loss import MembershipLoss
from ldm_eval_privacy.near_copies import NearCopies
from ldm_eval_privacy.phantoms import copier, memoriser

from ldm_eval.api import Measurement, Table

GOLDEN = Path(__file__).parent / "card_section"
JARGON = (
    "auc",
    "roc",
    "epsilon",
    "membership",
    "inference",
    "false positive",
    "interval",
    "clopper",
    "p-value",
    "holdout",
    "latent",
    "gdpr",
    "lawful",
    "legal",
    "compliant",
    "anonymous",
    "risk",
)

COUNTS = "most copies of one image in training"


def number(check, name, value, low, high, n=1000, note="", group=None):
    return {
        "check": f"privacy/{check}",
        "name": name,
        "value": value,
        "low": low,
        "high": high,
        "n": n,
        "note": note,
        "group": group,
    }


def counts(total, different, most):
    rows = [["training images", total], ["different training images", different], [COUNTS, most]]
    return [{"name": "counts", "rows": rows}]


def document(status, measurements=(), tables=None, partial=False):
    outcomes = [
        {"check": f"privacy/{check}", "status": how, "tables": (tables or {}).get(check, [])}
        for check, how in status.items()
    ]
    return {"outcomes": outcomes, "measurements": list(measurements), "partial": partial}


ALL = (
    "training_set",
    "near_copies",
    "extraction",
    "feature_copies",
    "group_leakage",
    "group_exposure",
    "membership_loss",
    "membership_attacks",
    "caption_likelihood",
    "prompt_screen",
    "dataset_inference",
    "empirical_epsilon",
)
SEEN = "Primary. The smallest {} this run could have seen (with probability 0.95) is {}."


def leaking():
    found = [
        number("near_copies", "exact_copy_rate", 0.012, 0.0062, 0.0209),
        number("near_copies", "near_copy_excess", 0.098, 0.0781, 0.1179, note=SEEN.format("excess", "1.66%")),
        number("feature_copies", "feature_copy_excess", 0.11, 0.09, 0.13, note=SEEN.format("excess", "1.50%")),
        number("extraction", "extracted_share", 0.0312, 0.0229, 0.0415),
        number("extraction", "repetition_excess", 0.05, 0.031, 0.07),
        number("membership_loss", "membership_auc", 0.9998, 0.9836, 1.0, 256, SEEN.format("AUC", "0.63")),
        number("membership_loss", "membership_tpr_at_1_percent_fpr", 0.991, 0.9523, 0.9998, 128),
        number("membership_attacks", "membership_advantage_auc", 0.93, 0.9, 0.96, 256, SEEN.format("AUC", "0.64")),
        number("caption_likelihood", "caption_likelihood_auc", 0.8, 0.74, 0.86, 256, SEEN.format("AUC", "0.63")),
        number("dataset_inference", "dataset_membership_gap", 0.4, 0.35, 0.45, 256),
        number("empirical_epsilon", "canary_guess_accuracy", 0.88, 0.81, 0.93, 120),
        number("training_set", "duplicated_share", 0.1, 0.1, 0.1, 1600),
        number("group_leakage", "reproduction_gap", 0.21, 0.12, 0.3, 800),
        number("group_exposure", "exposure_gap", 0.1, 0.02, 0.19, 256),
        number("gradient_attack", "gradient_attack_auc", 1.0, 0.984, 1.0, 256),
        number("feature_copies", "sscd_copy_rate@sscd", 0.12, 0.1, 0.142),
        number("prompt_screen", "flagged_prompt_excess", 0.08, 0.05, 0.11, 240),
    ]
    return document(dict.fromkeys(ALL, "measured"), found, {"training_set": counts(1600, 1448, 20)})


def clean():
    found = [
        number("near_copies", "exact_copy_rate", 0.0, 0.0, 0.00369),
        number("near_copies", "near_copy_excess", -0.004, -0.0151, 0.0062, note=SEEN.format("excess", "1.66%")),
        number("extraction", "extracted_share", 0.0, 0.0, 0.0023),
        number("membership_loss", "membership_auc", 0.512, 0.441, 0.583, 256, SEEN.format("AUC", "0.63")),
        number("membership_loss", "membership_tpr_at_1_percent_fpr", 0.0078, 0.0001, 0.043, 128),
        number("empirical_epsilon", "canary_guess_accuracy", 0.5, 0.407, 0.593, 120),
    ]
    asked = ("near_copies", "extraction", "membership_loss", "empirical_epsilon")
    status = {**dict.fromkeys(asked, "measured"), "group_leakage": "not_applicable", "dataset_inference": "crashed"}
    return document(status, found, {"near_copies": counts(1600, 1600, 1)}, partial=True)


def nothing():
    return document(dict.fromkeys(ALL, "not_applicable"))


def invalid():
    return document({**dict.fromkeys(ALL, "not_applicable"), "near_copies": "invalid", "membership_loss": "invalid"})


CASES = {"leaking": leaking, "clean": clean, "nothing": nothing, "invalid": invalid}


@pytest.mark.parametrize("name", CASES)
def test_the_section_reads_as_its_golden_file(name):
    assert f"{render(CASES[name]())}\n" == (GOLDEN / f"{name}.md").read_text(encoding="utf-8")


def test_differences_between_groups_that_may_have_gone_unnoticed_are_stated():
    note = "The smallest gap this run could have seen (with probability 0.95) is 12.00%."
    found = document({"group_leakage": "measured"}, [number("group_leakage", "reproduction_gap", 0, 0, 0.1, note=note)])
    assert "come out: a difference of less than 12 % may have gone unnoticed" in render(found)


def verdicts(text):
    return dict(re.findall(r"### (.+?)\n\n\*\*(.+?)\*\*", text))


def test_each_question_is_answered_by_rule():
    assert set(verdicts(render(leaking())).values()) == {"Yes."}
    assert set(verdicts(render(nothing())).values()) == {"Not evaluated."}
    assert list(verdicts(render(clean())).values()) == [
        "No sign of it in what was measured.",
        "No sign of it in what was measured.",
        "No.",
        "Not evaluated.",
    ]
    assert list(verdicts(render(invalid())).values()) == ["This cannot be said."] * 2 + ["Not evaluated."] * 2


def test_one_leak_among_clean_answers_makes_the_answer_yes():
    results = clean()
    results["measurements"][0] |= {"value": 0.003, "low": 0.0006, "high": 0.0088}
    assert next(iter(verdicts(render(results)).values())) == "Yes."


def test_repeating_itself_alone_does_not_prove_that_training_pictures_come_out():
    results = document({"extraction": "measured"}, [number("extraction", "repetition_excess", 0.05, 0.03, 0.07)])
    text = render(results)
    assert next(iter(verdicts(text).values())) == "Not evaluated."
    assert "It repeats itself: 5.0 % (between 3.0 % and 7.0 %)" in text


@pytest.mark.parametrize("name", CASES)
def test_no_word_of_the_field_and_no_conclusion_in_law(name):
    text = render(CASES[name]()).lower()
    assert [word for word in JARGON if re.search(rf"\b{word}", text)] == []


def test_no_text_of_the_results_is_repeated():
    results = leaking()
    for item in results["measurements"]:
        item["note"] = f"<b>{item['note']}</b> | `x` ::error"
        item["unit"] = "<script>"
    results["outcomes"].append({"check": "privacy/<b>", "status": "<i>", "reason": "<u>", "tables": []})
    assert render(results) == render(leaking())


def test_the_order_of_keys_and_findings_does_not_matter():
    results = leaking()
    shuffled = {key: list(reversed(v)) if isinstance(v, list) else v for key, v in reversed(results.items())}
    assert render(json.loads(json.dumps(shuffled, sort_keys=True))) == render(results)


def test_groups_are_no_answer_about_all_pictures():
    results = document({"near_copies": "measured"}, [number("near_copies", "exact_copy_rate", 0, 0, 0.1, group="a")])
    assert next(iter(verdicts(render(results)).values())) == "Not evaluated."


def test_results_of_other_families_have_no_such_section():
    results = nothing()
    results["outcomes"] = [{"check": "quality/frechet_distance", "status": "measured", "tables": []}]
    assert render(results) == ""


def test_bounds_are_rounded_outwards():
    assert percent(0.0981, 0.0781, 0.1179) == "9.8 %"
    assert span(0.07816, 0.11791) == "between 7.8 % and 11.8 %"
    assert span(0.0, 0.0036899) == "between 0 % and 0.37 %"
    assert span(-0.0151, 0.0151) == "between -1.6 % and 1.6 %"
    assert percent(0.1, 0.1, 0.1) == "10.0 %"


@pytest.mark.parametrize(
    ("check", "evidence", "name"),
    [
        (NearCopies, lambda: copier(seed=0, copy_rate=0.1), "near_copy_excess"),
        (MembershipLoss, lambda: memoriser(seed=0), "membership_auc"),
        (MembershipAttacks, lambda: attacked(seed=0), "membership_advantage_auc"),
    ],
)
def test_what_real_checks_write_is_understood(check, evidence, name):
    """The names, the table and the sentence with the smallest leak are those of the checks, not only of this test."""
    findings = check().run(evidence())
    (found,) = (each for each in findings if isinstance(each, Measurement) and each.name == name)
    assert 0 < smallest(found.note) < 1
    if check is NearCopies:
        (table,) = (each for each in findings if isinstance(each, Table) and each.name == "counts")
        assert {"training images", "different training images", COUNTS} <= {row[0] for row in table.rows}


def test_the_plugin_offers_the_section_and_drawing_it_imports_nothing_heavy():
    code = (
        "import sys, ldm_eval_privacy as p; (s,) = p.ldm_eval_card_sections(); print(s.title);"
        "s.render({'outcomes': [{'check': 'privacy/x', 'status': 'measured'}], 'measurements': [], 'partial': False});"
        "print([m for m in ('torch', 'numpy', 'scipy', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [TITLE, "[]"]
