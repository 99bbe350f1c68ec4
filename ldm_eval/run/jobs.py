"""What the run asks of its worker process, as plain data that crosses the pipe as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ldm_eval.api import Scalar
from ldm_eval.run.evidence import EvidenceFolder

__all__ = ["CheckJob", "ScoreJob", "WorkerSetup", "job_from_json", "job_to_json"]


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """Sent once when a worker starts: where its plugins come from and how many threads it may use."""

    disabled: tuple[str, ...]
    extra: tuple[str, ...]
    sys_path: tuple[str, ...]
    threads: int


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Run one check on the evidence folder."""

    check: str
    evidence: EvidenceFolder
    parameters: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Compute one white-box score of one role with the model, batch by batch."""

    name: str
    function: str
    role: str
    max_images: int
    parameters: Mapping[str, Scalar]
    evidence: EvidenceFolder
    model: str
    backend: str
    device: str
    batch_size: int
    prompts: bool = False
    shuffled: bool = False


def job_to_json(job: CheckJob | ScoreJob) -> dict[str, Any]:
    """A job as JSON."""
    return {"kind": "check" if isinstance(job, CheckJob) else "score", **asdict(job)}


def job_from_json(item: Mapping[str, Any]) -> CheckJob | ScoreJob:
    """The inverse of ``job_to_json``."""
    fields = {key: value for key, value in item.items() if key not in ("kind", "evidence")}
    evidence = EvidenceFolder.from_json(item["evidence"])
    return CheckJob(evidence=evidence, **fields) if item["kind"] == "check" else ScoreJob(evidence=evidence, **fields)
