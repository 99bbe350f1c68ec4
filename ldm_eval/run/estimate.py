"""What a run will cost, from one timed batch of each network on this machine (``--dry-run``)."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from ldm_eval.api import FeatureExtractor, SamplingSettings
from ldm_eval.errors import LdmEvalError
from ldm_eval.run.plan import Cost, Plan
from ldm_eval.run.prepare import Prepared
from ldm_eval.run.reconstruct import seconds_per_image

__all__ = ["with_cost"]

_PROBE = 16
"""Images in a timed batch; the first batch, which warms up, is not timed."""


def with_cost(prepared: Prepared) -> Plan:
    """The plan with its estimated cost. Features that are cached already make the real run shorter."""
    parts: dict[str, float] = {}
    per_image, per_call = _time_sampling(prepared)
    plan = prepared.plan
    parts["sampling"] = per_image * plan.samples
    if plan.reconstructions:
        model, batch_size = prepared.found.model, prepared.config.batch_size
        parts["reconstructions"] = seconds_per_image(model, batch_size) * plan.reconstructions
    real = prepared.real.sets  # two roles of the same images are embedded once
    values = 0
    for number, extractor in enumerate(prepared.extractors):
        roles = plan.embed_each if number else plan.embed
        embedded = {
            real[role].digest if role in real else role: plan.sizes[role]
            for role in roles
            if role not in real or real[role].has_pixels
        }
        flip = plan.mirrored_each if number else plan.mirrored
        embedded |= {f"mirrored {role}": plan.sizes[role] for role in flip if role not in real or real[role].has_pixels}
        images = sum(embedded.values())
        parts["features"] = parts.get("features", 0.0) + _time_extractor(extractor, prepared) * images
        values += extractor.info.dimension * images
    if plan.scores:
        parts["scores"] = per_call * sum(score.network_calls for score in plan.scores)
    _, height, width = prepared.found.model.image_shape
    disk = plan.samples * 3 * height * width + 4 * values
    return replace(plan, cost=Cost(sum(parts.values()), disk, parts))


def _time_sampling(prepared: Prepared) -> tuple[float, float]:
    """Seconds per image and per network call, from a batch with as few steps as the sampler allows."""
    model, settings = prepared.found.model, prepared.plan.settings
    short = _shortened(prepared)
    count = min(_PROBE, prepared.config.batch_size, len(prepared.requests))
    requests = [replace(request, settings=short) for request in prepared.requests[:count]]
    model.generate(requests)
    begun = time.perf_counter()
    model.generate(requests)
    seconds = (time.perf_counter() - begun) / count
    timed, whole = model.network_calls(short), model.network_calls(settings)
    if timed == 0:
        return seconds, 0.0
    return seconds * whole / timed, seconds / timed


def _shortened(prepared: Prepared) -> SamplingSettings:
    settings = prepared.plan.settings
    try:
        return prepared.found.model.resolve(replace(settings, steps=min(2, settings.steps)))
    except LdmEvalError:  # a model with a fixed number of steps is timed as it is
        return settings


def _time_extractor(extractor: FeatureExtractor, prepared: Prepared) -> float:
    _, height, width = prepared.found.model.image_shape
    images = np.zeros((_PROBE, 3, height, width), dtype=np.uint8)
    extractor.extract(images)
    begun = time.perf_counter()
    extractor.extract(images)
    return (time.perf_counter() - begun) / _PROBE
