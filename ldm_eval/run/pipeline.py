"""A run from beginning to end, on one readable page.

prepare: find the model, the data and the checks, and decide what runs   (nothing is written)
run:     generate -> embed -> label -> score -> measure -> results.json
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ldm_eval.api import CheckOutcome, Crashed, ImageSet, NotApplicable, Role
from ldm_eval.errors import LdmEvalError, StoreError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.attributes import label_sets
from ldm_eval.run.config import RunConfig
from ldm_eval.run.describe import describe_results, machine_of, protocol_of, run_identity
from ldm_eval.run.embed import Embedding, cache_dir, embed_prompts, embed_sets, mirrored
from ldm_eval.run.events import EventLog
from ldm_eval.run.evidence import EvidenceFolder, Space
from ldm_eval.run.folder import RunFolder, open_folder
from ldm_eval.run.generate import fill_store
from ldm_eval.run.jobs import WorkerSetup
from ldm_eval.run.measure import Failures, Measuring, compute_scores, run_checks
from ldm_eval.run.prepare import Prepared, prepare
from ldm_eval.run.progress import Progress
from ldm_eval.run.reconstruct import reconstruct
from ldm_eval.run.reopen import crashed_checks, lay_out_outcomes, only, refuse_other_images
from ldm_eval.run.supervisor import Supervisor
from ldm_eval.run.threads import torch_threads
from ldm_eval.run.worker import describe_error
from ldm_eval.store.atomic import canonical_json, read_json, write_json
from ldm_eval.store.attributes import kept_labels, save_labels
from ldm_eval.store.contributions import contribution_digests
from ldm_eval.store.features import FeatureStore
from ldm_eval.store.results import Results, load_results, save_results
from ldm_eval.store.samples import SampleStore
from ldm_eval.store.scores import score_digests

__all__ = ["FinishedRun", "run"]


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The folder of a run and its results."""

    folder: Path
    results: Results


def run(config: RunConfig, catalogue: Catalogue, progress: Progress, policy_digest: str | None) -> FinishedRun:
    """Do a run, or go on with one; a finished run is read, not repeated.

    Raises:
        LdmEvalError: naming what went wrong. What was written stays, and the same command goes on.
    """
    prepared = prepare(config, catalogue, progress)
    path = _output_folder(config, prepared.found.name)
    with open_folder(path, run_identity(prepared, catalogue), resume=config.resume) as folder:
        before = load_results(path) if folder.finished else None
        crashed = crashed_checks(before) if before else ()
        if before and not crashed:
            _tidy(folder)  # it may have been killed between its last two steps
            progress.note(f"{path} holds this run already, finished; nothing was sampled or measured again.")
            return FinishedRun(path, before)
        if before:
            progress.note(f"{path} holds this run, finished but for what crashed; asking again: {', '.join(crashed)}.")
            policy_digest = before.policy_digest
            lay_out_outcomes(before, folder)
        else:
            progress.note(f"Results go to {path}; after an interruption the same command with --output {path} goes on.")
        events = EventLog(folder.events)
        events.write("start", model=prepared.found.model.identity.sha256, samples=prepared.plan.samples)
        policy_digest = _recorded_policy(folder, policy_digest)
        with torch_threads(prepared.threads):
            measuring = only(prepared, crashed) if before else prepared
            done = _measure_all(measuring, folder, progress, events)
        contributions = contribution_digests(path) | score_digests(path)
        results = describe_results(prepared, done.sets, done.outcomes, catalogue, policy_digest, contributions)
        save_results(results, path)
        events.write("finished")
        _tidy(folder)
    return FinishedRun(path, results)


@dataclass(frozen=True, slots=True, eq=False)
class _Done:
    """What measuring gives: the sets of images by role, and how each check ended."""

    sets: Mapping[Role, ImageSet]
    outcomes: Mapping[str, CheckOutcome]


def _measure_all(prepared: Prepared, folder: RunFolder, progress: Progress, events: EventLog) -> _Done:
    config, plan = prepared.config, prepared.plan
    sets = dict(prepared.real.sets)
    if plan.samples:
        sets["samples"] = _generate(prepared, folder, progress)
    events.write("sampled", images=plan.samples)
    unreconstructed = _reconstruct(prepared, folder, sets, progress)
    refuse_other_images(folder, sets)
    spaces = _embed(prepared, sets, progress)
    events.write("embedded", sets=len(spaces[0].features) if spaces else 0, extractors=len(spaces))
    evidence = _lay_out(prepared, folder, sets, spaces)
    unlabelled = _label(prepared, sets, evidence)
    setup = WorkerSetup(config.disable_plugin, config.plugin, tuple(sys.path), prepared.threads)
    with Supervisor(setup, folder.path / "worker.log") as supervisor:
        at = Measuring(supervisor, evidence, config.check_timeout, events, progress)
        unscored = compute_scores(plan.scores, prepared.found, config.batch_size, at)
        failures = Failures(unreconstructed, unlabelled, unscored)
        return _Done(sets, run_checks(plan.checks, config.checks, failures, at))


def _generate(prepared: Prepared, folder: RunFolder, progress: Progress) -> ImageSet:
    store = SampleStore(folder.samples, prepared.requests, prepared.found.model.identity.sha256)
    fill_store(store, prepared.found.model, prepared.config.batch_size, progress)
    return store.images(channels=prepared.found.model.image_shape[0])


def _reconstruct(prepared: Prepared, folder: RunFolder, sets: dict[Role, ImageSet], progress: Progress) -> str:
    """Add the reconstructions to ``sets`` where a check reads them; returns why that failed, or nothing."""
    if not prepared.plan.reconstructions:
        return ""
    model, kept = prepared.found.model, folder.work / "reconstruction.npy"
    try:
        sets["reconstruction"] = reconstruct(model, sets["holdout"], prepared.config.batch_size, kept, progress)
    except StoreError:
        raise
    except Exception as error:  # a backend of a plugin may raise anything; the other checks go on
        return describe_error(error)
    return ""


def _embed(prepared: Prepared, sets: Mapping[Role, ImageSet], progress: Progress) -> tuple[Space, ...]:
    """The features of every extractor, and of the prompts in those that embed text."""
    store = FeatureStore(cache_dir(prepared.config) / "features")
    computed_on = canonical_json(machine_of(prepared), indent=None)
    spaces = []
    for number, extractor in enumerate(prepared.extractors):
        at = Embedding(extractor, computed_on, store, progress)
        roles = prepared.plan.embed_each if number else prepared.plan.embed
        flip = prepared.plan.mirrored_each if number else prepared.plan.mirrored
        flipped = {role: mirrored(sets[role]) for role in flip if role in sets and sets[role].has_pixels}
        features = embed_sets({role: sets[role] for role in roles if role in sets}, at)
        mirrors = embed_sets(flipped, at)
        prompted = _prompted(prepared, sets) if extractor.info.text else {}
        spaces.append(
            Space(
                extractor=asdict(extractor.info),
                features={digest: str(stored.values) for digest, stored in features.items()},
                logits={digest: str(stored.logits) for digest, stored in features.items() if stored.logits},
                text={role: str(stored.values) for role, stored in embed_prompts(prompted, at).items()}
                if prompted
                else {},
                mirrored={role: str(mirrors[images.digest].values) for role, images in flipped.items()},
            )
        )
    return tuple(spaces)


def _prompted(prepared: Prepared, sets: Mapping[Role, ImageSet]) -> dict[Role, ImageSet]:
    wanted = {role: sets[role] for role in prepared.plan.prompts if role in sets}
    return {role: images for role, images in wanted.items() if images.prompts is not None}


def _lay_out(
    prepared: Prepared, folder: RunFolder, sets: Mapping[Role, ImageSet], spaces: tuple[Space, ...]
) -> EvidenceFolder:
    statistics = prepared.config.reference_statistics
    evidence = EvidenceFolder(
        folder=str(folder.work.resolve()),
        seed=prepared.config.seed,
        protocol=protocol_of(prepared),
        roles={role: images.digest for role, images in sets.items()},
        spaces=spaces,
        private=str(folder.private.resolve()),
        contributions=str(folder.contributions.resolve()),
        statistics=str(Path(statistics).expanduser().resolve()) if statistics else "",
    )
    for images in sorted(sets.values(), key=lambda images: images.has_pixels):  # of equal digests, those with pixels
        evidence.save_images(images)
    return evidence


def _label(prepared: Prepared, sets: Mapping[Role, ImageSet], evidence: EvidenceFolder) -> CheckOutcome | None:
    """Label the images; returns how the checks that need labels end when that is not possible."""
    roles = tuple(role for role in prepared.plan.attribute_roles if role in sets)
    if not roles:
        return None
    try:
        features = evidence.spaces[0].features
        labels = label_sets(prepared.attributes, roles, sets, features, prepared.config.seed)
        for role, found in labels.items():
            evidence.save_attributes(role, found)
        if "samples" in labels:  # for `ldm-eval audit`, once the evidence is gone
            save_labels(kept_labels(Path(evidence.private), sets["samples"].digest), labels["samples"])
    except StoreError:
        raise
    except LdmEvalError as error:
        return NotApplicable(str(error))
    except Exception as error:  # a classifier of a plugin may raise anything; the other checks go on
        return Crashed(f"its attribute classifier failed: {describe_error(error)}")
    return None


def _output_folder(config: RunConfig, name: str) -> Path:
    if config.output:
        return Path(config.output).expanduser()
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".-") or "model"
    return Path("reports") / f"{safe}-{stamp}"


def _recorded_policy(folder: RunFolder, digest: str | None) -> str | None:
    """The policy's digest as recorded before sampling started; a run that goes on keeps the first one."""
    record = folder.work / "policy.json"
    if not record.is_file():
        write_json(record, {"sha256": digest})
    recorded: str | None = read_json(record)["sha256"]
    return recorded


def _tidy(folder: RunFolder) -> None:
    """Remove what only the checks needed: copies of the data above all."""
    shutil.rmtree(folder.work, ignore_errors=True)
    if folder.private.is_dir():
        for item in folder.private.iterdir():
            if item.is_dir() and not any(item.iterdir()):
                item.rmdir()
        if not any(folder.private.iterdir()):
            folder.private.rmdir()
    log = folder.path / "worker.log"
    if log.is_file() and log.stat().st_size == 0:
        log.unlink()
