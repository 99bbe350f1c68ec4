"""What a calibration certificate looks like on a terminal; nothing here prints or decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ldm_eval.cli.tables import number, plain_table

if TYPE_CHECKING:
    from ldm_eval.store.certificate import CalibratedCase, Certificate, Instrument, Rate

__all__ = ["certificate_tables"]

_STYLES = {"calibrated": "green", "failed": "bold red", "unavailable": "yellow"}


def certificate_tables(certificate: Certificate, missing: Sequence[str] = ()) -> RenderableType:
    """Checks with their phantoms, the comparisons with closed forms, what failed or is ``missing``, and the digest."""
    checks = [one for one in certificate.instruments if not _compares(one)]
    compared = [one for one in certificate.instruments if _compares(one)]
    parts: list[RenderableType] = []
    if checks:
        parts.append(_checks_table(checks, certificate))
    if compared:
        parts.append(_comparisons_table(compared))
    for instrument in certificate.instruments:
        parts += [Text(f"{instrument.name}: {problem}", _STYLES[instrument.verdict]) for problem in instrument.problems]
    parts += [Text(sentence, "yellow") for sentence in missing]
    return Group(*parts, _conclusion(certificate))


def _compares(instrument: Instrument) -> bool:
    return any(case.tolerance is not None for case in instrument.cases)


def _checks_table(checks: list[Instrument], certificate: Certificate) -> Table:
    last = certificate.first_seed + certificate.seeds - 1
    table = Table(
        title=f"Checks, seeds {certificate.first_seed} to {last}; intervals are exact, 95 %",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    table.pad_edge, table.padding = False, (0, 1, 0, 0)
    for column in ("check and phantom", "promise", "alarm raised", "truth covered", "verdict"):
        table.add_column(column, overflow="fold", no_wrap=column != "check and phantom")
    for instrument in checks:
        verdict = Text(instrument.verdict, _STYLES[instrument.verdict])
        table.add_row(Text(instrument.name, "bold"), "", "", "", verdict)
        for case in instrument.cases:
            table.add_row(*_case_row(case))
    return table


def _case_row(case: CalibratedCase) -> tuple[Text, ...]:
    what = {"catches": "must catch: ", "leaves_alone": "must leave alone: "}.get(case.case, "")
    meaning = {"catches": "power ", "leaves_alone": "false alarms "}.get(case.case, "")
    return (
        Text(f" {what}{case.effect}"),
        Text(case.expected.replace("alarm in at least", "≥").replace("alarm in at most", "≤")),
        Text(meaning + _rate(case.alarms)),
        Text(_rate(case.coverage)),
        Text(""),
    )


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "–"
    return f"{_percent(rate.count / rate.of)} % [{_percent(rate.low)}, {_percent(rate.high)}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0")


def _comparisons_table(compared: list[Instrument]) -> Table:
    """One row per thing compared; the certificate has every schedule and prediction."""
    table = plain_table(
        "Diffusion mathematics beside closed forms", ("instrument", "rows", "largest error", "allowed", "verdict"), ()
    )
    for instrument in compared:
        verdict = Text(instrument.verdict, _STYLES[instrument.verdict])
        table.add_row(Text(instrument.name, "bold"), Text(f"{len(instrument.cases)}"), Text(""), Text(""), verdict)
        groups: dict[tuple[str, float | None], list[CalibratedCase]] = {}
        for case in instrument.cases:
            groups.setdefault((case.case.partition(",")[0], case.tolerance), []).append(case)
        for (name, _), cases in groups.items():
            table.add_row(*_comparison_row(name, cases))
    return table


def _comparison_row(name: str, cases: list[CalibratedCase]) -> tuple[Text, ...]:
    worst = max(cases, key=lambda case: float("inf") if case.observed is None else case.observed)
    observed = "not finite" if worst.observed is None else number(worst.observed)
    return Text(f" {name}"), Text(f"{len(cases)}"), Text(observed), Text(number(worst.tolerance)), Text("")


def _conclusion(certificate: Certificate) -> Text:
    counts = {
        verdict: sum(one.verdict == verdict for one in certificate.instruments)
        for verdict in ("calibrated", "failed", "unavailable")
    }
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    failed = ", ".join(one.name for one in certificate.failed)
    text = f"{told}: {failed}" if failed else told
    return Text(f"\n{text}\nDigest: {certificate.digest}", "bold red" if failed else "bold green")
