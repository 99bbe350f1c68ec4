"""Going on with a run: only what crashed is asked again, and numbers of other images are never taken over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ldm_eval.api import Crashed, ImageSet, Role
from ldm_eval.errors import StoreError
from ldm_eval.run.folder import RunFolder
from ldm_eval.run.measure import record_outcome
from ldm_eval.run.plan import narrowed
from ldm_eval.run.prepare import Prepared
from ldm_eval.store.atomic import read_json, write_json
from ldm_eval.store.results import Results

__all__ = ["crashed_checks", "lay_out_outcomes", "only", "refuse_other_images"]


def crashed_checks(results: Results) -> tuple[str, ...]:
    """The checks of a finished run that ended in a crash."""
    return tuple(record.check for record in results.checks if isinstance(record.outcome, Crashed))


def lay_out_outcomes(results: Results, folder: RunFolder) -> None:
    """Put how the other checks ended, and of which images, where a run that goes on looks for it.

    ``results.json`` stays until the end.
    """
    measured = {record.role: record.digest for record in results.data}
    sampled = {"samples": results.artifacts["samples"]} if "samples" in results.artifacts else {}
    write_json(_digests(folder), {**measured, **sampled})
    for record in results.checks:
        if not isinstance(record.outcome, Crashed):
            record_outcome(folder.work, record.check, record.outcome)


def only(prepared: Prepared, checks: tuple[str, ...]) -> Prepared:
    """The same run with features, labels and scores of these checks alone; the others are still in the plan.

    Reconstructions are made again whoever reads them, for the results name them among the data.
    """
    plan = replace(narrowed(prepared.plan, checks), reconstructions=prepared.plan.reconstructions)
    return replace(prepared, plan=plan)


def refuse_other_images(folder: RunFolder, sets: Mapping[Role, ImageSet]) -> None:
    """Never put numbers of two sets of images into one document: called before anything is measured.

    The digests of the first call are kept in the work folder; images that appear later (reconstructions that failed
    before) are added to them.

    Raises:
        StoreError: when samples or reconstructions were made again and came out otherwise (another driver, another
            processor), or reconstructions that were measured cannot be made any more.
    """
    path, now = _digests(folder), {role: images.digest for role, images in sets.items()}
    measured: dict[Role, str] = read_json(path) if path.is_file() else {}
    changed = [role for role, digest in measured.items() if now.get(role) != digest]
    if changed:
        raise StoreError(
            f"The images in {folder.path} ({', '.join(sorted(changed))}) were made again and are not those that its "
            "results are about; measure them all anew with --no-resume."
        )
    write_json(path, now)


def _digests(folder: RunFolder) -> Path:
    return folder.work / "images.json"
