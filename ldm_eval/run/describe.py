"""What a run says of itself: the identity that a continued run must share, the protocol, the results document."""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ldm_eval.api import ROLES, CheckOutcome, ImageSet, Role, Signature
from ldm_eval.diffusion.quantise import QUANTISATION
from ldm_eval.diffusion.randomness import SEED_RULE
from ldm_eval.hooks.catalogue import Catalogue, PluginRecord
from ldm_eval.run.canaries import without_flips
from ldm_eval.run.classes import classes_of
from ldm_eval.run.config import RunConfig
from ldm_eval.run.embed import brought_digests
from ldm_eval.run.plan import Plan
from ldm_eval.run.prepare import Prepared
from ldm_eval.run.saved_scores import taken_digests
from ldm_eval.store.atomic import canonical_json
from ldm_eval.store.results import CheckRecord, DataRecord, Results
from ldm_eval.store.samples import BLOCK_SIZE
from ldm_eval.store.statistics import read_statistics
from ldm_eval.version import installed_version

__all__ = ["code_of", "describe_results", "library_versions", "machine_of", "protocol_of", "run_identity"]


_NAMED_BY_CONTENT = ("data", "holdout", "reference", "reference_statistics", "scores")


def protocol_of(prepared: Prepared) -> Signature:
    """How the samples were made: what must be equal before numbers of two runs are compared."""
    settings, config = prepared.plan.settings, prepared.config
    return {
        "sampler": settings.sampler,
        "steps": settings.steps,
        "guidance": settings.guidance,
        "eta": settings.eta,
        "image_shape": "x".join(str(size) for size in prepared.found.model.image_shape),
        "quantisation": QUANTISATION,
        "dtype": "float32",
        "seed_rule": SEED_RULE if prepared.found.model.network_calls(settings) else "finished-images",
        "partial": config.limit > 0,
        **classes_of(config.classes, prepared.requests),
    }


def run_identity(prepared: Prepared, catalogue: Catalogue) -> dict[str, Any]:
    """What decides the numbers of a run; a folder is gone on with only when all of it is equal.

    Settings that are decided by what is there ("auto", "all cores") stand as what they were decided to be, and files
    by what is in them, so that the same images may be named by another path.
    """
    config, sets = prepared.config, prepared.real.sets
    resolved = (*_NAMED_BY_CONTENT, "model", "device", "threads", "extractor", "extractor_weights", "classes")
    return {
        "ldm_eval": installed_version(),
        "settings": {name: value for name, value in config.deciding().items() if name not in resolved},
        "machine": machine_of(prepared),
        "plugins": _code(prepared, catalogue),
        "model": prepared.found.model.identity.sha256,
        "data": {role: images.digest for role, images in sets.items()},
        "brought": {role: brought_digests(images) for role, images in sets.items() if not images.has_pixels},
        "groups": {role: _groups_digest(images) for role, images in sets.items() if images.groups},
        "extractors": [extractor.info.fingerprint for extractor in prepared.extractors],
        "reference_statistics": _statistics_digest(config),
        "checks": [item.spec.id for item in prepared.plan.checks],
        **({"scores": taken_digests(taken)} if (taken := prepared.plan.saved.taken.values()) else {}),
        **classes_of(config.classes, prepared.requests),
    }


def _code(prepared: Prepared, catalogue: Catalogue) -> dict[str, str]:
    """``code_of`` all that offer the checks, the backend or the classifier: outcomes of two states never meet."""
    owners = [catalogue.owner(item.spec) for item in prepared.plan.checks]
    owners.append(catalogue.owner(catalogue.backends[prepared.found.backend]))
    if prepared.attributes.classifier:
        owners.append(catalogue.owner(prepared.attributes.classifier))
    return code_of(owners)


def code_of(owners: Iterable[PluginRecord]) -> dict[str, str]:
    """Plugin -> version; a module that no package registers has none and is known by what is in its files."""
    return {owner.name: owner.version or _source_digest(owner.module) for owner in owners}


def _source_digest(module: str) -> str:
    """16 hex digits of the SHA-256 of a module's file, or of all Python files of a package."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        return ""
    file = Path(spec.origin)
    files = sorted(file.parent.rglob("*.py")) if spec.submodule_search_locations else [file]
    digest = hashlib.sha256()
    for one in files:
        digest.update(f"{one.relative_to(file.parent).as_posix()}\n".encode())
        digest.update(one.read_bytes())
    return digest.hexdigest()[:16]


def machine_of(prepared: Prepared) -> dict[str, Any]:
    """What decides how sums are rounded: device type, CPU threads, versions."""
    return {"device": prepared.found.device.partition(":")[0], "threads": prepared.threads, **library_versions()}


def _statistics_digest(config: RunConfig) -> str:
    if not config.reference_statistics:
        return ""
    path = Path(config.reference_statistics).expanduser()
    return "/".join(one.digest for one in read_statistics(path))


def _groups_digest(images: ImageSet) -> str:
    """SHA-256 of the group columns, which the digest of the images does not cover."""
    columns = {name: [str(value) for value in values] for name, values in images.groups.items()}
    return hashlib.sha256(canonical_json(columns, indent=None).encode()).hexdigest()


def describe_results(
    prepared: Prepared,
    sets: Mapping[Role, ImageSet],
    outcomes: Mapping[str, CheckOutcome],
    catalogue: Catalogue,
    policy_digest: str | None,
    contributions: Mapping[str, str],
) -> Results:
    """Put everything together into the document that leaves the run; ``contributions``: file -> SHA-256."""
    config, found, plan, attributes = prepared.config, prepared.found, prepared.plan, prepared.attributes
    shown = without_flips(found.model.identity)
    identity = {**asdict(shown), "name": found.name, "image_shape": list(found.model.image_shape)}
    return Results(
        tool={"name": "ldm-eval", "version": installed_version(), **library_versions()},
        model=identity,
        run={
            "suite": list(config.suite),
            "samples": plan.samples,
            "seed": config.seed,
            "settings": asdict(plan.settings),
            "batch_size": config.batch_size,
            "block_size": BLOCK_SIZE,
            "threads": prepared.threads,
            "device": found.device.partition(":")[0],
            "extractor": asdict(prepared.extractors[0].info) if prepared.extractors else None,
            "further_extractors": [asdict(extractor.info) for extractor in prepared.extractors[1:]],
            "attribute": attributes.attribute if plan.attribute_roles else None,
            "attribute_classifier": attributes.classifier.name
            if attributes.classifier and plan.attribute_roles
            else None,
            "limit": config.limit,
            "check_parameters": {check: dict(table) for check, table in config.checks.items()},
            **_taken(plan),
            **classes_of(config.classes, prepared.requests),
        },
        data=tuple(
            DataRecord(role, sets[role].name, sets[role].split, sets[role].digest, len(sets[role]), sets[role].licence)
            for role in ROLES
            if role in sets
        ),
        plugins=_plugins(plan, catalogue),
        checks=tuple(
            CheckRecord(item.spec.id, item.spec.title, item.spec.question, outcomes[item.spec.id])
            for item in plan.checks
            if item.available
        ),
        unavailable=tuple({"check": item.spec.id, "reason": item.reason} for item in plan.checks if not item.available),
        artifacts={**({"samples": sets["samples"].digest} if "samples" in sets else {}), **contributions},
        partial=config.limit > 0,
        policy_digest=policy_digest,
        reproduce=_command(config),
    )


def _taken(plan: Plan) -> dict[str, Any]:
    """Which scores were not computed in this run, and with which model they were."""
    names = sorted({score.spec.name for score in plan.scores if score.saved})
    return {"saved_scores": {"names": names, "model": plan.saved.model}} if names else {}


def library_versions() -> dict[str, str]:
    """Of what computes: they decide how sums are rounded."""
    return {name: version(name) for name in ("torch", "numpy", "scipy")}


def _plugins(plan: Plan, catalogue: Catalogue) -> tuple[dict[str, str], ...]:
    owners = {owner.name: owner for owner in (catalogue.owner(item.spec) for item in plan.checks)}
    return tuple(
        {"name": owner.name, "distribution": owner.distribution, "version": owner.version}
        for _, owner in sorted(owners.items())
    )


def _command(config: RunConfig) -> str:
    """The command that makes these results again: every deciding setting that is not its default."""
    default = RunConfig().deciding()
    words = ["ldm-eval", "run", "--model", config.model, "--suite", ",".join(config.suite)]
    for name, value in config.deciding().items():
        if name in ("model", "suite", "checks") or value == default[name]:
            continue
        words += [f"--{name.replace('_', '-')}", ",".join(value) if isinstance(value, tuple) else str(value)]
    command = shlex.join(words)
    return f"{command}  # with the [checks] settings recorded in results.json" if config.checks else command
