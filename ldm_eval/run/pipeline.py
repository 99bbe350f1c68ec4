"""A run from beginning to end, on one readable page.

prepare: find the model, the data and the checks, and decide what runs   (nothing is written)
run:     generate -> embed -> label -> score -> measure -> results.json
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from ldm_eval.api import (
    CheckOutcome,
    Crashed,
    FeatureExtractor,
    ImageSet,
    NotApplicable,
    Role,
    SampleRequest,
    SamplingSettings,
)
from ldm_eval.errors import ConfigError, LdmEvalError, StoreError, did_you_mean
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig
from ldm_eval.run.data import RealImages, gather_real_images
from ldm_eval.run.describe import describe_results, machine_of, protocol_of, run_identity
from ldm_eval.run.embed import (
    AttributePlan,
    cache_dir,
    embed_sets,
    label_sets,
    load_extractor,
    plan_attributes,
)
from ldm_eval.run.events import EventLog
from ldm_eval.run.evidence import EvidenceFolder
from ldm_eval.run.folder import RunFolder, open_folder
from ldm_eval.run.generate import fill_store, make_requests
from ldm_eval.run.jobs import WorkerSetup
from ldm_eval.run.measure import Measuring, compute_scores, run_checks
from ldm_eval.run.models import FoundModel, load_model, pick_device
from ldm_eval.run.plan import DEFAULT_SAMPLES, Plan, make_plan, select_checks
from ldm_eval.run.progress import Progress
from ldm_eval.run.supervisor import Supervisor
from ldm_eval.run.worker import describe_error
from ldm_eval.store.atomic import canonical_json, read_json, write_json
from ldm_eval.store.features import FeatureStore, StoredFeatures
from ldm_eval.store.results import Results, load_results, save_results
from ldm_eval.store.samples import SampleStore

__all__ = ["FinishedRun", "Prepared", "prepare", "run"]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Everything found and decided before a run; nothing has been written yet."""

    config: RunConfig
    found: FoundModel
    real: RealImages
    extractor: FeatureExtractor | None
    attributes: AttributePlan
    plan: Plan
    requests: tuple[SampleRequest, ...]
    threads: int


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The folder of a run and its results."""

    folder: Path
    results: Results


def prepare(config: RunConfig, catalogue: Catalogue, progress: Progress) -> Prepared:
    """Find the model, the data and the checks, and decide what runs.

    Raises:
        LdmEvalError: for anything that would make the run fail later and can be known now.
    """
    for plugin in catalogue.plugins:
        if plugin.error:
            progress.note(f"The plugin {plugin.name} cannot be used, what it offers is left out: {plugin.error}")
    checks = select_checks(config.suite, catalogue)
    _refuse_unknown_parameters(config, catalogue)
    device = pick_device(config.device)
    found = load_model(config.model, config.backend, device, catalogue)
    settings = found.model.resolve(SamplingSettings(config.sampler, config.steps, config.guidance))
    real = gather_real_images(config, found.model.identity.training, catalogue)
    for reason in real.absent.values():
        progress.note(reason)
    samples = _sample_count(config, found.model.capacity)
    attributes = plan_attributes(config, real.sets, catalogue)
    plan = make_plan(checks, found.model, settings, samples, real.sets, real.absent, attributes.reason)
    extractor = load_extractor(config, device, catalogue) if plan.embed else None
    requests = make_requests(plan.samples, config.seed, settings)
    return Prepared(config, found, real, extractor, attributes, plan, requests, _threads(config))


def run(config: RunConfig, catalogue: Catalogue, progress: Progress, policy_digest: str | None) -> FinishedRun:
    """Do a run, or go on with one; a finished run is read, not repeated.

    Raises:
        LdmEvalError: naming what went wrong. What was written stays, and the same command goes on.
    """
    prepared = prepare(config, catalogue, progress)
    path = _output_folder(config, prepared.found.name)
    machine = machine_of(prepared.found, prepared.threads)
    identity = run_identity(
        config, prepared.found, prepared.real, prepared.extractor, prepared.plan, catalogue, machine
    )
    with open_folder(path, identity, resume=config.resume) as folder:
        if folder.finished:
            _tidy(folder)  # it may have been killed between its last two steps
            progress.note(f"{path} holds this run already, finished; nothing was sampled or measured again.")
            return FinishedRun(path, load_results(path))
        progress.note(f"Results go to {path}; after an interruption the same command with --output {path} goes on.")
        events = EventLog(folder.events)
        events.write("start", model=prepared.found.model.identity.sha256, samples=prepared.plan.samples)
        policy_digest = _recorded_policy(folder, policy_digest)
        with _torch_threads(prepared.threads):
            results = _measure_all(prepared, folder, catalogue, progress, events, policy_digest)
        save_results(results, path)
        events.write("finished")
        _tidy(folder)
    return FinishedRun(path, results)


def _measure_all(
    prepared: Prepared,
    folder: RunFolder,
    catalogue: Catalogue,
    progress: Progress,
    events: EventLog,
    policy_digest: str | None,
) -> Results:
    sets = dict(prepared.real.sets)
    sets["samples"] = _generate(prepared, folder, progress)
    events.write("sampled", images=len(sets["samples"]))
    features = _embed(prepared, sets, progress)
    events.write("embedded", sets=len(features))
    evidence = _lay_out(prepared, folder, sets, features)
    failed_attributes = _label(prepared, sets, features, evidence)
    log = folder.path / "worker.log"
    setup = WorkerSetup(prepared.config.disable_plugin, prepared.config.plugin, tuple(sys.path), prepared.threads)
    with Supervisor(setup, log) as supervisor:
        at = Measuring(supervisor, evidence, prepared.config.check_timeout, events, progress)
        failed_scores = compute_scores(prepared.plan.scores, prepared.found, prepared.config.batch_size, at)
        outcomes = run_checks(prepared.plan.checks, prepared.config.checks, failed_scores, failed_attributes, at)
    return describe_results(
        prepared.config,
        prepared.found,
        prepared.plan,
        sets,
        prepared.extractor.info if prepared.extractor else None,
        prepared.attributes,
        outcomes,
        catalogue,
        policy_digest,
        prepared.threads,
    )


def _generate(prepared: Prepared, folder: RunFolder, progress: Progress) -> ImageSet:
    store = SampleStore(folder.samples, prepared.requests, prepared.found.model.identity.sha256)
    fill_store(store, prepared.found.model, prepared.config.batch_size, progress)
    return store.images(channels=prepared.found.model.image_shape[0])


def _embed(prepared: Prepared, sets: Mapping[Role, ImageSet], progress: Progress) -> dict[str, StoredFeatures]:
    if prepared.extractor is None:
        return {}
    store = FeatureStore(cache_dir(prepared.config) / "features")
    wanted = {role: sets[role] for role in prepared.plan.embed}
    computed_on = canonical_json(machine_of(prepared.found, prepared.threads), indent=None)
    return embed_sets(wanted, prepared.extractor, computed_on, store, progress)


def _lay_out(
    prepared: Prepared,
    folder: RunFolder,
    sets: Mapping[Role, ImageSet],
    features: Mapping[str, StoredFeatures],
) -> EvidenceFolder:
    evidence = EvidenceFolder(
        folder=str(folder.work.resolve()),
        seed=prepared.config.seed,
        protocol=protocol_of(prepared.found, prepared.plan.settings, sets["samples"], prepared.config),
        roles={role: images.digest for role, images in sets.items()},
        features={digest: str(stored.values) for digest, stored in features.items()},
        logits={digest: str(stored.logits) for digest, stored in features.items() if stored.logits},
        extractor=asdict(prepared.extractor.info) if prepared.extractor else None,
        private=str(folder.private.resolve()),
    )
    for images in sets.values():
        evidence.save_images(images)
    return evidence


def _label(
    prepared: Prepared,
    sets: Mapping[Role, ImageSet],
    features: Mapping[str, StoredFeatures],
    evidence: EvidenceFolder,
) -> CheckOutcome | None:
    """Label the images; returns how the checks that need labels end when that is not possible."""
    if not prepared.plan.attribute_roles:
        return None
    try:
        labels = label_sets(prepared.attributes, prepared.plan.attribute_roles, sets, features, prepared.config.seed)
        for role, found in labels.items():
            evidence.save_attributes(role, found)
    except StoreError:
        raise
    except LdmEvalError as error:
        return NotApplicable(str(error))
    except Exception as error:  # a classifier of a plugin may raise anything; the other checks go on
        return Crashed(f"its attribute classifier failed: {describe_error(error)}")
    return None


def _sample_count(config: RunConfig, capacity: int | None) -> int:
    if capacity is not None and config.samples > capacity:
        raise ConfigError(
            f"--samples {config.samples}: the model is {capacity} finished images; ask for at most {capacity}."
        )
    wanted = config.samples or (capacity if capacity is not None else DEFAULT_SAMPLES)
    return min(wanted, config.limit) if config.limit else wanted


def _refuse_unknown_parameters(config: RunConfig, catalogue: Catalogue) -> None:
    for check, table in config.checks.items():
        if check not in catalogue.checks:
            hint = did_you_mean(check, catalogue.checks)
            raise ConfigError(f'[checks."{check}"]: there is no such check.{hint} `ldm-eval list checks` shows them.')
        known = catalogue.checks[check].settings
        for name in table:
            if not any(fnmatchcase(name, pattern) for pattern in known):
                takes = f"it takes {', '.join(known)}" if known else "it takes none"
                raise ConfigError(f'[checks."{check}"] {name}: no such setting; {takes}.{did_you_mean(name, known)}')


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


def _threads(config: RunConfig) -> int:
    if config.threads:
        return config.threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
