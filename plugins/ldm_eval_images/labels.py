"""Labels, prompts and groups from a CSV file beside the images."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import UNKNOWN
from ldm_eval.errors import DataError, did_you_mean


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """What is known about N images.

    Attributes:
        groups: Attribute -> ``(N,)`` str.
        labels: ``(N,) int64``, or None.
        prompts: ``(N,)`` str, empty for an image without one; None when no image has one.
    """

    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    labels: NDArray[np.int64] | None = None
    prompts: NDArray[np.str_] | None = None


def read_annotations(path: Path, ids: Sequence[str]) -> Annotations:
    """Read a CSV file, or return empty annotations when there is none.

    Columns: ``id`` (file name as in the set, or row number), optional ``label`` (an integer class for every image) and
    ``prompt`` (the text an image was made for, or is described by); every other column is a group attribute. An image
    without a row, or with an empty cell, is ``"unknown"``, and has no prompt.

    Raises:
        DataError: the file cannot be read, has no ``id`` column, names images that are not there, or lacks labels.
    """
    if not path.is_file():
        return Annotations()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The labels in '{path}' cannot be read ({error}); save them as CSV in UTF-8.") from error
    return parse_annotations(text, str(path), ids)


def beside(path: Path) -> Path:
    """The CSV that belongs to an archive: ``digits.npz.csv``, or ``digits.csv`` where only that exists."""
    full = path.with_name(path.name + ".csv")
    short = path.with_suffix(".csv")
    return short if short.is_file() and not full.is_file() else full


def parse_annotations(text: str, name: str, ids: Sequence[str]) -> Annotations:
    """Parse the text of such a file; ``name`` is how messages call it. See ``read_annotations``."""
    columns, rows = _rows(text, name)
    position = {image: index for index, image in enumerate(ids)}
    unknown = [image for image in rows if image not in position]
    if unknown:
        raise DataError(
            f"'{name}' describes '{unknown[0]}', which is not among the {len(ids)} images"
            f" ({len(unknown)} such rows).{did_you_mean(unknown[0], ids[:5000])} Ids are file names relative to the "
            "folder, or row numbers from 0."
        )
    absent = {column: "" if column == "prompt" else UNKNOWN for column in columns}
    cells = {column: [absent[column]] * len(ids) for column in columns}
    for image, values in rows.items():
        for column, value in zip(columns, values, strict=True):
            cells[column][position[image]] = value.strip() or absent[column]
    labels = _labels(cells.pop("label"), ids, name) if "label" in cells else None
    prompts = _prompts(cells.pop("prompt")) if "prompt" in cells else None
    return Annotations({column: np.asarray(values, dtype=np.str_) for column, values in cells.items()}, labels, prompts)


def _rows(text: str, name: str) -> tuple[list[str], dict[str, list[str]]]:
    """Column names without ``id``, and for each id the cells under them."""
    try:
        table = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except csv.Error as error:
        raise DataError(f"'{name}' is not a CSV file that can be read ({error}).") from error
    header = [cell.strip() for cell in table[0]] if table else []
    if "id" not in header or len(set(header)) != len(header) or "" in header:
        raise DataError(f"'{name}' needs a first row with an 'id' column and distinct names; found {header}.")
    at = header.index("id")
    rows: dict[str, list[str]] = {}
    for number, row in enumerate(table[1:], start=2):
        if len(row) != len(header):
            raise DataError(f"Row {number} of '{name}' has {len(row)} cells; the first row has {len(header)}.")
        image = row[at].strip()
        if image in rows:
            raise DataError(f"'{name}' describes '{image}' twice; keep one row per image.")
        rows[image] = row[:at] + row[at + 1 :]
    return header[:at] + header[at + 1 :], rows


def _prompts(cells: list[str]) -> NDArray[np.str_] | None:
    return np.asarray(cells, dtype=np.str_) if any(cells) else None


def _labels(cells: list[str], ids: Sequence[str], name: str) -> NDArray[np.int64]:
    values = []
    for image, cell in zip(ids, cells, strict=True):
        try:
            values.append(np.int64(int(cell)))
        except (ValueError, OverflowError):
            raise DataError(
                f"The label of '{image}' in '{name}' is '{cell}'; every image needs an integer label. "
                "Complete the column, or rename it to make it a group attribute."
            ) from None
    return np.asarray(values, dtype=np.int64)
