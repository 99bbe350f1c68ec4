"""What was planted in the demo's data beside what a run of the demo found.

``python -m ldm_eval_demo.truths RUN_FOLDER`` prints the table and ends with 1 when a finding contradicts what was
planted. It reads ``results.json`` and, where it lies beside it, the private list of copies.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ldm_eval.errors import DataError
from ldm_eval_demo import DEMO
from ldm_eval_demo.portraits import COPIES, PLANTED, SHARES, TRAINING, planted

__all__ = ["Truth", "compare"]

_ROWS: Final = sum(TRAINING.tones)
_COPIES_FILE: Final = Path("private", "privacy-near_copies", "near_copies.csv")


@dataclass(frozen=True, slots=True)
class Truth:
    """One planted fact, what the run says of it, and whether the two agree."""

    planted: str
    found: str
    agrees: bool


def compare(folder: Path) -> tuple[Truth, ...]:
    """Read the run in ``folder`` and compare it with what was planted.

    Raises:
        DataError: when the folder holds no results, or those of another model or of a part of the data.
    """
    try:
        results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds no results of a run that can be read: {error}") from error
    name, partial = results["model"]["name"], results["partial"]
    if name != DEMO or partial:
        what = f"is of the model '{name}'" if name != DEMO else "took only a part of the images (--limit)"
        raise DataError(f"The run in {folder} {what}; the planted truths are those of a whole run of --model demo.")
    truths = [*_shares(results), *_duplicates(results), _same_law(results)]
    if (folder / _COPIES_FILE).is_file():
        truths.append(_copied(folder / _COPIES_FILE))
    return tuple(truths)


def _measurements(results: Mapping[str, Any], check: str) -> dict[tuple[str, str | None], Mapping[str, Any]]:
    return {(m["name"], m["group"]): m for m in results["measurements"] if m["check"] == check}


def _outcome(results: Mapping[str, Any], check: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next((o for o in results["outcomes"] if o["check"] == check), {})
    return found


def _shares(results: Mapping[str, Any]) -> list[Truth]:
    """The skew: a group planted above an equal share must be found above it, one below it below."""
    found = _measurements(results, "fairness/representation")
    classes = SHARES["skin tone"]
    equal = 1 / len(classes)
    truths = []
    for tone, share in classes.items():
        measured = found.get(("corrected_share", tone))
        what = f"{share:.0%} of the portraits have {tone} skin tones"
        if measured is None:
            truths.append(Truth(what, "no share was measured", agrees=False))
            continue
        same_side = measured["low"] > equal if share > equal else measured["value"] < equal
        interval = f"{measured['value']:.1%} of the samples [{measured['low']:.1%}, {measured['high']:.1%}]"
        truths.append(Truth(what, interval, agrees=same_side))
    return truths


def _duplicates(results: Mapping[str, Any]) -> list[Truth]:
    tables = _outcome(results, "privacy/near_copies").get("tables", ())
    counts = {row[0]: row[1] for table in tables if table["name"] == "counts" for row in table["rows"]}
    different = _ROWS - PLANTED * (COPIES - 1)
    planted_facts = (
        (f"{different:,} different portraits in {_ROWS:,} rows", "different training images", different),
        (f"{PLANTED} of them {COPIES} times", "most copies of one image in training", COPIES),
        ("none of them in the holdout", "holdout images found in training", 0),
    )
    return [
        Truth(what, f"{name}: {counts.get(name, 'not counted')}", counts.get(name) == value)
        for what, name, value in planted_facts
    ]


def _same_law(results: Mapping[str, Any]) -> Truth:
    """Without duplicates nothing tells members from others: the membership test must not call itself invalid."""
    kind = str(_outcome(results, "privacy/membership_loss").get("status", "absent"))
    return Truth("nothing else tells training from holdout", f"the blind classifier: {kind}", kind == "measured")


def _copied(path: Path) -> Truth:
    """Copies, where there are any, must be of the planted pictures far more often than of the others."""
    with path.open(newline="", encoding="utf-8") as file:
        copied = [row["training_id"] for row in csv.DictReader(file)]
    repeated = {name: picture for picture, names in enumerate(planted()) for name in names}
    of_planted = [repeated[name] for name in copied if name in repeated]
    found = f"{len(of_planted)} of {len(copied)} copies show {len(set(of_planted))} of the planted pictures"
    chance = PLANTED / (_ROWS - PLANTED * (COPIES - 1))
    return Truth("what is there 20 times is learned first", found, len(of_planted) > 10 * chance * len(copied))


def main(arguments: Sequence[str]) -> int:
    """Compare the run in the folder named; 0 when all agree, 1 when not, 2 for a folder that cannot be compared."""
    if len(arguments) != 1:
        sys.stderr.write("Usage: python -m ldm_eval_demo.truths RUN_FOLDER\n")
        return 2
    try:
        truths = compare(Path(arguments[0]))
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    widest = max(len(truth.planted) for truth in truths)
    for truth in truths:
        word = "agrees" if truth.agrees else "DIFFERS"
        print(f"{word:<7}  {truth.planted:<{widest}}  {truth.found}")  # noqa: T201
    return 0 if all(truth.agrees for truth in truths) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
