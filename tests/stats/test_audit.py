"""The one-run audit: against the paper's figures, against sums over all outcomes, and against mechanisms it must not
overstate."""

from __future__ import annotations

from itertools import pairwise
from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from ldm_eval.errors import DataError
from ldm_eval.stats.audit import AuditDesign, audit_p_value, epsilon_bound, fixed_guesses, one_run_audit
from ldm_eval.stats.power import Allowed


def summed(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """The bound of arXiv:2305.08846, appendix D, from exact binomial coefficients, every term in turn."""
    q = exp(epsilon) / (1 + exp(epsilon))
    mass = [comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    at_least = [sum(mass[k:]) for k in range(r + 1)]
    steepest = max(((at_least[v - i] - at_least[v]) / i for i in range(1, v + 1)), default=0.0)
    return min(at_least[v] + 2 * m * delta * steepest, 1.0)


@pytest.mark.parametrize(
    ("m", "r", "v", "delta", "published"),
    [(1000, 100, 75, 1e-4, 0.673), (100_000, 1510, 1439, 1e-5, 2.675)],  # appendix D and section 7 (figure 11)
)
def test_the_figures_printed_in_the_paper_are_reproduced(
    m: int, r: int, v: int, delta: float, published: float
) -> None:
    assert epsilon_bound(m, r, v, delta) == pytest.approx(published, abs=1e-3)


@given(st.integers(1, 60), st.data(), st.floats(0, 8), st.sampled_from([0.0, 1e-6, 1e-3, 0.02]))
def test_the_p_value_is_the_sum_over_all_outcomes(r: int, data: st.DataObject, epsilon: float, delta: float) -> None:
    m, v = data.draw(st.integers(r, 3 * r)), data.draw(st.integers(0, r))
    assert audit_p_value(m, r, v, epsilon, delta) == pytest.approx(summed(m, r, v, epsilon, delta), rel=1e-9, abs=1e-14)


@given(st.integers(6, 300), st.data(), st.sampled_from([0.0, 1e-5, 1e-3]))
def test_the_bound_is_the_last_epsilon_that_is_refuted_and_there_is_no_other_beyond(
    r: int, data: st.DataObject, delta: float
) -> None:
    v = data.draw(st.integers(0, r))
    bound = epsilon_bound(r, r, v, delta)
    grid = np.linspace(0, 20, 201)
    refuted = np.array([audit_p_value(r, r, v, float(epsilon), delta) < 0.05 for epsilon in grid])
    assert bound == 0.0 if not refuted[0] else refuted[grid <= bound - 1e-9].all()
    assert not refuted[grid > bound + 1e-9].any()


def test_more_right_guesses_show_more_and_a_larger_delta_less() -> None:
    bounds = [epsilon_bound(400, 120, v, 1e-5) for v in range(121)]
    assert all(before <= after for before, after in pairwise(bounds))
    assert bounds[60] == 0.0 < bounds[80] < bounds[120]
    deltas = [epsilon_bound(400, 120, 100, delta) for delta in (0.0, 1e-5, 1e-3, 1e-2, 0.1)]
    assert deltas == sorted(deltas, reverse=True)
    assert deltas[-1] == 0.0 < deltas[0]


def test_all_right_gives_the_ceiling_in_closed_form() -> None:
    """With delta 0 the bound solves q^r = 0.05."""
    for r in (6, 20, 100, 1000):
        q = 0.05 ** (1 / r)
        assert epsilon_bound(2 * r, r, r, 0.0) == pytest.approx(log(q / (1 - q)), abs=1e-9)
    assert epsilon_bound(4, 4, 4, 0.0) == 0.0  # one half to the fourth is more than 0.05


def test_guesses_are_the_top_and_the_bottom_and_the_middle_abstains() -> None:
    scores = np.array([9.0, 8.0, 5.0, 4.0, 1.0, 0.0])
    included = np.array([True, False, False, True, False, False])
    found = one_run_audit(scores, included, 4, 0.0)
    assert (found.canaries, found.guesses, found.correct) == (6, 4, 3)
    assert one_run_audit(-scores, included, 4, 0.0).correct == 1


@pytest.mark.parametrize(("m", "share", "expected"), [(200, 0.3, 60), (201, 0.3, 60), (7, 0.3, 2), (10, 1.0, 10)])
def test_the_number_of_guesses_is_even_and_depends_on_the_number_of_canaries_alone(
    m: int, share: float, expected: int
) -> None:
    assert fixed_guesses(m, share) == expected


def randomised_response(m: int, epsilon: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Each coin is told truly with probability e^eps / (1 + e^eps): exactly epsilon-private, and no mechanism more."""
    included = rng.random(m) < 0.5
    told = included == (rng.random(m) < 1 / (1 + exp(-epsilon)))
    return told + 0.5 * rng.random(m), included


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0, 4.0])
@pytest.mark.parametrize("m", [60, 400])
def test_a_mechanism_of_known_epsilon_is_overstated_in_at_most_5_percent_of_runs(epsilon: float, m: int) -> None:
    seeds, guesses = 400, fixed_guesses(m, 0.3)
    over = 0
    for seed in range(seeds):
        scores, included = randomised_response(m, epsilon, np.random.default_rng([seed, m]))
        over += one_run_audit(scores, included, guesses, 1e-5).epsilon > epsilon
    assert over <= binom.ppf(0.999, seeds, 0.05)


def test_on_pure_noise_epsilon_is_zero_at_the_nominal_rate() -> None:
    """The exact rate is known: P[Bin(60, 1/2) >= 37] = 0.046."""
    seeds = 2000
    positive = 0
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 1])
        positive += one_run_audit(rng.normal(size=200), rng.random(200) < 0.5, 60, 0.0).epsilon > 0
    rate = float(binom.sf(36, 60, 0.5))
    assert 0.03 < rate < 0.05
    assert binom.ppf(0.0005, seeds, rate) <= positive <= binom.ppf(0.9995, seeds, rate)


def test_choosing_the_threshold_on_the_same_canaries_accuses_noise_in_35_to_50_percent_of_runs() -> None:
    """The trap: the best of all pairs of thresholds, each judged as if it had been fixed beforehand."""
    seeds, m, chosen, fixed = 400, 100, 0, 0
    ins, outs = np.meshgrid(np.arange(m // 2 + 1), np.arange(m // 2 + 1))
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 2])
        included = (rng.random(m) < 0.5)[np.argsort(rng.normal(size=m))]
        right = np.append(0, np.cumsum(included[::-1]))[ins] + np.append(0, np.cumsum(~included))[outs]
        best: dict[int, int] = {}
        for guesses, correct in zip((ins + outs).ravel().tolist(), right.ravel().tolist(), strict=True):
            best[guesses] = max(best.get(guesses, 0), correct)
        chosen += any(epsilon_bound(m, r, v, 0.0) > 0 for r, v in best.items() if r)
        fixed += one_run_audit(np.arange(m), included, 30, 0.0).epsilon > 0
    assert 0.35 < chosen / seeds < 0.5
    assert fixed <= binom.ppf(0.999, seeds, 0.05)


def test_planned_power_is_the_share_of_runs_that_see_it() -> None:
    design, runs, m, epsilon = AuditDesign(0.3, 1e-5), 600, 100, 0.8
    planned = float(design.chances(epsilon, [m], Allowed(highest=0.0)).fails[0])
    seen = 0
    for seed in range(runs):
        scores, included = randomised_response(m, epsilon, np.random.default_rng([seed, 3]))
        seen += one_run_audit(scores, included, fixed_guesses(m, 0.3), 1e-5).epsilon > 0
    assert binom.ppf(0.0005, runs, planned) <= seen <= binom.ppf(0.9995, runs, planned)
    assert float(design.chances(epsilon, [m], Allowed(highest=0.0)).passes[0]) == 0.0
    assert design.chances(9.0, [20], Allowed(highest=5.0)).fails[0] == 0.0  # above the ceiling


@pytest.mark.parametrize(
    "call",
    [
        lambda: audit_p_value(10, 8, 9, 1.0, 0.0),
        lambda: audit_p_value(10, 12, 9, 1.0, 0.0),
        lambda: audit_p_value(10, 8, 5, -1.0, 0.0),
        lambda: audit_p_value(10, 8, 5, float("nan"), 0.0),
        lambda: audit_p_value(10, 8, 5, 1.0, 1.0),
        lambda: epsilon_bound(10, 8, 5, 0.0, 1.0),
        lambda: one_run_audit([1.0, 2.0, float("nan"), 0.0], [True] * 4, 2, 0.0),
        lambda: one_run_audit([1.0, 2.0, 3.0], [True] * 4, 2, 0.0),
        lambda: one_run_audit([1.0, 2.0, 3.0, 4.0], [True] * 4, 3, 0.0),
        lambda: one_run_audit([1.0, 2.0, 3.0, 4.0], [True] * 4, 6, 0.0),
    ],
)
def test_numbers_that_cannot_be_are_refused(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError):
        call()
