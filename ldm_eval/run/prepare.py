"""What is found and decided before a run: the model, the data, the checks, the classes. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from ldm_eval.api import FeatureExtractor, FinishedModel, ImageSet, Role, SampleRequest, SamplingSettings
from ldm_eval.errors import ConfigError, did_you_mean
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.attributes import AttributePlan, plan_attributes
from ldm_eval.run.classes import choose_labels
from ldm_eval.run.config import RunConfig
from ldm_eval.run.data import RealImages, gather_real_images
from ldm_eval.run.embed import load_extractors, refuse_unknown_features
from ldm_eval.run.generate import make_requests
from ldm_eval.run.models import FoundModel, load_model, pick_device
from ldm_eval.run.plan import DEFAULT_SAMPLES, Lacking, Plan, make_plan, select_checks
from ldm_eval.run.progress import Progress
from ldm_eval.run.saved_scores import find_saved_scores
from ldm_eval.run.threads import thread_count
from ldm_eval.store.statistics import read_statistics

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Everything found and decided before a run; nothing has been written yet."""

    config: RunConfig
    found: FoundModel
    real: RealImages
    extractors: tuple[FeatureExtractor, ...]
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
    for role, reason in real.absent.items():
        if role != "canaries":  # few models have any; the checks that need them say so
            progress.note(reason)
    samples = _sample_count(config, found.model.capacity)
    requests = _requests(config, found, settings, samples, real)
    attributes = plan_attributes(config, real.sets, catalogue)
    lacking = Lacking(
        attributes.reason, _no_text(config, catalogue), _no_statistics(config), _prompted(requests, real.sets)
    )
    saved = find_saved_scores(config.scores, checks, real.sets, config.seed, found.model)
    for reason in saved.refused.values():
        progress.note(reason)
    plan = make_plan(checks, found.model, settings, samples, real.sets, real.absent, lacking, saved)
    return Prepared(
        config,
        found,
        real,
        _extractors(config, plan, real, device, catalogue),
        attributes,
        plan,
        requests,
        thread_count(config.threads),
    )


def _extractors(
    config: RunConfig, plan: Plan, real: RealImages, device: str, catalogue: Catalogue
) -> tuple[FeatureExtractor, ...]:
    if not plan.embed:
        return ()
    extractors = load_extractors(config, device, catalogue)
    refuse_unknown_features({role: real.sets[role] for role in plan.embed if role in real.sets}, extractors[:1])
    refuse_unknown_features({role: real.sets[role] for role in plan.embed_each if role in real.sets}, extractors)
    return extractors


def _no_text(config: RunConfig, catalogue: Catalogue) -> str:
    named = [catalogue.extractors[name] for name in config.extractor if name in catalogue.extractors]
    if any(spec.text for spec in named):
        return ""
    able = [name for name, spec in catalogue.extractors.items() if spec.text]
    return f"needs an extractor that embeds text; add one to --extractor ({', '.join(able) or 'none is installed'})"


def _no_statistics(config: RunConfig) -> str:
    """Raises DataError when the file cannot be used, before anything is sampled."""
    if not config.reference_statistics:
        return "needs the mean and covariance of real features: name a file with --reference-statistics"
    read_statistics(Path(config.reference_statistics).expanduser())
    return ""


def _prompted(requests: tuple[SampleRequest, ...], sets: Mapping[Role, ImageSet]) -> frozenset[Role]:
    roles: set[Role] = {role for role, images in sets.items() if images.prompts is not None}
    if requests and all(request.prompt for request in requests):
        roles.add("samples")
    return frozenset(roles)


def _requests(
    config: RunConfig, found: FoundModel, settings: SamplingSettings, samples: int, real: RealImages
) -> tuple[SampleRequest, ...]:
    training = real.sets.get("training")
    known = training.labels if training is not None else None
    labels = choose_labels(config.classes, samples, config.seed, found.model.identity, settings, known)
    requests = make_requests(samples, config.seed, settings, labels)
    return _described(requests, found.model.images) if isinstance(found.model, FinishedModel) else requests


def _described(requests: tuple[SampleRequest, ...], images: ImageSet) -> tuple[SampleRequest, ...]:
    """The requests for finished images, with the class and the prompt that each of them has."""

    def described(request: SampleRequest) -> SampleRequest:
        row = request.sample_id
        label = request.label if images.labels is None else int(images.labels[row])
        prompt = None if images.prompts is None else str(images.prompts[row]) or None
        return replace(request, label=label, prompt=prompt)

    return tuple(map(described, requests))


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
