"""The private side of de-duplication: which images are the same. Never part of a card."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_eval.api import ImageSet
from ldm_eval.errors import StoreError
from ldm_eval_privacy.copy_evidence import picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.stats.duplicates import Duplicates

__all__ = ["largest_groups", "write_groups"]

GROUPS_SHOWN = 20
MEMBERS_SHOWN = 8
_GAP = 4


def largest_groups(duplicates: Duplicates) -> NDArray[np.int64]:
    """Groups of two images or more, the largest first; equally large ones in the order of their first image."""
    import numpy as np

    order = np.argsort(-duplicates.multiplicity, kind="stable")
    return order[duplicates.multiplicity[order] > 1]


def write_groups(folder: Path | None, name: str, duplicates: Duplicates, images: ImageSet) -> str:
    """Write ``NAME.csv`` with every image of a group and ``NAME.png`` with the largest groups, one a row; say so.

    Returns an empty string where no image is there twice.

    Raises:
        StoreError: when the folder cannot be written.
    """
    import numpy as np

    groups = largest_groups(duplicates)
    if not len(groups):
        return ""
    if folder is None:
        return f"Groups found: {len(groups)}, not written, because this run has no private folder."
    members = [np.flatnonzero(duplicates.group == group) for group in groups[:GROUPS_SHOWN]]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_csv(folder / f"{name}.csv", duplicates, groups, images)
        _write_panels(folder / f"{name}.png", members, images)
    except OSError as error:
        raise StoreError(f"The list of duplicates could not be written to {folder}: {error}.") from error
    return f"Groups listed in the run's private folder: {len(groups)}; the largest {len(members)} are shown there."


def _write_csv(path: Path, duplicates: Duplicates, groups: NDArray[np.int64], images: ImageSet) -> None:
    import numpy as np

    rank = np.full(duplicates.unique, -1, dtype=np.int64)
    rank[groups] = np.arange(len(groups))
    order = np.argsort(rank[duplicates.group], kind="stable")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "group", "images_in_group", "first_image_id"])
        for row in order[np.searchsorted(rank[duplicates.group][order], 0) :]:
            group = duplicates.group[row]
            first = images.ids[duplicates.representatives[group]]
            writer.writerow([images.ids[row], int(rank[group]) + 1, int(duplicates.multiplicity[group]), first])


def _write_panels(path: Path, members: list[NDArray[np.int64]], images: ImageSet) -> None:
    """One group a row: its first images, at most ``MEMBERS_SHOWN``."""
    import numpy as np
    from PIL import Image

    height, width = picture(images, 0).shape[:2]
    columns = min(MEMBERS_SHOWN, max(len(rows) for rows in members))
    sheet = np.full((len(members) * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 255, dtype=np.uint8)
    for line, rows in enumerate(members):
        for column, row in enumerate(rows[:columns]):
            top, left = line * (height + _GAP), column * (width + _GAP)
            sheet[top : top + height, left : left + width] = picture(images, int(row))
    Image.fromarray(sheet).save(path)
