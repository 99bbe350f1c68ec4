"""What a finished run and its verdict look like on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ldm_eval.cli.tables import number, plain_table, results_tables

if TYPE_CHECKING:
    from ldm_eval.evaluate import Evaluation
    from ldm_eval.gate import RuleResult, Verdict

__all__ = ["evaluation_report", "verdict_document", "verdict_report"]

_WORDS = {
    "pass": ("PASSED", "bold green"),
    "fail": ("FAILED", "bold red"),
    "inconclusive": ("INCONCLUSIVE", "bold yellow"),
    "error": ("CANNOT BE JUDGED", "bold red"),
}
_STYLES = {"pass": "green", "fail": "red", "error": "red", "waived": "cyan"}


def evaluation_report(done: Evaluation) -> RenderableType:
    """All of a finished run: measurements, verdict, where the files are."""
    parts: list[RenderableType] = [results_tables(done.results), ""]
    if done.verdict is not None:
        parts += [*_verdict_parts(done.verdict), ""]
    parts += [_where("Results", str(done.folder)), _where("Card", str(done.card))]
    parts += [_where("Also", str(path)) for path in done.rendered]
    return Group(*parts)


def verdict_report(done: Evaluation) -> RenderableType:
    """The verdict, and where the card is."""
    if done.verdict is None:
        return _where("Card", str(done.card))
    return Group(*_verdict_parts(done.verdict), "", _where("Card", str(done.card)))


def verdict_document(done: Evaluation) -> dict[str, Any]:
    """The document of ``gate.json``."""
    from ldm_eval.gate import verdict_to_json

    return {} if done.verdict is None else verdict_to_json(done.verdict)


def _verdict_parts(verdict: Verdict) -> list[RenderableType]:
    return [_rules(verdict), _box(verdict)]


def _box(verdict: Verdict) -> Panel:
    word, style = _WORDS[verdict.status]
    counts: dict[str, int] = {}
    for rule in verdict.rules:
        counts[rule.status] = counts.get(rule.status, 0) + 1
    summary = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items()) or "no rules"
    text = Text.assemble((word, style), f"  by the policy {verdict.policy_name}: {summary}")
    for problem in verdict.problems:
        text.append(f"\n{problem}", style="red")
    for warning in verdict.warnings:
        text.append(f"\n{warning}", style="yellow")
    return Panel(text, box=box.ROUNDED, border_style=style, expand=False)


def _rules(verdict: Verdict) -> Table:
    rows = [
        (
            Text(rule.rule, "bold"),
            Text(rule.status.replace("_", " "), _STYLES.get(rule.status, "yellow")),
            Text.assemble(_asked(rule), ("\n" + rule.reason, "dim")),
        )
        for rule in verdict.rules
    ]
    return plain_table("Rules", ("rule", "answer", "asked, found and why"), rows)


def _asked(rule: RuleResult) -> str:
    group = f" · {rule.group}" if rule.group else ""
    warns = " (warns only)" if rule.severity == "warn" else ""
    return f"{rule.measurement}{group} {rule.requirement}{warns}; found {_found(rule)}"


def _found(rule: RuleResult) -> str:
    if rule.value is None:
        return "no number"
    if rule.low is not None and rule.high is not None:
        return f"{number(rule.value)} [{number(rule.low)}, {number(rule.high)}]"
    bound = f", ≤ {number(rule.high)}" if rule.high is not None else ""
    return number(rule.value) + (f", ≥ {number(rule.low)}" if rule.low is not None else bound)


def _where(what: str, path: str) -> Text:
    return Text.assemble((f"{what}: ", "bold"), path, overflow="fold")
