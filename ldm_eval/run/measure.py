"""Scores and checks, one at a time in the worker; one that breaks is reported and the rest go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ldm_eval.api import CheckOutcome, Crashed, NotApplicable, Role, Scalar
from ldm_eval.run.events import EventLog
from ldm_eval.run.evidence import EvidenceFolder
from ldm_eval.run.jobs import CheckJob, ScoreJob
from ldm_eval.run.models import FoundModel
from ldm_eval.run.plan import PlannedCheck, PlannedScore, needed_roles
from ldm_eval.run.progress import Progress
from ldm_eval.run.saved_scores import take_scores
from ldm_eval.run.supervisor import Supervisor, WorkerLost
from ldm_eval.store.atomic import read_json, write_json
from ldm_eval.store.results import outcome_from_json, outcome_to_json

__all__ = ["Failures", "Measuring", "compute_scores", "record_outcome", "run_checks"]


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


@dataclass(frozen=True, slots=True)
class Failures:
    """Which inputs of checks could not be computed, and why.

    Attributes:
        reconstruction: Why there are no reconstructions; empty when there are, or none were needed.
        attributes: How a check ends that needs attribute labels; None when they are there.
        scores: (name, role) -> error.
    """

    reconstruction: str = ""
    attributes: CheckOutcome | None = None
    scores: Mapping[tuple[str, Role], str] = field(default_factory=dict)

    def spoil(self, planned: PlannedCheck) -> CheckOutcome | None:
        """How a check ends whose inputs could not be computed; None when all are there."""
        needs = planned.spec.needs
        if self.reconstruction and "reconstruction" in needed_roles(needs):
            return Crashed(f"the holdout images could not be reconstructed: {self.reconstruction}")
        if needs.attributes and self.attributes is not None:
            return self.attributes
        for score in needs.scores:
            for role in score.roles:
                if (score.name, role) in self.scores:
                    error = self.scores[score.name, role]
                    return Crashed(f"its score '{score.name}' of the {role} images failed: {error}")
        return None


def compute_scores(
    scores: tuple[PlannedScore, ...], found: FoundModel, batch_size: int, at: Measuring
) -> dict[tuple[str, Role], str]:
    """Take or compute the white-box scores that are not there yet; returns (name, role) -> error where that failed."""
    failed: dict[tuple[str, Role], str] = {}
    for score in scores:
        if score.role not in at.evidence.roles or at.evidence.score_path(score.spec.name, score.role).is_file():
            continue  # there are no such images after all, or an interrupted run has scored them
        if score.saved:
            take_scores(score.saved, at.evidence.score_path(score.spec.name, score.role))
            at.events.write("score", score=score.spec.name, role=score.role, taken=True)
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
            prompts=score.spec.prompts,
            shuffled=score.spec.shuffled,
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
    failures: Failures,
    at: Measuring,
) -> dict[str, CheckOutcome]:
    """Run every check that can run; check id -> how it ended. What an interrupted run measured is taken over."""
    outcomes: dict[str, CheckOutcome] = {}
    with at.progress.stage("checks", len(checks)):
        for planned in checks:
            outcomes[planned.spec.id] = (
                _outcome(planned, parameters, failures, at) if planned.runs else NotApplicable(planned.reason)
            )
            at.progress.advance()
    return outcomes


def record_outcome(work: Path, check: str, outcome: CheckOutcome) -> None:
    """Keep how a check ended, for a run that goes on."""
    write_json(_record(work, check), outcome_to_json(outcome))


def _record(work: Path, check: str) -> Path:
    return work / "outcomes" / f"{check.replace('/', '-')}.json"


def _outcome(
    planned: PlannedCheck, parameters: Mapping[str, Mapping[str, Scalar]], failures: Failures, at: Measuring
) -> CheckOutcome:
    check = planned.spec.id
    record = _record(Path(at.evidence.folder), check)
    if record.is_file():
        kept = outcome_from_json(read_json(record))
        if not isinstance(kept, Crashed):  # what made it crash may have passed: little memory, a killed worker
            return kept
    spoiled = failures.spoil(planned)
    return spoiled if spoiled is not None else _measured(check, dict(parameters.get(check, {})), at)


def _measured(check: str, parameters: Mapping[str, Scalar], at: Measuring) -> CheckOutcome:
    try:
        answer = at.supervisor.call(CheckJob(check, at.evidence, parameters), at.timeout)
        outcome = outcome_from_json(answer["done"])
    except WorkerLost as lost:
        outcome = Crashed(str(lost))
    record_outcome(Path(at.evidence.folder), check, outcome)
    at.events.write("check", check=check, outcome=type(outcome).__name__, error=getattr(outcome, "error", ""))
    return outcome
