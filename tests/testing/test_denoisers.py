"""The closed-form denoisers against integrals, derivatives and each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ldm_eval.api import Denoiser, Prediction
from ldm_eval.diffusion.parameterisation import convert
from ldm_eval.diffusion.schedules import SCHEDULES, DiscreteSchedule, linear_schedule, make_schedule
from ldm_eval.errors import ModelError
from ldm_eval.testing.denoisers import GaussianDenoiser, MixtureDenoiser, OptimalDenoiser

SCHEDULE = linear_schedule(1000)
KINDS: tuple[Prediction, ...] = ("epsilon", "x0", "v")
TIMES = torch.tensor([0, 10, 200, 500, 999])


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _epsilon_by_integration(x_t: float, alpha: float, sigma: float, density: NDArray[np.float64]) -> float:
    """E[eps | x_t] = (x_t - alpha E[x_0 | x_t]) / sigma for a one-dimensional density on ``GRID``."""
    posterior = density * np.exp(-((x_t - alpha * GRID) ** 2) / (2 * sigma**2))
    mean = float((posterior * GRID).sum() / posterior.sum())
    return (x_t - alpha * mean) / sigma


GRID = np.linspace(-4, 4, 400_001)


def _normal(mean: float, variance: float) -> NDArray[np.float64]:
    return np.exp(-((GRID - mean) ** 2) / (2 * variance)) / math.sqrt(variance)


@pytest.mark.parametrize("t", TIMES.tolist())
@pytest.mark.parametrize("value", [-1.3, 0.0, 0.4])
def test_gaussian_matches_numerical_integration(t: int, value: float) -> None:
    denoiser = GaussianDenoiser(torch.full((1, 1, 1), 0.3), 0.2, SCHEDULE)
    at = torch.tensor([t])
    wanted = _epsilon_by_integration(value, float(SCHEDULE.alpha(at)), float(SCHEDULE.sigma(at)), _normal(0.3, 0.2))
    found = float(denoiser(torch.full((1, 1, 1, 1), value), at))
    assert found == pytest.approx(wanted, rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("t", TIMES.tolist())
@pytest.mark.parametrize("value", [-0.9, -0.1, 0.55])
def test_mixture_matches_numerical_integration(t: int, value: float) -> None:
    denoiser = MixtureDenoiser(
        torch.tensor([3.0, 1.0]),
        torch.tensor([-0.5, 0.6]).reshape(2, 1, 1, 1),
        torch.tensor([0.05, 0.01]).reshape(2, 1, 1, 1),
        SCHEDULE,
    )
    at = torch.tensor([t])
    density = 0.75 * _normal(-0.5, 0.05) + 0.25 * _normal(0.6, 0.01)
    wanted = _epsilon_by_integration(value, float(SCHEDULE.alpha(at)), float(SCHEDULE.sigma(at)), density)
    found = float(denoiser(torch.full((1, 1, 1, 1), value), at))
    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-5)


def _score_by_autograd(
    x_t: torch.Tensor, t: torch.Tensor, weights: torch.Tensor, means: torch.Tensor, covariance: torch.Tensor
) -> torch.Tensor:
    """-sigma grad log p_t(x_t) of a mixture of full Gaussians, by differentiating torch's own log density."""
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    rows = []
    for row, a, s in zip(x_t.double().flatten(1), alpha, sigma, strict=True):
        x = row.clone().requires_grad_(True)
        parts = [
            torch.distributions.MultivariateNormal(a * mean, a**2 * covariance + s**2 * torch.eye(len(mean)))
            for mean in means.double().flatten(1)
        ]
        log_density = torch.stack([part.log_prob(x) for part in parts])
        torch.logsumexp(log_density + weights.double().log(), dim=0).backward()
        assert x.grad is not None
        rows.append(-s * x.grad)
    return torch.stack(rows).reshape(x_t.shape)


def test_gaussian_with_full_covariance_is_the_gradient_of_the_log_density() -> None:
    root = torch.randn((12, 12), generator=_generator(1), dtype=torch.float64) * 0.2
    covariance = root @ root.T
    mean = torch.randn((3, 2, 2), generator=_generator(2)) * 0.3
    x_t = torch.randn((5, 3, 2, 2), generator=_generator(3))
    found = GaussianDenoiser.with_covariance(mean, covariance, SCHEDULE)(x_t, TIMES)
    wanted = _score_by_autograd(x_t, TIMES, torch.ones(1), mean[None], covariance)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


def test_mixture_is_the_gradient_of_the_log_density() -> None:
    weights = torch.tensor([0.2, 0.5, 0.3])
    means = torch.randn((3, 1, 2, 3), generator=_generator(4)) * 0.5
    x_t = torch.randn((5, 1, 2, 3), generator=_generator(5))
    found = MixtureDenoiser(weights, means, 0.1, SCHEDULE)(x_t, TIMES)
    wanted = _score_by_autograd(x_t, TIMES, weights, means, 0.1 * torch.eye(6, dtype=torch.float64))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


def test_diagonal_and_full_covariance_agree() -> None:
    variance = torch.rand((1, 2, 3), generator=_generator(6)) + 0.1
    mean = torch.randn((1, 2, 3), generator=_generator(7))
    x_t = torch.randn((5, 1, 2, 3), generator=_generator(8))
    diagonal = GaussianDenoiser(mean, variance, SCHEDULE)(x_t, TIMES)
    full = GaussianDenoiser.with_covariance(mean, variance.flatten().diag(), SCHEDULE)(x_t, TIMES)
    torch.testing.assert_close(diagonal, full, rtol=1e-6, atol=1e-6)


def test_mixture_of_one_is_the_gaussian() -> None:
    mean = torch.randn((2, 3, 3), generator=_generator(9))
    x_t = torch.randn((5, 2, 3, 3), generator=_generator(10))
    torch.testing.assert_close(
        MixtureDenoiser(torch.ones(1), mean[None], 0.3, SCHEDULE)(x_t, TIMES),
        GaussianDenoiser(mean, 0.3, SCHEDULE)(x_t, TIMES),
    )


def test_optimal_is_the_mixture_of_points() -> None:
    training = torch.rand((40, 1, 4, 4), generator=_generator(11)) * 2 - 1
    t = torch.tensor([1, 50, 200, 500, 900])
    noise = torch.randn((5, 1, 4, 4), generator=_generator(12))
    alpha, sigma = (values.float().reshape(-1, 1, 1, 1) for values in (SCHEDULE.alpha(t), SCHEDULE.sigma(t)))
    x_t = alpha * training[:5] + sigma * noise
    torch.testing.assert_close(
        OptimalDenoiser(training, SCHEDULE)(x_t, t),
        MixtureDenoiser(torch.ones(40), training, 0.0, SCHEDULE)(x_t, t),
        rtol=1e-5,
        atol=1e-5,
    )


def test_optimal_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    training = torch.rand((50, 1, 4, 4), generator=_generator(13)) * 2 - 1
    x_t = torch.randn((5, 1, 4, 4), generator=_generator(14))
    whole = OptimalDenoiser(training, SCHEDULE)(x_t, TIMES)
    monkeypatch.setattr("ldm_eval.testing.denoisers._ELEMENTS_AT_ONCE", 16 * 7)
    torch.testing.assert_close(OptimalDenoiser(training, SCHEDULE)(x_t, TIMES), whole, rtol=0, atol=1e-6)


def test_optimal_near_a_training_image_knows_its_noise() -> None:
    training = torch.rand((100, 1, 8, 8), generator=_generator(15)) * 2 - 1
    t = torch.full((100,), 100)
    noise = torch.randn(training.shape, generator=_generator(16))
    alpha, sigma = (values.float().reshape(-1, 1, 1, 1) for values in (SCHEDULE.alpha(t), SCHEDULE.sigma(t)))
    found = OptimalDenoiser(training, SCHEDULE)(alpha * training + sigma * noise, t)
    torch.testing.assert_close(found, noise, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_batch_size_does_not_change_the_answer(size: int) -> None:
    training = torch.rand((30, 1, 4, 4), generator=_generator(17)) * 2 - 1
    x_t = torch.randn((64, 1, 4, 4), generator=_generator(18))
    t = torch.randint(0, 1000, (64,), generator=_generator(19))
    denoisers: list[Denoiser] = [
        GaussianDenoiser(training[0], 0.2, SCHEDULE),
        MixtureDenoiser(torch.ones(30), training, 0.01, SCHEDULE),
        OptimalDenoiser(training, SCHEDULE),
    ]
    for denoiser in denoisers:
        parts = [denoiser(x, s) for x, s in zip(x_t.split(size), t.split(size), strict=True)]
        torch.testing.assert_close(torch.cat(parts), denoiser(x_t, t), rtol=0, atol=1e-6)


def _of_every_law(schedule: DiscreteSchedule, prediction: Prediction) -> dict[str, Denoiser]:
    means = torch.randn((3, 1, 2, 2), generator=_generator(20)) * 0.5
    root = torch.randn((4, 4), generator=_generator(21), dtype=torch.float64) * 0.3
    return {
        "gaussian": GaussianDenoiser(means[0], 0.2, schedule, prediction),
        "correlated": GaussianDenoiser.with_covariance(means[0], root @ root.T, schedule, prediction),
        "mixture": MixtureDenoiser(torch.tensor([1.0, 2.0, 3.0]), means, 0.1, schedule, prediction),
        "optimal": OptimalDenoiser(means, schedule, prediction),
    }


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("law", ["gaussian", "correlated", "mixture", "optimal"])
def test_every_prediction_is_the_conversion_of_every_other(name: str, law: str) -> None:
    schedule = make_schedule(name, 1000)
    t = torch.tensor([0, 1, 30, 400, 900, 998, 999])
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    x0, noise = torch.randn((2, 7, 1, 2, 2), generator=_generator(22), dtype=torch.float64)
    x_t = alpha.reshape(-1, 1, 1, 1) * x0 + sigma.reshape(-1, 1, 1, 1) * noise
    answers = {kind: _of_every_law(schedule, kind)[law](x_t, t) for kind in KINDS}
    assert all(answer.dtype == torch.float64 for answer in answers.values())
    for native, wanted in itertools.permutations(KINDS, 2):
        rows = alpha > 0 if native == "epsilon" else alpha >= 0
        found = convert(answers[native][rows], native, wanted, x_t[rows], alpha[rows], sigma[rows])
        # from epsilon the answer is divided by alpha, 5e-5 at the end of the cosine schedule
        torch.testing.assert_close(found, answers[wanted][rows], rtol=0, atol=1e-10)


@pytest.mark.parametrize("law", ["gaussian", "correlated", "mixture", "optimal"])
def test_where_there_is_no_signal_the_answer_is_the_mean_of_the_law(law: str) -> None:
    schedule = make_schedule("zero-terminal-snr", 1000)
    x_t = torch.randn((5, 1, 2, 2), generator=_generator(23), dtype=torch.float64)
    t = torch.full((5,), 999)
    x0, v, epsilon = (_of_every_law(schedule, kind)[law](x_t, t) for kind in ("x0", "v", "epsilon"))
    means = torch.randn((3, 1, 2, 2), generator=_generator(20)).double() * 0.5
    weights = torch.tensor({"mixture": [1.0, 2, 3], "optimal": [1.0, 1, 1]}.get(law, [1.0, 0, 0])).double()
    mean = torch.einsum("k,kchw->chw", weights / weights.sum(), means).expand_as(x_t)
    torch.testing.assert_close(x0, mean, rtol=0, atol=1e-7)
    torch.testing.assert_close(v, -x0, rtol=0, atol=1e-12)
    torch.testing.assert_close(epsilon, x_t, rtol=0, atol=1e-12)


def test_they_are_denoisers_that_predict_epsilon_unless_told_and_keep_the_type() -> None:
    denoiser = GaussianDenoiser(torch.zeros(1, 2, 2), 1.0, SCHEDULE)
    assert isinstance(denoiser, Denoiser)
    assert denoiser.prediction == "epsilon"
    assert denoiser.image_shape == (1, 2, 2)
    assert denoiser(torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64)).dtype == torch.float32


def test_impossible_laws_and_shapes_are_refused() -> None:
    mean = torch.zeros(1, 2, 2)
    with pytest.raises(ModelError, match="not negative"):
        GaussianDenoiser(mean, -0.1, SCHEDULE)
    with pytest.raises(ModelError, match="broadcast"):
        GaussianDenoiser(mean, torch.ones(3, 5), SCHEDULE)
    with pytest.raises(ModelError, match="negative eigenvalues"):
        GaussianDenoiser.with_covariance(mean, torch.diag(torch.tensor([1.0, 1, 1, -1])), SCHEDULE)
    with pytest.raises(ModelError, match="symmetric"):
        GaussianDenoiser.with_covariance(mean, torch.ones(3, 3), SCHEDULE)
    with pytest.raises(ModelError, match="weights"):
        MixtureDenoiser(torch.tensor([-1.0, 2.0]), torch.zeros(2, 1, 2, 2), 1.0, SCHEDULE)
    with pytest.raises(ModelError, match="one weight each"):
        MixtureDenoiser(torch.ones(3), torch.zeros(2, 1, 2, 2), 1.0, SCHEDULE)
    with pytest.raises(ModelError, match="at least one training image"):
        OptimalDenoiser(torch.zeros(0, 1, 2, 2), SCHEDULE)
    with pytest.raises(ModelError, match="Did you mean 'epsilon'"):
        GaussianDenoiser(mean, 1.0, SCHEDULE, "epsilom")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="shape"):
        GaussianDenoiser(mean, 1.0, SCHEDULE)(torch.zeros(2, 1, 3, 3), torch.zeros(2, dtype=torch.int64))
