"""What is found and decided before a run: the model, the data, the checks, the classes. Nothing is written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ldm_eval.api import FeatureExtractor, SampleRequest, SamplingSettings
from ldm_eval.errors import ConfigError, did_you_mean
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.classes import choose_labels
from ldm_eval.run.config import RunConfig
from ldm_eval.run.data import RealImages, gather_real_images
from ldm_eval.run.embed import AttributePlan, load_extractor, plan_attributes
from ldm_eval.run.generate import make_requests
from ldm_eval.run.models import FoundModel, load_model, pick_device
from ldm_eval.run.plan import DEFAULT_SAMPLES, Plan, make_plan, select_checks
from ldm_eval.run.progress import Progress

__all__ = ["Prepared", "prepare"]


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
    requests = _requests(config, found, settings, samples, real)
    attributes = plan_attributes(config, real.sets, catalogue)
    plan = make_plan(checks, found.model, settings, samples, real.sets, real.absent, attributes.reason)
    extractor = load_extractor(config, device, catalogue) if plan.embed else None
    return Prepared(config, found, real, extractor, attributes, plan, requests, _threads(config))


def _requests(
    config: RunConfig, found: FoundModel, settings: SamplingSettings, samples: int, real: RealImages
) -> tuple[SampleRequest, ...]:
    training = real.sets.get("training")
    known = training.labels if training is not None else None
    labels = choose_labels(config.classes, samples, config.seed, found.model.identity, settings, known)
    return make_requests(samples, config.seed, settings, labels)


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


def _threads(config: RunConfig) -> int:
    if config.threads:
        return config.threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
