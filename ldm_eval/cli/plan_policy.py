"""``ldm-eval plan``: how many images a policy needs, before any is sampled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldm_eval.cli import console
from ldm_eval.cli.discovery import PLUGIN_SETTINGS, discover
from ldm_eval.cli.settings import settings_options
from ldm_eval.run.config import RunConfig

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ldm_eval.gate.planning import PlannedRule
    from ldm_eval.gate.policy import Policy

__all__ = ["plan"]


@settings_options(RunConfig, PLUGIN_SETTINGS)
def plan(
    policy: Annotated[
        str, typer.Option("--policy", metavar="FILE", help="Gate policy (TOML), or a shipped model's name.")
    ],
    power: Annotated[float, typer.Option("--power", metavar="P", help="Wanted chance of the right answer.")] = 0.9,
    assume: Annotated[
        list[str] | None,
        typer.Option("--assume", metavar="RULE=VALUE", help="True value to plan a rule for (may be given repeatedly)."),
    ] = None,
    pilot: Annotated[
        Path | None,
        typer.Option("--pilot", metavar="DIR", exists=True, help="A finished run: take its estimates and errors."),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", metavar="N", min=1, help="The chance as it is: at this many samples (default: 1000)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The plan as JSON on stdout.")] = False,
    **given: Any,
) -> None:
    """Say how many images each rule of a policy needs to be decided; nothing is sampled.

    Without --assume or --pilot a rule is planned for a truth half-way from a perfect value to its limit.
    """
    from ldm_eval.gate.planning import plan_policy
    from ldm_eval.gate.policy import load_policy
    from ldm_eval.run.plan import DEFAULT_SAMPLES
    from ldm_eval.store.results import load_results

    catalogue = discover(given)
    shipped = catalogue.models.get(policy)
    rules = load_policy(shipped.policy() if shipped and shipped.policy else Path(policy).expanduser())
    found = plan_policy(
        rules,
        catalogue.checks,
        samples=samples or DEFAULT_SAMPLES,
        target=power,
        assume=_assumed(assume or []),
        pilot=load_results(pilot) if pilot else None,
    )
    if as_json:
        console.document(_document(rules, found, power))
    else:
        console.show(_report(rules, found, power))


def _assumed(texts: list[str]) -> dict[str, float]:
    import math

    from ldm_eval.errors import ConfigError

    found = {}
    for text in texts:
        rule, _, value = text.rpartition("=")
        try:
            found[rule] = float(value)
        except ValueError:
            found[rule] = math.nan
        if not rule or not math.isfinite(found[rule]):
            raise ConfigError(f"--assume {text}: write RULE=VALUE with a number, such as --assume no-copies=0.002.")
    return found


def _document(policy: Policy, found: tuple[PlannedRule, ...], power: float) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "schema_version": 1,
        "policy": policy.name,
        "policy_digest": policy.digest,
        "power": power,
        "samples": _most_samples(found),
        "rules": [asdict(rule) for rule in found],
    }


def _report(policy: Policy, found: tuple[PlannedRule, ...], power: float) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from ldm_eval.cli.tables import plain_table

    rows = [
        (
            Text.assemble((rule.rule, "bold"), _asked(rule)),
            _truth(rule),
            Text(f"{rule.n:,}" if rule.n is not None else "–", "bold" if rule.n else "yellow"),
            "–" if rule.power is None else f"{rule.power:.0%} at {rule.default_n:,}",
        )
        for rule in found
    ]
    title = f"What the policy {policy.name} needs to be decided with a chance of {power:.0%}"
    columns = ("rule and limit; what n counts", "if the truth is", "decided by n", "chance as it is")
    parts: list[RenderableType] = [plain_table(title, columns, rows, right=3)]
    parts += [Text.assemble((", ".join(names), "bold"), f": {note}") for note, names in _notes(found).items()]
    most = _most_samples(found)
    if most is not None:
        parts += ["", Text(f"Samples for all rules that count samples and have an n: {most:,}.", "bold")]
    return Group(*parts)


def _notes(found: tuple[PlannedRule, ...]) -> dict[str, list[str]]:
    """Each note once, with the rules that it is about."""
    notes: dict[str, list[str]] = {}
    for rule in found:
        if rule.note and rule.rule not in notes.setdefault(rule.note, []):
            notes[rule.note].append(rule.rule)
    return notes


def _asked(rule: PlannedRule) -> str:
    group = f" · {rule.group}" if rule.group else ""
    counts = f"; n: {rule.images}" if rule.images else ""
    return f"\n{rule.measurement}{group} {rule.requirement}{counts}"


def _truth(rule: PlannedRule) -> str:
    if rule.truth is None:
        return "–"
    return f"{rule.truth:.4g} ({rule.source}): {rule.answer}"


def _most_samples(found: tuple[PlannedRule, ...]) -> int | None:
    """The largest n among the rules that count samples and know theirs."""
    return max((rule.n for rule in found if rule.n is not None and rule.images.startswith("samples")), default=None)
