"""Known answers: how fast each sampler approaches the probability flow, whose limit is a formula.

In one dimension the flow keeps quantiles, so x_T goes to the x_0 with F_0(x_0) = F_T(x_T), for any mixture.
"""

import itertools

import pytest
import torch

from ldm_eval.api import SamplingSettings
from ldm_eval.diffusion.samplers import DPMSolverSampler, HeunSampler, Sampler, make_sampler
from ldm_eval.testing.convergence import LAWS, STEPS, fine_schedule, flow_limit, path_ends
from ldm_eval.testing.convergence import path_errors as errors

SECOND_ORDER = ("dpm-solver++-karras", "heun-karras", "heun")


def ratios(make, law):
    return [before / after for before, after in itertools.pairwise(errors(make, law))]


def named(name):
    return lambda steps: make_sampler(SamplingSettings(name, steps))


def assert_second_order(make, law):
    found = ratios(make, law)
    assert all(3.5 < ratio < 5.0 for ratio in found), found
    assert 3.7 < found[-1] < 4.4, found


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", ["ddim", "ddim-karras"])
def test_ddim_is_of_first_order(name, law):
    found = ratios(named(name), law)
    assert all(1.7 < ratio < 2.2 for ratio in found), found
    assert 1.85 < found[-1] < 2.1


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", SECOND_ORDER)
def test_dpm_solver_and_heun_are_of_second_order(name, law):
    assert_second_order(named(name), law)
    assert errors(named(name), law)[-1] < 3e-4


@pytest.mark.parametrize("law", LAWS)
def test_at_equal_network_calls_second_order_is_closer_than_ddim(law):
    calls = 81
    ddim, multistep, heun = (
        float((path_ends(named(n)(steps), law) - flow_limit(law)).abs().max())
        for n, steps in (("ddim", calls), ("dpm-solver++-karras", calls), ("heun-karras", (calls + 1) // 2))
    )
    assert HeunSampler(41).network_calls(fine_schedule()) == calls
    assert multistep < 0.2 * ddim
    assert heun < 0.8 * ddim


@pytest.mark.parametrize("law", LAWS)
def test_uniform_spacing_costs_dpm_solver_its_order_but_it_stays_closer_than_ddim(law):
    for multistep, ddim in zip(errors(named("dpm-solver++"), law), errors(named("ddim"), law), strict=True):
        assert multistep < ddim


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", ["ddim", "ddim-karras", *SECOND_ORDER, "dpm-solver++"])
def test_the_errors_are_those_of_every_prediction(name, law):
    ends = {kind: path_ends(named(name)(STEPS[0]), law, kind) for kind in ("epsilon", "x0", "v")}
    for other in ("x0", "v"):
        torch.testing.assert_close(ends[other], ends["epsilon"], rtol=0, atol=1e-10)


class WholeExtrapolation(Sampler):
    """DPM-Solver++(2M) with the factor 1/2 forgotten."""

    method = "whole"

    def step(self, x_t, guess, move, around):
        x_s = DPMSolverSampler(self.steps).step(x_t, guess, move, around)
        if move.last or around.previous is None:
            return x_s
        first_order = move.sigma_s / move.sigma_t * (x_t - move.alpha_t * guess.x0) + move.alpha_s * guess.x0
        return x_s + (x_s - first_order)


class HeunInX(Sampler):
    """Heun's rule with the slope taken in x instead of in x/alpha."""

    method = "heun-in-x"

    def step(self, x_t, guess, move, around):
        euler = move.alpha_s * guess.x0 + move.sigma_s * guess.epsilon
        if move.last:
            return euler
        return euler + 0.5 * (move.sigma_s - move.sigma_t) * (around.look(euler).epsilon - guess.epsilon)


@pytest.mark.parametrize("wrong", [WholeExtrapolation, HeunInX])
def test_wrong_second_order_rules_are_noticed(wrong):
    with pytest.raises(AssertionError):
        assert_second_order(lambda steps: wrong(steps, spacing="karras"), "gaussian")


def main():
    """Print the measured errors and orders: ``python tests/diffusion/test_orders.py``."""
    for law, name in itertools.product(LAWS, ("ddim", "ddim-karras", *SECOND_ORDER, "dpm-solver++")):
        found = errors(named(name), law)
        falls = " ".join(f"{before / after:.2f}" for before, after in itertools.pairwise(found))
        print(f"{law:9s} {name:20s} error at {STEPS} steps: {' '.join(f'{e:.1e}' for e in found)}; ratios {falls}")


if __name__ == "__main__":
    main()
