"""Scores and checks, one at a time in the worker; one that breaks is reported and the rest go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ldm_eval.api import CheckOutcome, Crashed, NotApplicable, Role, Scalar
from ldm_eval.run.events import EventLog
from ldm_eval.run.evidence import EvidenceFolder
from ldm_eval.run.jobs import CheckJob, ScoreJob
from ldm_eval.run.models import FoundModel
from ldm_eval.run.plan import PlannedCheck, PlannedScore
from ldm_eval.run.progress import Progress
from ldm_eval.run.supervisor import Supervisor, WorkerLost
from ldm_eval.store.atomic import read_json, write_json
from ldm_eval.store.results import outcome_from_json, outcome_to_json

__all__ = ["Measuring", "compute_scores", "run_checks"]


@dataclass(frozen=True, slots=True)
class Measuring:
    """What every step of measuring needs.

    Attributes:
        supervisor: Keeps the worker.
        evidence: What checks read.
        timeout: Seconds a check may be silent.
        events: Log.
        progress: News for the user.
    """

    supervisor: Supervisor
    evidence: EvidenceFolder
    timeout: float
    events: EventLog
    progress: Progress


def compute_scores(
    scores: tuple[PlannedScore, ...], found: FoundModel, batch_size: int, at: Measuring
) -> dict[tuple[str, Role], str]:
    """Compute the white-box scores that are not there yet; returns (name, role) -> error for those that failed."""
    failed: dict[tuple[str, Role], str] = {}
    for score in scores:
        if at.evidence.score_path(score.spec.name, score.role).is_file():
            continue
        job = ScoreJob(
            name=score.spec.name,
            function=score.spec.function,
            role=score.role,
            max_images=score.spec.max_images,
            parameters=score.spec.parameters,
            evidence=at.evidence,
            model=found.ref.text,
            backend=found.backend,
            device=found.device,
            batch_size=batch_size,
        )
        with at.progress.stage(f"score {score.spec.name} ({score.role})", score.images):
            try:
                answer = at.supervisor.call(job, at.timeout, at.progress.advance)
                error = str(answer["failed"]) if "failed" in answer else ""
            except WorkerLost as lost:
                error = str(lost)
        at.events.write("score", score=score.spec.name, role=score.role, error=error)
        if error:
            failed[score.spec.name, score.role] = error
    return failed


def run_checks(
    checks: tuple[PlannedCheck, ...],
    parameters: Mapping[str, Mapping[str, Scalar]],
    failed_scores: Mapping[tuple[str, Role], str],
    failed_attributes: CheckOutcome | None,
    at: Measuring,
) -> dict[str, CheckOutcome]:
    """Run every check that can run; check id -> how it ended. What an interrupted run measured is taken over."""
    outcomes: dict[str, CheckOutcome] = {}
    with at.progress.stage("checks", len(checks)):
        for planned in checks:
            spec = planned.spec
            outcomes[spec.id] = (
                NotApplicable(planned.reason)
                if not planned.runs
                else _spoiled(planned, failed_scores, failed_attributes) or _measured(planned, parameters, at)
            )
            at.progress.advance()
    return outcomes


def _spoiled(
    planned: PlannedCheck, failed_scores: Mapping[tuple[str, Role], str], failed_attributes: CheckOutcome | None
) -> CheckOutcome | None:
    """How a check ends whose inputs could not be computed; None when all are there."""
    if planned.spec.needs.attributes and failed_attributes is not None:
        return failed_attributes
    for score in planned.spec.needs.scores:
        for role in score.roles:
            if (score.name, role) in failed_scores:
                return Crashed(
                    f"its score '{score.name}' of the {role} images failed: {failed_scores[score.name, role]}"
                )
    return None


def _measured(planned: PlannedCheck, parameters: Mapping[str, Mapping[str, Scalar]], at: Measuring) -> CheckOutcome:
    check = planned.spec.id
    record = at.evidence.path("outcomes") / f"{check.replace('/', '-')}.json"
    if record.is_file():
        kept = outcome_from_json(read_json(record))
        if not isinstance(kept, Crashed):  # what made it crash may have passed: little memory, a killed worker
            return kept
    job = CheckJob(check, at.evidence, dict(parameters.get(check, {})))
    try:
        answer = at.supervisor.call(job, at.timeout)
        outcome = outcome_from_json(answer["done"])
    except WorkerLost as lost:
        outcome = Crashed(str(lost))
    write_json(record, outcome_to_json(outcome))
    at.events.write("check", check=check, outcome=type(outcome).__name__, error=getattr(outcome, "error", ""))
    return outcome
