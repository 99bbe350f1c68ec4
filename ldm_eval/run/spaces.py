"""One check in several feature spaces: which it is run in, and how its findings become one outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ldm_eval.api import CheckOutcome, Invalid, Measured, Measurement, Needs, NotApplicable
from ldm_eval.run.evidence import Space
from ldm_eval.store.contributions import Contribution

__all__ = ["chosen_spaces", "in_space", "kept_in_space", "merged", "renamed", "wants_features"]


def wants_features(needs: Needs) -> bool:
    """True when a check reads something that an extractor computes."""
    return bool(needs.features or needs.logits or needs.text or needs.statistics)


def chosen_spaces(needs: Needs, spaces: Sequence[Space]) -> tuple[Space | None, ...]:
    """The spaces a check is run in, in order; ``None`` stands for no space, for a check that reads no features.

    A check that reads prompts is run where text is embedded; one that does not ask for every extractor, in the first.
    """
    if not wants_features(needs) or not spaces:
        return (None,)
    usable = [space for space in spaces if space.info.text or not needs.text]
    return tuple(usable if needs.each_extractor else usable[:1]) or (None,)


def in_space(outcome: CheckOutcome, extractor: str) -> CheckOutcome:
    """Findings of a further extractor under names of their own; what does not depend on it is left out."""
    if not isinstance(outcome, Measured):
        return outcome
    named = tuple(
        replace(measurement, name=renamed(measurement.name, extractor))
        for measurement in outcome.measurements
        if "extractor" in measurement.signature
    )
    tables = tuple(
        replace(table, name=renamed(table.name, extractor), title=f"{table.title} ({extractor})")
        for table in outcome.tables
    )
    figures = tuple(
        replace(figure, name=renamed(figure.name, extractor), title=f"{figure.title} ({extractor})")
        for figure in outcome.figures
    )
    return Measured(named, tables, figures)


def renamed(name: str, extractor: str) -> str:
    """The name of a measurement, table or figure of a further extractor: ``name@extractor``, or its own name for it."""
    return name if name.endswith(f"({extractor})") else f"{name}@{extractor}"


def kept_in_space(kept: Sequence[Contribution], extractor: str) -> list[Contribution]:
    """Contributions under the names that their measurements have in the space of a further extractor."""
    return [replace(one, name=renamed(one.name, extractor)) for one in kept]


def merged(outcomes: Sequence[CheckOutcome]) -> CheckOutcome:
    """One outcome of all spaces: everything that was measured, or else why not in the first of them."""
    measured = [outcome for outcome in outcomes if isinstance(outcome, Measured)]
    if not measured:
        return outcomes[0]
    measurements: list[Measurement] = [one for outcome in measured for one in outcome.measurements]
    invalid = [outcome for outcome in outcomes if isinstance(outcome, Invalid)]
    if not measurements or (invalid and isinstance(outcomes[0], Invalid)):
        return invalid[0] if invalid else NotApplicable("nothing was measured in any of the feature spaces")
    return Measured(
        tuple(measurements),
        tuple(table for outcome in measured for table in outcome.tables),
        tuple(figure for outcome in measured for figure in outcome.figures),
    )
