"""Writing the report of a run into its folder: figures, the verdict, the card; each whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ldm_eval.api import CardSectionSpec
from ldm_eval.errors import StoreError
from ldm_eval.gate import Verdict, verdict_to_json
from ldm_eval.report.card import GRID, build_card
from ldm_eval.report.figures import draw_figure, figure_files, sample_grid
from ldm_eval.report.markdown import plain
from ldm_eval.store.atomic import read_json, write_bytes, write_json, write_text
from ldm_eval.store.certificate import Certificate, load_certificate
from ldm_eval.store.results import Results
from ldm_eval.store.samples import first_images
from ldm_eval.store.withheld import withheld_samples

__all__ = [
    "CALIBRATION",
    "CARD",
    "DECLARED",
    "GATE",
    "GRID_IMAGES",
    "load_calibration",
    "load_declared",
    "write_report",
]

CARD, GATE, DECLARED, CALIBRATION = "MODEL_CARD.md", "gate.json", "declared.json", "calibration.json"
GRID_IMAGES = 64
"""How many of the first samples the grid shows."""

_WITHHELD_GREY = 160


def write_report(
    results: Results,
    verdict: Verdict | None,
    folder: Path,
    declared: Mapping[str, Any] | None = None,
    sections: Sequence[CardSectionSpec] = (),
    certificate: Certificate | None = None,
) -> Path:
    """Write figures, certificate, verdict and declaration and, last, ``MODEL_CARD.md``; return the card's path.

    Writing again from the same results gives the same bytes. What is None is not there afterwards: a verdict, a
    declaration or a certificate left by an earlier report would contradict this one. Read them first with
    ``gate.load_verdict``, ``load_declared`` and ``load_calibration`` to keep them.

    Args:
        results: What was measured.
        verdict: What a policy decided, or None.
        folder: The folder of the run.
        declared: What the author declares, or None.
        sections: Sections of plugins.
        certificate: What a calibration of the instruments found, or None.

    Raises:
        StoreError: when the disk is full or the folder cannot be written; the old card is still there.
    """
    undrawn = _write_figures(results, folder)
    _write_or_remove(folder / CALIBRATION, certificate.to_json() if certificate is not None else None)
    _write_or_remove(folder / GATE, verdict_to_json(verdict) if verdict is not None else None)
    _write_or_remove(folder / DECLARED, _jsonable(declared) if declared is not None else None)
    grid = _write_grid(folder)
    card = build_card(results, verdict, declared, sections, grid=grid, undrawn=undrawn, certificate=certificate)
    write_text(folder / CARD, card)
    return folder / CARD


def load_declared(folder: Path) -> Mapping[str, Any] | None:
    """What the author declared when the report was last written, or None. Raises StoreError when it is damaged."""
    path = folder / DECLARED
    if not path.is_file():
        return None
    document = read_json(path)
    if not isinstance(document, dict):
        raise StoreError(f"{path} is not what ldm-eval wrote; give --declared again.")
    return document


def load_calibration(folder: Path) -> Certificate | None:
    """The certificate that lies with the run, or None. Raises StoreError when it is damaged or was edited."""
    path = folder / CALIBRATION
    return load_certificate(path) if path.is_file() else None


def _write_figures(results: Results, folder: Path) -> dict[str, str]:
    """Draw every figure; return the ones that could not be drawn, with the reason."""
    undrawn: dict[str, str] = {}
    for file in figure_files(results):
        try:
            content = draw_figure(file.figure)
        except Exception as error:  # a check's figure data may be anything; the card is not lost for a picture
            undrawn[file.path] = plain(f"{type(error).__name__}: {error}")[:300]
            continue
        write_bytes(folder / file.path, content)
    return undrawn


def _write_grid(folder: Path) -> str | None:
    """The grid of the first samples, without those that a check withheld.

    The grid that is there stays where the samples are gone, or the private folder that says which are withheld.
    """
    images, withheld = first_images(folder / "samples", GRID_IMAGES), withheld_samples(folder / "private")
    if images is not None and len(images) and (withheld is not None or not (folder / GRID).is_file()):
        hidden = [row for row in withheld or () if row < len(images)]
        images[hidden] = _WITHHELD_GREY
        write_bytes(folder / GRID, sample_grid(images))
    return GRID if (folder / GRID).is_file() else None


def _write_or_remove(path: Path, document: Mapping[str, Any] | None) -> None:
    if document is not None:
        write_json(path, document)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"Could not remove {path}: {error.strerror or error}.") from error


def _jsonable(value: Any) -> Any:
    """TOML values as JSON has them: dates and numbers that are not finite become text."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    finite = isinstance(value, float) and math.isfinite(value)
    return value if finite or isinstance(value, str | int | bool) or value is None else str(value)
