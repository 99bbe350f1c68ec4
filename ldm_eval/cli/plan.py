"""What ``run --dry-run`` shows: which checks run, which do not and why, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from ldm_eval.cli.progress import clock
from ldm_eval.cli.tables import plain_table

if TYPE_CHECKING:
    from ldm_eval.run.plan import Plan, PlannedCheck, PlannedScore

__all__ = ["plan_document", "plan_tables", "size"]


def plan_tables(plan: Plan) -> RenderableType:
    """The plan for people."""
    rows = [(Text(item.spec.id, "bold"), _answer(item), item.reason or item.spec.question) for item in plan.checks]
    return Group(
        plain_table("Checks", ("check", "runs", "question, or why not"), rows),
        plain_table("What it takes", ("step", "amount"), _amounts(plan)),
        Text("Nothing was sampled, measured or written. Run the same command without --dry-run to start.", "dim"),
    )


def _answer(item: PlannedCheck) -> Text:
    if item.runs:
        return Text("yes", "green")
    return Text("no", "yellow") if item.available else Text("unavailable", "yellow")


def _amounts(plan: Plan) -> list[tuple[str, str]]:
    settings = plan.settings
    how = f" ({settings.sampler}, {settings.steps} steps, guidance {settings.guidance:g})" if settings.sampler else ""
    scoring = sum(score.network_calls for score in plan.scores)
    rows = [
        ("samples", f"{plan.samples:,}{how}" if plan.samples else "none: no check that runs looks at any"),
        ("calls to the model", f"{plan.sampling_calls:,} to sample, {scoring:,} to score"),
        *_scoring(plan),
        ("features of", ", ".join([*plan.embed, *(f"mirrored {role}" for role in plan.mirrored)]) or "nothing"),
    ]
    if taken := [f"{score.spec.name} of {score.role}" for score in plan.scores if score.saved]:
        rows.append(("taken from --scores", ", ".join(taken)))
    if plan.reconstructions:
        rows.append(("reconstructions", f"{plan.reconstructions:,} holdout images through the autoencoder"))
    if plan.cost is not None:
        rows += [(f"time for {step}", f"about {clock(seconds)}") for step, seconds in plan.cost.parts.items()]
        rows += [
            ("time in all", f"about {clock(plan.cost.seconds)}, and the statistics of the checks"),
            ("disk", f"about {size(plan.cost.disk_bytes)}"),
        ]
    return rows


def _scoring(plan: Plan) -> list[tuple[str, str]]:
    """What each white-box score costs, over all the sets it is taken of."""
    by_name: dict[str, list[PlannedScore]] = {}
    for score in plan.scores:
        if not score.saved:
            by_name.setdefault(score.spec.name, []).append(score)
    return [
        (
            f"  score {name}",
            f"{sum(score.network_calls for score in scores):,}: {scores[0].spec.calls_per_image} for each of "
            + " and ".join(f"{score.images:,} {score.role}" for score in scores)
            + " images",
        )
        for name, scores in by_name.items()
    ]


def size(count: float) -> str:
    """Bytes for people: ``3.2 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON."""
    settings = plan.settings
    return {
        "checks": [{"check": item.spec.id, "runs": item.runs, "reason": item.reason} for item in plan.checks],
        "samples": plan.samples,
        "sampler": settings.sampler,
        "steps": settings.steps,
        "guidance": settings.guidance,
        "sampling_calls": plan.sampling_calls,
        "scoring_calls": sum(score.network_calls for score in plan.scores),
        "scores": [
            {
                "score": score.spec.name,
                "role": score.role,
                "images": score.images,
                "calls_per_image": 0 if score.saved else score.spec.calls_per_image,
                "saved": bool(score.saved),
            }
            for score in plan.scores
        ],
        "features": list(plan.embed),
        "mirrored": list(plan.mirrored),
        "reconstructions": plan.reconstructions,
        "seconds": plan.cost.seconds if plan.cost else None,
        "disk_bytes": plan.cost.disk_bytes if plan.cost else None,
    }
