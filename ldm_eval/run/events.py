"""``events.jsonl``: what happened and when. Times live here so that results.json can be compared byte for byte."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ldm_eval.errors import StoreError

__all__ = ["EventLog"]


class EventLog:
    """Appends one JSON object per event, flushed at once so that a run can be followed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = time.monotonic()

    def write(self, event: str, **details: Any) -> None:
        """Append ``event``. ``seconds`` counts from the start of this process' run.

        Raises:
            StoreError: when the file cannot be written.
        """
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "seconds": round(time.monotonic() - self._begun, 3),
            "event": event,
            **details,
        }
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        except OSError as error:
            raise StoreError(f"Could not write {self._path}: {error.strerror or error}.") from error
