"""What a calibration certificate says of the instruments behind a card's numbers."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR

from ldm_eval.api import Measured
from ldm_eval.gate import MadeBy, Verdict, version_difference
from ldm_eval.report.markdown import bullet_list, code, escape, table
from ldm_eval.report.numbers import fixed, format_count
from ldm_eval.report.section import Section
from ldm_eval.store.certificate import Certificate, Rate
from ldm_eval.store.results import Results

__all__ = ["calibration_section", "other_calibration"]

_COLUMNS = ("Check", "State", "Power: alarms where there is something", "False alarms where there is nothing")


def calibration_section(results: Results, certificate: Certificate | None) -> Section | None:
    """The certificate, and how often each check that measured here caught its phantom and raised a false alarm.

    None without a certificate: that nothing was calibrated is said by the rules that ask for it, and a card that
    nobody calibrated for reads as it did.

    Args:
        results: What was measured.
        certificate: What the calibration found.
    """
    if certificate is None:
        return None
    last = certificate.first_seed + certificate.seeds - 1
    intro = (
        f"The checks were put before phantoms whose answer is known: certificate {code(certificate.digest[:12])}… by "
        f"{escape(certificate.tool.get('name', 'ldm-eval'))} {escape(certificate.tool.get('version', ''))}, "
        f"{format_count(certificate.seeds)} seeds per phantom ({certificate.first_seed} to {last}); "
        f"{_counts(certificate)}."
    )
    by = MadeBy.of(results)
    measured = [record.check for record in results.checks if isinstance(record.outcome, Measured)]
    parts = [intro]
    if measured:
        parts.append(table(_COLUMNS, [_row(check, by, certificate) for check in measured]))
        parts.append(
            "Intervals are exact (Clopper-Pearson) at 95 % where nothing else is said. Power holds for the effect that "
            "stands with it, and neither rate holds for all images there are."
        )
    reasons = [
        *_other_versions(measured, by, certificate),
        *(f"'{one.name}' failed its calibration: {' '.join(one.problems)}" for one in certificate.failed),
    ]
    if reasons:
        parts.append(bullet_list(escape(reason) for reason in reasons))
    return Section("Calibration", "\n\n".join(parts))


def other_calibration(verdict: Verdict | None, certificate: Certificate | None) -> str:
    """A remark where the verdict was given with another certificate than the card shows; else an empty string."""
    if verdict is None or verdict.calibration == (certificate.digest if certificate else None):
        return ""
    given = (
        f"with the certificate {code(verdict.calibration[:12])}…" if verdict.calibration else "without a certificate"
    )
    return (
        f"**The verdict was given {given}**, and this card shows another state of calibration; judge again with "
        "`ldm-eval gate`."
    )


def _counts(certificate: Certificate) -> str:
    count = dict.fromkeys(("calibrated", "failed", "unavailable"), 0)
    for instrument in certificate.instruments:
        count[instrument.verdict] += 1
    return ", ".join(
        f"{number} {'**failed**' if word == 'failed' and number else word}" for word, number in count.items()
    )


def _other_versions(checks: list[str], by: MadeBy, certificate: Certificate) -> list[str]:
    """Each way in which certificate and run are not of the same versions, once."""
    found = [version_difference(one, by, certificate) for one in certificate.instruments if one.name in checks]
    return [f"This certificate is not about the checks that measured: {why}." for why in dict.fromkeys(found) if why]


def _row(check: str, by: MadeBy, certificate: Certificate) -> tuple[str, ...]:
    instrument = certificate.instrument(check)
    if instrument is None:
        return code(check), "**not calibrated**", "–", "–"
    state = instrument.verdict if instrument.verdict == "calibrated" else f"**{instrument.verdict}**"
    if instrument.verdict == "calibrated" and version_difference(instrument, by, certificate):
        state = "**other version**"
    rates = {
        name: [
            f"{_rate(case.alarms)}: {escape(case.effect)}"
            for case in instrument.cases
            if case.case == name and case.alarms is not None
        ]
        for name in ("catches", "leaves_alone")
    }
    return code(check), state, *("; ".join(found) or "–" for found in rates.values())


def _rate(rate: Rate) -> str:
    """``19 of 20 (75.1 % to 99.9 %)``: bounds rounded outwards, as everywhere on the card."""
    low, high = fixed(rate.low, 1, ROUND_FLOOR, 2), fixed(rate.high, 1, ROUND_CEILING, 2)
    level = "" if rate.level == 0.95 else f" at {fixed(rate.level, 1, shift=2)} %"
    return f"{rate.count} of {rate.of} ({low} % to {high} %{level})"
