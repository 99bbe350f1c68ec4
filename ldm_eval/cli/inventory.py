"""What the catalogue holds, as rows for ``list`` and ``plugins``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from ldm_eval.cli.tables import plain_table
from ldm_eval.hooks.catalogue import Catalogue, PluginRecord, unavailable_reason

__all__ = ["Item", "inventory", "inventory_table", "plugins_document", "plugins_table"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a plugin offers.

    Attributes:
        name: What the user types.
        summary: One line.
        plugin: Who offers it.
        unavailable: Why it cannot be used here, with the line that enables it; empty when it can.
        details: Facts of this kind of thing (licence, splits, checks of a suite).
    """

    name: str
    summary: str
    plugin: str
    unavailable: str
    details: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The item as one flat object."""
        document = asdict(self)
        return {**{key: value for key, value in document.items() if key != "details"}, **document["details"]}


def inventory(catalogue: Catalogue, kind: str) -> list[Item]:
    """Everything of one kind (``"checks"``, ``"attribute-classifiers"``...), in the catalogue's order."""
    specs: Mapping[str, Any] = getattr(catalogue, kind.replace("-", "_"))
    items = [_item(name, spec, catalogue) for name, spec in specs.items()]
    if kind == "suites" and "all" not in specs:
        items.append(Item("all", "Every installed check.", "ldm-eval", "", {"checks": ["*"]}))
    return items


def _item(name: str, spec: Any, catalogue: Catalogue) -> Item:
    details = {
        key: getattr(spec, key)
        for key in ("title", "licence", "splits", "holdout_split", "checks", "options", "needs_labels")
        if hasattr(spec, key)
    }
    details = {key: list(value) if isinstance(value, tuple) else value for key, value in details.items()}
    return Item(
        name=name,
        summary=spec.question if hasattr(spec, "question") else spec.summary,
        plugin=catalogue.owner(spec).name,
        unavailable=unavailable_reason(getattr(spec, "requires", ()), getattr(spec, "extra", "")),
        details={key: dict(value) if isinstance(value, Mapping) else value for key, value in details.items()},
    )


def inventory_table(kind: str, items: Sequence[Item]) -> Table:
    """The items as a table; what cannot be used here says so under its summary."""
    rows = [(Text(item.name, "bold"), _described(item), item.plugin) for item in items]
    return plain_table(kind.replace("-", " ").capitalize(), ("name", "what it is", "plugin"), rows)


def _described(item: Item) -> Text:
    text = Text(item.summary)
    if item.details.get("splits"):
        text.append(f" Splits: {', '.join(item.details['splits'])}.")
    if item.details.get("checks"):
        text.append(f" ({', '.join(item.details['checks'])})", style="dim")
    if item.details.get("licence"):
        text.append(f" [{item.details['licence']}]", style="dim")
    if item.unavailable:
        text.append(f"\nnot available here: {item.unavailable}", style="yellow")
    return text


def plugins_table(records: Sequence[PluginRecord]) -> Table:
    """One row per plugin."""
    rows = [(Text(record.name, "bold"), _origin(record), _state(record)) for record in records]
    return plain_table("Plugins", ("plugin", "from", "offers"), rows)


def plugins_document(records: Sequence[PluginRecord]) -> list[dict[str, Any]]:
    """The same as JSON."""
    return [{**asdict(record), "offers": {k: list(v) for k, v in record.offers.items()}} for record in records]


def _origin(record: PluginRecord) -> str:
    return f"{record.distribution} {record.version}".strip() or record.module


def _state(record: PluginRecord) -> Text:
    if record.disabled:
        return Text("switched off", "dim")
    if record.error:
        return Text(f"cannot be used: {record.error}", "red")
    lines = [f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in record.offers.items()]
    return Text("\n".join(lines))
