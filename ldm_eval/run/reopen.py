"""Going on with a finished run whose checks crashed: only these are asked again, and nothing is sampled anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ldm_eval.api import Crashed, ImageSet
from ldm_eval.errors import StoreError
from ldm_eval.run.folder import RunFolder
from ldm_eval.run.measure import record_outcome
from ldm_eval.run.plan import narrowed
from ldm_eval.run.prepare import Prepared
from ldm_eval.store.results import Results

__all__ = ["crashed_checks", "lay_out_outcomes", "only", "refuse_other_samples"]


def crashed_checks(results: Results) -> tuple[str, ...]:
    """The checks of a finished run that ended in a crash."""
    return tuple(record.check for record in results.checks if isinstance(record.outcome, Crashed))


def lay_out_outcomes(results: Results, folder: RunFolder) -> None:
    """Put how the other checks ended where a run that goes on looks for it; ``results.json`` stays until the end."""
    for record in results.checks:
        if not isinstance(record.outcome, Crashed):
            record_outcome(folder.work, record.check, record.outcome)


def only(prepared: Prepared, checks: tuple[str, ...]) -> Prepared:
    """The same run with features, labels and scores of these checks alone; the others are still in the plan.

    Reconstructions are made again whoever reads them, for the results name them among the data.
    """
    plan = replace(narrowed(prepared.plan, checks), reconstructions=prepared.plan.reconstructions)
    return replace(prepared, plan=plan)


def refuse_other_samples(before: Results, samples: ImageSet, folder: Path) -> None:
    """Never put numbers of two sets of samples into one document.

    Raises:
        StoreError: when the samples were lost meanwhile and came out otherwise (another driver, another processor).
    """
    if before.artifacts.get("samples") != samples.digest:
        raise StoreError(
            f"The samples in {folder} were made again and are not those that its results are about; "
            "measure them all anew with --no-resume."
        )
