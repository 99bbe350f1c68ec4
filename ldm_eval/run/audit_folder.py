"""A folder of generated images for people to label, and reading back what they filled in.

The folder holds the images, a table to fill in, a page that says how, and ``audit.json``, which says of which run the
images are. It does not hold the classifier's labels: these stay in the run's private folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import UNKNOWN, AttributeLabels
from ldm_eval.errors import ConfigError, DataError, StoreError, did_you_mean
from ldm_eval.store.atomic import canonical_json, read_json, write_bytes, write_json, write_text
from ldm_eval.store.attributes import kept_labels, load_labels
from ldm_eval.store.results import load_results
from ldm_eval.store.samples import chosen_images, kept_samples

__all__ = ["MIN_IMAGES", "AnsweredAudit", "export_audit", "read_audit"]

MIN_IMAGES = 50
"""Fewer audited images than the coverage of the intervals was measured at are not asked for."""

RECORD, TABLE, INSTRUCTIONS, IMAGES = "audit.json", "labels.csv", "README.txt", "images"
_SHORTEST_SIDE = 256
"""Small images are enlarged by a whole factor, pixel by pixel, up to about this."""
_NAMED = 5


@final
@dataclass(frozen=True, slots=True, eq=False)
class AnsweredAudit:
    """A table that was filled in, beside what the run's classifier said.

    Attributes:
        run: The folder of the run.
        labels: The classifier's labels of all samples.
        rows: Which samples were audited, in the order they were drawn.
        people: ``(n,)`` str: what people called them, classes or ``"unknown"``.
        seed: Seed of the draw.
    """

    run: Path
    labels: AttributeLabels
    rows: tuple[int, ...]
    people: NDArray[np.str_]
    seed: int


def export_audit(run: Path, folder: Path, images: int, seed: int) -> Path:
    """Draw ``images`` of the kept samples of ``run`` at random, write them to ``folder``; returns the table to fill in.

    Raises:
        ConfigError: when the run keeps no labels, has too few samples, or the folder is not empty.
        StoreError: when something cannot be read or written.
    """
    digest = _digest(run)
    labels = _labels(run, digest)
    total = kept_samples(run / "samples")
    if total != len(labels.labels):
        raise ConfigError(f"{run} keeps {total:,} of its {len(labels.labels):,} samples; an audit draws from all.")
    if not MIN_IMAGES <= images <= total:
        raise ConfigError(
            f"{images} images were asked for; an audit takes from {MIN_IMAGES} to all {total:,} samples of {run}."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder; an audit never overwrites another. Name a new one.")
    generator = np.random.Generator(np.random.PCG64(seed))
    rows = [int(row) for row in generator.choice(total, size=images, replace=False)]
    listed = []
    for number, (row, pixels) in enumerate(zip(rows, chosen_images(run / "samples", rows), strict=True), start=1):
        content = _png(pixels)
        write_bytes(folder / IMAGES / f"g{number}.png", content)  # no leading zeros: spreadsheets take them away
        listed.append({"id": f"g{number}", "row": row, "sha256": hashlib.sha256(content).hexdigest()})
    write_text(folder / INSTRUCTIONS, _instructions(labels))
    write_text(folder / TABLE, "id,label\n" + "".join(f"{item['id']},\n" for item in listed))
    record: dict[str, Any] = {
        "schema_version": 1,
        "run": _relative(run, folder),
        "samples": digest,
        "attribute": labels.attribute,
        "classifier": labels.classifier,
        "labels": _labels_digest(labels),
        "seed": seed,
        "images": listed,
    }
    write_json(folder / RECORD, record | {"sha256": _record_digest(record)})  # last: a folder without it is unfinished
    return folder / TABLE


def read_audit(folder: Path, run: Path | None = None) -> AnsweredAudit:
    """Read a folder of ``export_audit`` whose table has been filled in.

    Args:
        folder: The folder.
        run: Where the run lies now; None: where it lay when the images were drawn.

    Raises:
        ConfigError: when it is no such folder, or its run is another one or gone.
        DataError: when the table misses answers, or holds what cannot be.
    """
    record = _record(folder)
    where = run or folder / record["run"]
    if not (where / "results.json").is_file():
        raise ConfigError(f"The run of this audit is not at {where}; say where it is with --run DIR.")
    digest = _digest(where)
    if digest != record["samples"]:
        raise ConfigError(
            f"{where} is another run: its samples are {digest[:16]}…, those of the audit {record['samples'][:16]}…."
        )
    labels = _labels(where, digest)
    if _labels_digest(labels) != record["labels"]:
        raise ConfigError(
            f"The classifier's labels in {where} changed since the images were drawn (then: '{record['classifier']}' "
            f"on {record['attribute']}; now: '{labels.classifier}' on {labels.attribute}). Export the audit again."
        )
    _refuse_edited_images(folder, record["images"])
    ids = [item["id"] for item in record["images"]]
    answers = _answers(folder / TABLE, ids, (*labels.confusion.classes, UNKNOWN))
    people = np.array([answers[name] for name in ids], dtype=str)
    return AnsweredAudit(where, labels, tuple(item["row"] for item in record["images"]), people, record["seed"])


def _digest(run: Path) -> str:
    digest = load_results(run).artifacts.get("samples")
    if not digest:
        raise ConfigError(f"{run} measured no samples, so there is nothing to audit.")
    return digest


def _labels(run: Path, digest: str) -> AttributeLabels:
    path = kept_labels(run / "private", digest)
    if not path.is_file():
        raise ConfigError(
            f"{run} keeps no labels of its samples ({path.relative_to(run)} is missing). They are kept when a check of "
            "groups was run, such as fairness/representation: run it again with that check and --no-resume."
        )
    return load_labels(path)


def _labels_digest(labels: AttributeLabels) -> str:
    said = [labels.attribute, labels.classifier, [str(label) for label in labels.labels]]
    return hashlib.sha256(canonical_json(said, indent=None).encode()).hexdigest()


def _record_digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json({k: v for k, v in record.items() if k != "sha256"}).encode()).hexdigest()


def _relative(run: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(run.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return run.resolve().as_posix()


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """``(3, H, W) uint8`` as a PNG, enlarged by a whole factor where it is small."""
    from PIL import Image

    factor = max(1, _SHORTEST_SIDE // max(pixels.shape[1:]))
    large = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(large.transpose(1, 2, 0))).save(stream, format="PNG")
    return stream.getvalue()


def _instructions(labels: AttributeLabels) -> str:
    listed = "\n".join(f"    {name}" for name in (*labels.confusion.classes, UNKNOWN))
    return (
        f"Look at every image in {IMAGES}/ and write into {TABLE}, beside its id, what you perceive.\n\n"
        f"What is asked for: {labels.attribute}. Write exactly one of\n\n{listed}\n\n"
        f"and '{UNKNOWN}' wherever you cannot tell, or the image shows nothing of the kind. Answer by what you see\n"
        "and not by who it might be. Leave no row empty, add and remove none; their order does not matter.\n\n"
        "The images were drawn at random from those that a model generated. Do not leave any out, and do not look up\n"
        "what a program called them: the answers are there to find its errors. They may resemble real people: do not\n"
        "pass them on.\n"
    )


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        raise ConfigError(f"There is no {RECORD} in {folder}; name a folder that `ldm-eval audit export` wrote.")
    record = read_json(path)
    if not isinstance(record, dict) or record.get("schema_version") != 1:
        raise ConfigError(f"{path} is not of an ldm-eval audit that this version reads.")
    if record.get("sha256") != _record_digest(record):
        raise DataError(f"{path} was edited; put the file back as it was exported. Answers belong in {TABLE}.")
    return record


def _refuse_edited_images(folder: Path, listed: Sequence[Mapping[str, Any]]) -> None:
    """Images that are gone do no harm any more; others in their place are not those that were drawn."""
    for item in listed:
        path = folder / IMAGES / f"{item['id']}.png"
        try:
            edited = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != item["sha256"]
        except OSError as error:
            raise StoreError(f"Could not read {path}: {error.strerror or error}.") from error
        if edited:
            raise DataError(f"{path} is not the image that was exported; what was said of it cannot be used.")


def _answers(path: Path, ids: Sequence[str], allowed: Sequence[str]) -> dict[str, str]:
    """Id -> answer, complete and without others."""
    known = frozenset(ids)
    answers: dict[str, str] = {}
    for line, (name, label) in enumerate(_rows(path), start=2):
        if name not in known:
            raise DataError(f"{path}, line {line}: there is no image '{name}' in this audit.{did_you_mean(name, ids)}")
        if name in answers:
            raise DataError(f"{path}, line {line}: '{name}' stands there twice; keep one row of each image.")
        if label and label not in allowed:
            raise DataError(
                f"{path}, line {line}: '{label}' is none of {', '.join(allowed)}.{did_you_mean(label, allowed)}"
            )
        answers[name] = label
    _refuse_missing(path, "has no row for", [name for name in ids if name not in answers])
    _refuse_missing(path, "has no label for", [name for name in ids if not answers[name]])
    return answers


def _rows(path: Path) -> Iterable[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"There is no table {path}; put the filled-in one back.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8; save the table as CSV in UTF-8.") from error
    except OSError as error:
        raise StoreError(f"Could not read {path}: {error.strerror or error}.") from error
    first = text.partition("\n")[0]
    delimiter = next((mark for mark in (";", "\t") if mark in first and "," not in first), ",")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV table ({error}).") from error
    if not rows or [cell.strip() for cell in rows[0]] != ["id", "label"]:
        found = ", ".join(rows[0])[:60] if rows else "nothing"
        raise DataError(f"{path} must begin with the columns id, label; found {found}.")
    wrong = next((row for row in rows[1:] if len(row) != 2), None)
    if wrong is not None:
        raise DataError(f"{path}: every row has an id and a label; found '{delimiter.join(wrong)[:60]}'.")
    return [(name.strip(), label.strip()) for name, label in rows[1:]]


def _refuse_missing(path: Path, what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise DataError(
            f"{path} {what} {', '.join(names[:_NAMED])}{more}. Label every image, '{UNKNOWN}' where you cannot tell: "
            "leaving out the difficult ones would bias the shares."
        )
