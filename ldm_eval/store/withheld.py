"""Which samples a card must not show, because a check took them for copies of training images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ldm_eval.errors import StoreError
from ldm_eval.store.atomic import read_json, write_json

__all__ = ["withheld_samples", "write_withheld"]

_NAME = "withheld_samples.json"


def write_withheld(folder: Path, rows: Iterable[int]) -> None:
    """Say in a check's private ``folder`` which rows of the samples are withheld; none, where none are.

    Raises:
        StoreError: when the folder cannot be written.
    """
    write_json(folder / _NAME, {"samples": sorted({int(row) for row in rows})})


def withheld_samples(private: Path) -> frozenset[int] | None:
    """Rows that any check withheld; None where there is no private folder, so that nobody can say.

    Raises:
        StoreError: when a list is damaged.
    """
    if not private.is_dir():
        return None
    rows: set[int] = set()
    for path in sorted(private.glob(f"*/{_NAME}")):
        document: Any = read_json(path)
        listed = document.get("samples") if isinstance(document, dict) else None
        if not isinstance(listed, list) or not all(isinstance(row, int) for row in listed):
            raise StoreError(f"{path} is not what ldm-eval wrote; run again with --no-resume.")
        rows.update(listed)
    return frozenset(rows)
