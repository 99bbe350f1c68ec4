"""What the card says of the calibration of its instruments."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ldm_eval.errors import StoreError
from ldm_eval.gate import Limit, Policy, Rule, Verdict, decide
from ldm_eval.report import build_card, load_calibration, write_report
from ldm_eval.store.certificate import CalibratedCase, Certificate, Instrument, Rate
from ldm_eval.store.results import Results


def cases(caught: Rate, false_alarms: Rate) -> tuple[CalibratedCase, ...]:
    return (
        CalibratedCase("catches", "a shift", "alarm in at least 95 %", caught),
        CalibratedCase("leaves_alone", "no shift", "alarm in at most 5 %", false_alarms),
    )


ALL, NONE = Rate(20, 20, 0.8315665, 1.0, 0.95), Rate(0, 20, 0.0, 0.1684335, 0.95)
CERTIFICATE = Certificate(
    tool={"name": "ldm-eval", "version": "0.1.0"},
    plugins=({"name": "quality", "distribution": "ldm-eval", "version": "0.1.0"},),
    libraries={},
    seeds=20,
    first_seed=0,
    instruments=(
        Instrument("quality/frechet_distance", "ldm-eval", "calibrated", (), cases(ALL, NONE)),
        Instrument("privacy/near_copies", "ldm-eval", "failed", ("No alarm | at <b>all</b>.",), cases(NONE, NONE)),
        Instrument("misuse/watermark", "ldm-eval", "unavailable", ("needs imwatermark",), ()),
    ),
)


def section(card: str, title: str) -> str:
    return card.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def row(card: str, check: str) -> list[str]:
    (line,) = [line for line in section(card, "Calibration").splitlines() if line.startswith(f"| `{check}`")]
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def test_the_card_cites_the_certificate_and_every_measured_check(results: Results) -> None:
    card = build_card(results, None, None, certificate=CERTIFICATE)
    body = section(card, "Calibration")
    assert f"certificate `{CERTIFICATE.digest[:12]}`…" in body
    assert "20 seeds per phantom (0 to 19); 1 calibrated, 1 **failed**, 1 unavailable." in body
    assert row(card, "quality/frechet_distance") == [
        "`quality/frechet_distance`",
        "calibrated",
        "20 of 20 (83.1 % to 100.0 %): a shift",
        "0 of 20 (0 % to 16.9 %): no shift",
    ]
    assert row(card, "privacy/near_copies")[1] == "**failed**"
    assert row(card, "misuse/detectability")[1:] == ["**not calibrated**", "–", "–"]
    assert "No alarm \\| at &lt;b&gt;all&lt;/b&gt;." in body
    assert "quality/inception_score" not in body  # it crashed: there is no number to vouch for
    assert f"| Calibration certificate | calibration.json | – | – | `{CERTIFICATE.digest}` |" in card


def test_a_certificate_of_another_version_is_shown_as_such(results: Results) -> None:
    older = replace(CERTIFICATE, tool={"name": "ldm-eval", "version": "0.0.9"})
    card = build_card(results, None, None, certificate=older)
    assert row(card, "quality/frechet_distance")[1] == "**other version**"
    assert "ldm-eval 0.0.9, these numbers are by ldm-eval 0.1.0" in section(card, "Calibration")
    assert section(card, "Calibration").count("0.0.9, these numbers") == 1  # once, not for every check


def test_without_a_certificate_the_card_reads_as_it_did(results: Results, verdict: Verdict) -> None:
    card = build_card(results, verdict, None)
    assert "alibrat" not in card


def test_a_verdict_of_another_calibration_is_marked(results: Results, verdict: Verdict) -> None:
    remark = "**The verdict was given"
    assert remark in section(build_card(results, verdict, None, certificate=CERTIFICATE), "Verdict")
    rule = Rule("copies", "privacy/near_copies", "near_copy_rate", Limit(highest=0.01))
    judged = decide(results, Policy("p", "f" * 64, (rule,)), date(2026, 5, 1), CERTIFICATE)
    box = section(build_card(results, judged, None, certificate=CERTIFICATE), "Verdict")
    assert remark not in box
    assert "failed its calibration" in box
    assert f"with the certificate `{CERTIFICATE.digest[:12]}`…" in build_card(results, judged, None)


def test_the_certificate_lies_with_the_report_and_can_be_kept(
    results: Results, verdict: Verdict, declared: dict[str, Any], tmp_path: Path
) -> None:
    card = write_report(results, verdict, tmp_path, declared, certificate=CERTIFICATE)
    assert load_calibration(tmp_path) == CERTIFICATE
    first = card.read_bytes()
    write_report(results, verdict, tmp_path, declared, certificate=load_calibration(tmp_path))
    assert card.read_bytes() == first
    write_report(results, verdict, tmp_path, declared)
    assert load_calibration(tmp_path) is None


def test_an_edited_copy_is_refused(results: Results, tmp_path: Path) -> None:
    write_report(results, None, tmp_path, certificate=CERTIFICATE)
    path = tmp_path / "calibration.json"
    path.write_text(path.read_text().replace('"failed"', '"calibrated"'))
    with pytest.raises(StoreError, match="changed after it was written"):
        load_calibration(tmp_path)
