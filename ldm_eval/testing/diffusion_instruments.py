"""The mathematics of diffusion as instruments: samplers, orders, parameterisations and the bound beside closed forms.

Nothing here draws a random number: noise is chosen (impulses, fixed starts, the nodes of a quadrature), so what is
observed is rounding, or a mistake.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ldm_eval.api import NoiseSchedule, Prediction, SamplingSettings
from ldm_eval.diffusion.likelihood import ReverseVariance, VariationalBound, variational_bound
from ldm_eval.diffusion.samplers import SAMPLERS, Sampler, make_sampler
from ldm_eval.diffusion.schedules import SCHEDULES, DiscreteSchedule, make_schedule
from ldm_eval.store.certificate import CalibratedCase
from ldm_eval.testing.bounds import expected_bound, gaussian_errors
from ldm_eval.testing.convergence import fine_schedule, path_errors
from ldm_eval.testing.denoisers import GaussianDenoiser
from ldm_eval.testing.impulses import RepeatedNoise, chosen, read_off
from ldm_eval.testing.limits import LIMITS, Moments, sampled_moments

__all__ = ["INSTRUMENTS", "Comparison", "largest_difference_of_images", "predictions_of"]

LAW_TOLERANCE = 1e-10
ORDER_TOLERANCE = 0.1
WEAK_ORDER_TOLERANCE = 0.2
IMAGES_TOLERANCE = 1e-11
BOUND_TOLERANCE = 1e-12
CLOSED_FORM_TOLERANCE = 1e-11

_SAMPLED = Moments(0.4, 0.25)
_BOUNDED = Moments(0.3, 0.0625)
_ORDERS = {"ddim": 1, "ddim-karras": 1, "dpm-solver++-karras": 2, "heun": 2, "heun-karras": 2}
_NOISY = (("ddpm", 0.0), ("ddpm-beta", 0.0), ("ddim", 0.5), ("ddim-karras", 1.0))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row: ``observed`` is the largest error, found ``at`` a setting; it may be ``tolerance``."""

    case: str
    effect: str
    observed: float
    tolerance: float
    at: str = ""

    @property
    def problem(self) -> str:
        """What is wrong, or an empty string; a NaN is wrong."""
        if self.observed <= self.tolerance:
            return ""
        at = f" at {self.at}" if self.at else ""
        return f"{self.case}: off by {self.observed:.2g}{at}, where {self.tolerance:g} is allowed ({self.effect})"

    def row(self) -> CalibratedCase:
        """As the certificate keeps it, to three digits."""
        observed = float(f"{self.observed:.2e}") if math.isfinite(self.observed) else None
        return CalibratedCase(
            self.case, self.effect, f"off by at most {self.tolerance:g}", observed=observed, tolerance=self.tolerance
        )


def predictions_of(schedule: DiscreteSchedule) -> tuple[Prediction, ...]:
    """What a network may predict on ``schedule``; from pure noise epsilon tells nothing of the image."""
    return ("v", "x0") if schedule.ends_in_pure_noise else ("v", "x0", "epsilon")


def _worst(case: str, effect: str, tolerance: float, found: Mapping[str, float]) -> Comparison:
    at = max(found, key=lambda name: math.inf if math.isnan(found[name]) else found[name])
    return Comparison(case, effect, found[at], tolerance, at)


def samplers() -> Iterator[Comparison]:
    """The law of the samples of every unclipped sampler, for every schedule and prediction, against its recursion."""
    for name, schedule_name in itertools.product(sorted(LIMITS), sorted(SCHEDULES)):
        schedule = make_schedule(schedule_name, 1000)
        for prediction in predictions_of(schedule):
            found = {
                f"{settings.steps} steps, eta {settings.eta:g}": _law_error(settings, schedule, prediction)
                for settings in _settings(name)
            }
            effect = f"mean and variance of samples of N({_SAMPLED.mean:g}, {_SAMPLED.variance:g}), 1 to 150 steps"
            yield _worst(f"{name}, {schedule_name}, {prediction}", effect, LAW_TOLERANCE, found)


def _settings(name: str) -> Iterator[SamplingSettings]:
    for steps in (1, 2, 20, 150):
        yield SamplingSettings(name, steps)
    if name.startswith("ddim"):
        yield SamplingSettings(name, 20, eta=0.6)


def _law_error(settings: SamplingSettings, schedule: NoiseSchedule, prediction: Prediction) -> float:
    found = read_off(make_sampler(settings), schedule, _SAMPLED, prediction)
    wanted = sampled_moments(_SAMPLED, schedule, settings)
    scale = max(wanted.variance, 0.01)  # one step from pure noise ends in one point
    return _largest(found.mean - wanted.mean, (found.variance - wanted.variance) / scale)


def _largest(*errors: float) -> float:
    return float(np.max(np.abs(errors)))  # a NaN stays one


def orders() -> Iterator[Comparison]:
    """log2 of how much the error falls when the steps double from 160 to 320, against the order in the literature.

    ``dpm-solver++`` on uniform steps has no row: that spacing costs it its order.
    """
    for law, (name, order) in itertools.product(("gaussian", "mixture"), _ORDERS.items()):
        before, after = path_errors(_named(name), law, (160, 320))
        effect = f"order of convergence {order} to the probability flow of a {law}"
        observed = abs(math.log2(before / after) - order) if after > 0 else math.nan
        yield Comparison(f"{name}, {law}", effect, observed, ORDER_TOLERANCE)
    for name, eta in _NOISY:
        errors = [_spread_error(SamplingSettings(name, steps, eta=eta)) for steps in (160, 320)]
        observed = abs(math.log2(errors[0] / errors[1]) - 1) if errors[1] > 0 else math.nan
        effect = f"weak order 1 of the standard deviation, eta {eta:g}"
        yield Comparison(f"{name}, noisy", effect, observed, WEAK_ORDER_TOLERANCE)


def _spread_error(settings: SamplingSettings) -> float:
    """A sampler that draws noise has no path to compare, but its law has an exact error."""
    law = read_off(make_sampler(settings), fine_schedule(), _SAMPLED)
    return abs(math.sqrt(law.variance) - math.sqrt(_SAMPLED.variance))


def _named(name: str) -> Callable[[int], Sampler]:
    return lambda steps: make_sampler(SamplingSettings(name, steps))


def parameterisations() -> Iterator[Comparison]:
    """Images of every sampler, and the bound, from networks that predict x0 or epsilon, against those of v."""
    for schedule_name in sorted(SCHEDULES):
        schedule = make_schedule(schedule_name, 1000)
        bound = {kind: _gaussian_bound(schedule, kind).total for kind in predictions_of(schedule)}
        for prediction in predictions_of(schedule)[1:]:
            found = {name: largest_difference_of_images(name, schedule, prediction) for name in SAMPLERS}
            effect = f"images of {len(SAMPLERS)} samplers at 20 steps, as from a network that predicts v"
            yield _worst(f"images, {schedule_name}, {prediction}", effect, IMAGES_TOLERANCE, found)
            apart = float((bound[prediction] - bound["v"]).abs().max())
            effect = "bits per dimension, as from a network that predicts v"
            yield Comparison(f"bound, {schedule_name}, {prediction}", effect, apart, BOUND_TOLERANCE)


def largest_difference_of_images(
    sampler: str, schedule: NoiseSchedule, prediction: Prediction, dtype: torch.dtype = torch.float64
) -> float:
    """How far images of a network that makes ``prediction`` are from those of one that predicts v, at 20 steps."""
    images = []
    for kind in (prediction, "v"):
        exact = GaussianDenoiser(torch.full((1, 8, 8), 0.4), 0.25, schedule, kind)
        noise = _TypedNoise(dtype)
        images.append(make_sampler(SamplingSettings(sampler, 20)).sample(exact, schedule, chosen(noise), (1, 8, 8)))
    return float((images[0] - images[1]).abs().max())


class _TypedNoise:
    """Stands for SampleNoise in another type, to part rounding from mathematics."""

    device = torch.device("cpu")

    def __init__(self, dtype: torch.dtype) -> None:
        from ldm_eval.diffusion.noise import SampleNoise

        self._noise, self._dtype = SampleNoise([1, 2]), dtype

    def __len__(self) -> int:
        return len(self._noise)

    def draw(self, shape: tuple[int, int, int]) -> torch.Tensor:
        return self._noise.draw(shape).to(self._dtype)


def bound() -> Iterator[Comparison]:
    """Every term of the bound of a Gaussian, for every schedule, prediction and reverse variance.

    Each term is quadratic in x_0 and in its noise, so three nodes of Gauss and Hermite for each give its expectation
    exactly.
    """
    errors_of = {name: make_schedule(name, 200) for name in sorted(SCHEDULES)}
    variances: tuple[ReverseVariance, ...] = ("posterior", "beta")
    for (name, schedule), variance in itertools.product(errors_of.items(), variances):
        second = _BOUNDED.mean**2 + _BOUNDED.variance
        wanted = expected_bound(schedule, gaussian_errors(schedule, _BOUNDED), second, variance=variance)
        for prediction in predictions_of(schedule):
            found = _gaussian_bound(schedule, prediction, variance)
            terms = {
                "the decoder": _relative(found.decoder, np.array([wanted.decoder])),
                "a transition": _relative(found.transitions, wanted.transitions),
                "the prior": _relative(found.prior, np.array([wanted.prior])),
            }
            effect = f"terms of the bound of N({_BOUNDED.mean:g}, {_BOUNDED.variance:g}), T = 200"
            yield _worst(f"{name}, {variance} variance, {prediction}", effect, CLOSED_FORM_TOLERANCE, terms)


def _gaussian_bound(
    schedule: NoiseSchedule, prediction: Prediction, variance: ReverseVariance = "posterior"
) -> VariationalBound:
    """Each term's expectation over x_0 and noise, by quadrature, as a bound of one row."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    grid = torch.tensor(list(itertools.product(nodes, nodes)), dtype=torch.float64)
    share = torch.tensor(np.outer(weights, weights).flatten() / weights.sum() ** 2, dtype=torch.float64)
    x0 = (_BOUNDED.mean + math.sqrt(_BOUNDED.variance) * grid[:, 0]).reshape(-1, 1, 1, 1)
    mean = torch.full((1, 1, 1), _BOUNDED.mean, dtype=torch.float64)
    exact = GaussianDenoiser(mean, _BOUNDED.variance, schedule, prediction)
    noise = chosen(RepeatedNoise(grid[:, 1]))
    rows = variational_bound(exact, schedule, x0, noise, variance=variance, decoder="gaussian")
    return VariationalBound((share @ rows.decoder)[None], (share @ rows.transitions)[None], (share @ rows.prior)[None])


def _relative(found: torch.Tensor, wanted: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """Largest difference, relative where the term is larger than 1 bit."""
    return _largest(*((found.flatten().numpy() - wanted) / np.maximum(1.0, np.abs(wanted))))


INSTRUMENTS: Mapping[str, Callable[[], Iterator[Comparison]]] = {
    "diffusion/samplers": samplers,
    "diffusion/orders": orders,
    "diffusion/parameterisations": parameterisations,
    "diffusion/bound": bound,
}
"""By name; each gives its comparisons one by one."""
