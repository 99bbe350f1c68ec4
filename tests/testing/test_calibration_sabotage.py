"""Every installed check, spoilt: calibration fails and names it. So does the diffusion mathematics."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from ldm_eval.api import Check, CheckSpec, Evidence, Interval, Measurement, Phantoms
from ldm_eval.diffusion import likelihood, samplers
from ldm_eval.hooks.catalogue import Catalogue, unavailable_reason
from ldm_eval.testing import conformance, denoisers
from ldm_eval.testing.calibration import calibrate_check, calibrate_diffusion
from ldm_eval.testing.limits import LIMITS

CHECKS = Catalogue.discover().checks
SEEDS = 20


@pytest.fixture(scope="module")
def evidence_once() -> Any:
    """What a phantom is for a seed is made once, and what the honest check says of it."""
    with pytest.MonkeyPatch.context() as patch:
        made = conformance.phantom_evidence
        known: dict[tuple[str, str, str, int], Evidence] = {}

        def remembered(spec: CheckSpec, case: Any, seed: int) -> Evidence:
            key = (spec.id, case.factory, repr(sorted(case.parameters.items())), seed)
            if key not in known:
                known[key] = made(spec, case, seed)
            return known[key]

        patch.setattr(conformance, "phantom_evidence", remembered)
        yield


@functools.cache
def honest_report(check: str, evidence: Evidence) -> Any:
    return CHECKS[check].load().run(evidence)


def looked_at(phantoms: Phantoms, report: Any) -> Measurement:
    return next(
        item
        for item in report
        if isinstance(item, Measurement) and (item.name, item.group) == (phantoms.measurement, phantoms.group)
    )


def typical(spec: CheckSpec, name: str) -> Measurement:
    """An honest measurement of this phantom, of the first seed that gives one."""
    for seed in range(SEEDS):
        report = honest_report(spec.id, conformance.phantom_evidence(spec, getattr(spec.phantoms, name), seed))
        if isinstance(report, Sequence):
            return looked_at(spec.phantoms, report)
    raise AssertionError(f"{spec.id} never measures its phantom")


def moved_to(measurement: Measurement, other: Measurement) -> Measurement:
    return dataclasses.replace(measurement, value=other.value, interval=other.interval)


def always_alarmed(spec: CheckSpec, evidence: Evidence, found: Measurement) -> Measurement:
    return moved_to(found, typical(spec, "catches"))


def always_quiet(spec: CheckSpec, evidence: Evidence, found: Measurement) -> Measurement:
    return moved_to(found, typical(spec, "leaves_alone"))


def noise(spec: CheckSpec, evidence: Evidence, found: Measurement) -> Measurement:
    """As likely what it says of one phantom as what it says of the other: noise of just the right size."""
    coin = evidence.rng(f"sabotage {found.value!r}").random() < 0.5
    return moved_to(found, typical(spec, "catches" if coin else "leaves_alone"))


def wild_noise(spec: CheckSpec, evidence: Evidence, found: Measurement) -> Measurement:
    threshold = spec.phantoms.alarm.threshold
    reach = abs(typical(spec, "catches").value - threshold)
    value = threshold + reach * float(evidence.rng(f"sabotage {found.value!r}").normal())
    interval = Interval(value - 0.1 * reach, value + 0.1 * reach, 0.95, "wishful")
    return dataclasses.replace(found, value=value, interval=interval)


def flipped(spec: CheckSpec, evidence: Evidence, found: Measurement) -> Measurement:
    """Better is worse: mirrored at the threshold of its alarm."""
    twice, interval = 2 * spec.phantoms.alarm.threshold, found.interval
    mirrored = dataclasses.replace(interval, low=twice - interval.high, high=twice - interval.low)
    return dataclasses.replace(found, value=twice - found.value, interval=mirrored)


def false_direction(spec: CheckSpec, evidence: Evidence, found: Measurement) -> Measurement:
    """Every number is right, and the word beside it says that worse is better."""
    other: dict[str, Any] = {"lower": "higher", "higher": "lower"}
    return dataclasses.replace(found, direction=other.get(found.direction, found.direction))


def spoilt(spec: CheckSpec, spoil: Callable[[CheckSpec, Evidence, Measurement], Measurement]) -> CheckSpec:
    class Spoilt:
        def run(self, evidence: Evidence) -> Any:
            report = honest_report(spec.id, evidence)
            if not isinstance(report, Sequence):
                return report
            target = looked_at(spec.phantoms, report)
            return [spoil(spec, evidence, item) if item is target else item for item in report]

    def load() -> Check:
        return Spoilt()  # type: ignore[return-value]

    return dataclasses.replace(spec, load=load)


@pytest.mark.slow
@pytest.mark.usefixtures("evidence_once")
@pytest.mark.parametrize("check", sorted(CHECKS))
def test_every_spoilt_check_fails_and_is_named(check: str) -> None:
    spec = CHECKS[check]
    reason = unavailable_reason(spec.requires, spec.extra)
    if reason:
        pytest.skip(reason)
    untouched = calibrate_check(spoilt(spec, lambda spec, evidence, found: found), "here", SEEDS)
    assert untouched.verdict == "calibrated", untouched.problems
    spoils = [always_alarmed, always_quiet, noise, wild_noise, flipped]
    if typical(spec, "catches").direction in ("lower", "higher"):
        spoils.append(false_direction)
    for spoil in spoils:
        instrument = calibrate_check(spoilt(spec, spoil), "here", SEEDS)
        assert (instrument.name, instrument.verdict) == (check, "failed"), spoil.__name__
        told = [problem for problem in instrument.problems if "the alarm" in problem]
        assert told, (spoil.__name__, instrument.problems)  # it is the alarm that gives it away


SAMPLER_CLASSES = {
    "ddim": samplers.DDIMSampler,
    "ddim-karras": samplers.DDIMSampler,
    "ddpm": samplers.DDPMSampler,
    "ddpm-beta": samplers.DDPMSampler,
    "dpm-solver++": samplers.DPMSolverSampler,
    "dpm-solver++-karras": samplers.DPMSolverSampler,
    "heun": samplers.HeunSampler,
    "heun-karras": samplers.HeunSampler,
}


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_a_spoilt_sampler_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = SAMPLER_CLASSES[name]
    honest = kind.step
    monkeypatch.setattr(kind, "step", lambda self, *given: honest(self, *given) * 1.000001)
    instrument = calibrate_diffusion("diffusion/samplers")
    assert instrument.verdict == "failed"
    assert any(problem.startswith(f"{name}, linear, epsilon: off by") for problem in instrument.problems)
    assert "at 150 steps" in " ".join(instrument.problems)


def test_a_second_order_sampler_that_lost_its_order_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers.HeunSampler, "step", samplers.DDIMSampler(10).step)
    instrument = calibrate_diffusion("diffusion/orders")
    assert instrument.verdict == "failed"
    assert {problem.partition(",")[0] for problem in instrument.problems} == {"heun", "heun-karras"}


def test_a_spoilt_parameterisation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = denoisers.GaussianDenoiser.__call__

    def spoilt_call(self: Any, x_t: torch.Tensor, t: torch.Tensor, labels: Any = None) -> torch.Tensor:
        found = honest(self, x_t, t, labels)
        return -found if self.prediction == "epsilon" else found

    monkeypatch.setattr(denoisers._ClosedForm, "__call__", spoilt_call)
    instrument = calibrate_diffusion("diffusion/parameterisations")
    assert instrument.verdict == "failed"
    assert all("epsilon: off by" in problem for problem in instrument.problems)
    assert {problem.partition(",")[0] for problem in instrument.problems} == {"images", "bound"}


@pytest.mark.parametrize(
    ("term", "spoil"),
    [
        ("the decoder", {"decoder_variance": lambda honest: lambda schedule: 1.01 * honest(schedule)}),
        ("the prior", {"prior_term": lambda honest: lambda schedule, x0: -honest(schedule, x0)}),
        ("a transition", {"transition_term": lambda honest: lambda *given, **named: 1.001 * honest(*given, **named)}),
    ],
)
def test_a_spoilt_term_of_the_bound_is_named(term: str, spoil: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, change in spoil.items():
        monkeypatch.setattr(likelihood, name, change(getattr(likelihood, name)))
    instrument = calibrate_diffusion("diffusion/bound")
    assert instrument.verdict == "failed"
    assert all(f"at {term}" in problem for problem in instrument.problems)


def test_what_is_not_finite_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = likelihood.prior_term
    monkeypatch.setattr(likelihood, "prior_term", lambda *given: honest(*given) * float("nan"))
    instrument = calibrate_diffusion("diffusion/bound")
    assert instrument.verdict == "failed"
    assert all(case.observed is None for case in instrument.cases)
