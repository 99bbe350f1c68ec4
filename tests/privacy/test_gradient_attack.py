import ldm_eval_privacy
import numpy as np
import pytest
import torch
from ldm_eval_privacy.gradient_attack import GradientAttack
from ldm_eval_privacy.gradient_norms import GRADIENT_NORMS, gradient_norms
from ldm_eval_privacy.gradient_phantoms import exact_network, fitted_network
from ldm_eval_privacy.linear_network import LinearNetwork
from scipy.stats import binom

from ldm_eval.api import DiffusionParts, Figure, Invalid, Measurement, NotApplicable, Scores
from ldm_eval.diffusion.randomness import derived_seed
from ldm_eval.diffusion.schedules import linear_schedule
from ldm_eval.testing.denoisers import GaussianDenoiser

SHAPE, SCHEDULE = (1, 4, 4), linear_schedule(1000)
PARAMETERS = {"levels": "0.1 0.4"}
TIMESTEPS = (100, 400)


def images(n, seed=0):
    return 0.25 * torch.randn((n, *SHAPE), generator=torch.Generator().manual_seed(seed))


def linear_parts():
    network = LinearNetwork(0.0625 * torch.eye(16), SCHEDULE, TIMESTEPS)
    return DiffusionParts(SCHEDULE, network, SHAPE, torch.device("cpu"), weights=network)


def auc(findings):
    assert isinstance(findings, list), findings
    return next(one for one in findings if isinstance(one, Measurement))


def test_the_norms_of_a_linear_network_are_the_closed_form():
    """loss = mean |eps_hat - eps|^2 with eps_hat = (x_t - alpha W x_t)/sigma: gradient -2 alpha/sigma r x_t^T/n."""
    parts, x0 = linear_parts(), images(5)
    found = gradient_norms(parts, x0, 3, PARAMETERS)
    generator = torch.Generator("cpu").manual_seed(derived_seed(3, "privacy/gradient_norms"))
    noise = torch.randn((2, *SHAPE), generator=generator).flatten(1).to(torch.float64)
    expected = np.zeros((5, 2))
    for layer, t in enumerate(torch.tensor(TIMESTEPS)):
        alpha, sigma = float(SCHEDULE.alpha(t[None])), float(SCHEDULE.sigma(t[None]))
        x_t = alpha * x0.flatten(1).to(torch.float64) + sigma * noise[layer]
        guess = x_t @ parts.weights.layers[layer].T.to(torch.float64)
        rest = (x_t - alpha * guess) / sigma - noise[layer]
        expected[:, layer] = 2 * alpha / sigma * rest.norm(dim=1) * x_t.norm(dim=1) / (2 * 16)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_neither_the_batch_nor_the_mode_changes_a_norm_and_the_network_is_left_as_it_was():
    parts, x0 = linear_parts(), images(4)
    before = {name: one.clone() for name, one in parts.weights.named_parameters()}
    random_state = torch.random.get_rng_state()
    whole = gradient_norms(parts, x0, 0, PARAMETERS)
    with torch.inference_mode():
        single = np.concatenate([gradient_norms(parts, x0[row : row + 1], 0, PARAMETERS) for row in range(4)])
    np.testing.assert_array_equal(whole, single)
    assert torch.equal(random_state, torch.random.get_rng_state())
    for name, one in parts.weights.named_parameters():
        assert torch.equal(one, before[name])
        assert not one.requires_grad
        assert one.grad is None


def test_a_trained_network_of_ours_shows_its_weights():
    from ldm_eval_demo import ldm_eval_models
    from ldm_eval_native.backend import load_model

    parts = load_model(ldm_eval_models()[0].path(), "cpu").white_box()
    pictures = torch.rand((2, *parts.image_shape), generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        found = gradient_norms(parts, pictures, 0, {"levels": "0.2 0.6"})
    assert found.shape == (2, len(list(parts.weights.parameters())))
    assert np.isfinite(found).all()
    assert (found > 0).mean() > 0.9
    assert not any(one.requires_grad for one in parts.weights.parameters())


def test_a_model_without_weights_is_not_applicable():
    parts = DiffusionParts(SCHEDULE, GaussianDenoiser(torch.zeros(SHAPE), 0.0625, SCHEDULE), SHAPE, torch.device("cpu"))
    assert gradient_norms(parts, images(3), 0, PARAMETERS).shape == (3, 0)
    given = exact_network(0)
    for role, scores in given._scores[GRADIENT_NORMS.name].items():
        given._scores[GRADIENT_NORMS.name][role] = Scores(scores.index, scores.values[:, :0])
    outcome = GradientAttack().run(given)
    assert isinstance(outcome, NotApplicable)
    assert "does not show its weights" in outcome.reason


def test_a_fitted_network_is_caught():
    found = [GradientAttack().run(fitted_network(seed)) for seed in range(6)]
    measured = [auc(one) for one in found if not isinstance(one, Invalid)]
    assert len(measured) >= 4
    assert all(one.interval.low > 0.9 for one in measured)


def test_the_network_of_the_law_is_not_accused():
    seeds = 40
    found = [GradientAttack().run(exact_network(seed)) for seed in range(seeds)]
    measured = [auc(one).interval for one in found if not isinstance(one, Invalid)]
    assert sum(one.low > 0.5 for one in measured) <= binom.ppf(0.999, seeds, 0.03)
    assert sum(one.low <= 0.5 <= one.high for one in measured) >= binom.ppf(0.001, len(measured), 0.94)


def test_it_is_asked_for_by_name_only_and_says_how_it_was_learned():
    (spec,) = [one for one in ldm_eval_privacy.ldm_eval_checks() if one.id == GradientAttack.id]
    assert spec.opt_in
    findings = GradientAttack().run(exact_network(1))
    assert auc(findings).signature["score_levels"] == GRADIENT_NORMS.parameters["levels"]
    assert "10 tensors of weights" in auc(findings).note
    assert any(isinstance(one, Figure) for one in findings)


@pytest.mark.parametrize("name", ["ldm_eval_privacy.gradient_attack", "ldm_eval_privacy.gradient_norms"])
def test_describing_it_imports_no_torch(name):
    import subprocess
    import sys

    code = f"import sys, {name}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
