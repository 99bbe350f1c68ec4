"""What a human audit looks like on a terminal and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ldm_eval.api import Interval
from ldm_eval.cli.tables import interval_text, number, plain_table
from ldm_eval.run.audit_folder import AnsweredAudit
from ldm_eval.stats.audited_shares import AuditReport

__all__ = ["audit_document", "audit_tables"]


def audit_tables(audit: AnsweredAudit, report: AuditReport) -> RenderableType:
    """Counts, recognition, shares."""
    labels = audit.labels
    head = (
        f"Perceived, by people, on {report.audited:,} of {report.audited + report.unaudited:,} generated images: "
        f"{labels.attribute}. Classifier: {labels.classifier}."
    )
    alone = "" if report.unaudited else " Every image was audited: these are the people's labels alone."
    foot = (
        f"Shares are of all images, '{report.classes[-1]}' among them. All intervals of a column hold together at "
        f"{report.level:.0%} (each at {report.each_level:.1%}).{alone}"
    )
    parts: list[RenderableType] = [Text(head), "", _confusion(report), _recognised(report), _shares(report)]
    if report.uncorrected:
        parts.append(Text(f"No corrected shares: {report.uncorrected}."))
    else:
        foot += " Corrected shares are of the images whose class can be told."
    return Group(*parts, Text(foot, style="dim"))


def _confusion(report: AuditReport) -> Table:
    rows = [(name, *(str(count) for count in row)) for name, row in zip(report.classes, report.counts, strict=True)]
    columns = ("people \\ classifier", *report.classes)
    return plain_table("Audited images", columns, rows, right=len(report.classes))


def _recognised(report: AuditReport) -> Table:
    rows = [
        (
            one.name,
            f"{one.generated} of {one.generated_total}",
            f"{one.real} of {one.real_total}",
            interval_text(one.difference) if one.difference else "–",
        )
        for one in report.recognised
    ]
    columns = ("recognised", "generated", "real", "difference")
    return plain_table("Does the classifier err otherwise on generated images?", columns, rows, right=3)


def _shares(report: AuditReport) -> Table:
    rows = []
    for index, one in enumerate(report.shares):
        best = one.powered.value if one.powered else one.seen / report.audited
        interval = one.powered.interval if one.powered else one.people
        corrected = report.corrected[index] if index < len(report.corrected) else None
        rows.append(
            (
                one.name,
                number(one.powered.called) if one.powered else "–",
                number(best),
                interval_text(interval),
                interval_text(one.people),
                f"{number(corrected.value)} [{number(corrected.low)}, {number(corrected.high)}]" if corrected else "–",
            )
        )
    columns = ("share of", "called so", "is", "prediction-powered", "people alone", "corrected")
    return plain_table("Shares", columns, rows, right=5)


def audit_document(audit: AnsweredAudit, report: AuditReport) -> dict[str, Any]:
    """All of it; aggregates only."""
    labels = audit.labels
    return {
        "schema_version": 1,
        "attribute": labels.attribute,
        "classifier": labels.classifier,
        "real_images": labels.confusion.source,
        "audited": report.audited,
        "unaudited": report.unaudited,
        "seed": audit.seed,
        "level": report.level,
        "each_level": report.each_level,
        "confusion": {"people_by_classifier": [list(row) for row in report.counts], "labels": list(report.classes)},
        "recognised": [
            {**asdict(one), "difference": _interval(one.difference) if one.difference else None}
            for one in report.recognised
        ],
        "shares": [
            {
                "name": one.name,
                "seen": one.seen,
                "people": _interval(one.people),
                "prediction_powered": {
                    "value": one.powered.value,
                    **_interval(one.powered.interval),
                    "called": one.powered.called,
                    "rectifier": one.powered.rectifier,
                }
                if one.powered
                else None,
            }
            for one in report.shares
        ],
        "corrected": [
            {"name": name, **asdict(share)} for name, share in zip(report.classes, report.corrected, strict=False)
        ],
        "uncorrected": report.uncorrected,
    }


def _interval(interval: Interval) -> dict[str, Any]:
    return {"low": interval.low, "high": interval.high, "level": interval.level, "estimator": interval.estimator}
