"""Reported power against brute force, known answers, and simulations that share no code with the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr, ndtri

from ldm_eval.api import Interval, Measurement
from ldm_eval.errors import DataError
from ldm_eval.stats.designs import AucDesign, DistanceDesign, ShareDesign, WorstGapDesign
from ldm_eval.stats.equivalence import gap_bounds, tost_sample_size, worst_gap
from ldm_eval.stats.power import (
    Allowed,
    Design,
    DifferenceDesign,
    MeanDesign,
    ProportionDesign,
    power,
    smallest_n,
)
from ldm_eval.stats.proportions import clopper_pearson, newcombe
from ldm_eval.stats.roc import auc_interval, detectable_auc
from ldm_eval.stats.shares import BinaryErrors, lang_reiczigel

ERRORS = BinaryErrors(189, 200, 196, 200)


def _answer(interval: Interval | tuple[float, float], allowed: Allowed) -> str:
    """As ``gate.decide``, written once more."""
    low, high = (interval.low, interval.high) if isinstance(interval, Interval) else interval
    if allowed.lowest <= low and high <= allowed.highest:
        return "pass"
    return "fail" if low > allowed.highest or high < allowed.lowest else "inconclusive"


def _agrees(reported: float, answers: list[str], wanted: str) -> None:
    """The reported chance lies in the 99.9 % interval of the simulated one."""
    found = clopper_pearson(answers.count(wanted), len(answers), 0.999)
    assert found.low <= reported <= found.high, (reported, answers.count(wanted) / len(answers), found)


def _pmf(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize(
    "allowed",
    [Allowed(highest=0.05), Allowed(lowest=0.9), Allowed(0.2, 0.6), Allowed(highest=0.0), Allowed(highest=1.0)],
)
@pytest.mark.parametrize("truth", [0.0, 0.03, 0.4, 0.97, 1.0])
def test_chances_of_a_share_are_the_exact_sums_over_all_counts(allowed: Allowed, truth: float) -> None:
    found = ProportionDesign().chances(truth, [1, 7, 60, 200], allowed)
    for at, n in enumerate((1, 7, 60, 200)):
        answers = [_answer(clopper_pearson(k, n), allowed) for k in range(n + 1)]
        for name, values in (("pass", found.passes), ("fail", found.fails), ("inconclusive", found.inconclusive)):
            exact = sum(_pmf(k, n, truth) for k in range(n + 1) if answers[k] == name)
            assert values[at] == pytest.approx(exact, abs=1e-9)


def test_nothing_found_clears_one_percent_from_368_images_on() -> None:
    assert smallest_n(ProportionDesign(), 0.0, Allowed(highest=0.01), 0.999) == 368


@settings(max_examples=25, deadline=None)
@given(
    limit=st.floats(0.02, 0.5),
    ratio=st.sampled_from([0.0, 0.3, 0.6, 1.5, 2.0]),
    target=st.sampled_from([0.5, 0.8, 0.9, 0.95]),
)
def test_from_the_smallest_n_on_the_power_of_a_saw_tooth_stays(limit: float, ratio: float, target: float) -> None:
    design, allowed, truth = ProportionDesign(), Allowed(highest=limit), limit * ratio
    n = smallest_n(design, truth, allowed, target)
    assert n is not None
    after = power(design, truth, np.arange(n, 3 * n + 200), allowed)
    assert after.min() >= target
    if n > 2:
        assert power(design, truth, [n - 1], allowed)[0] < target


def test_a_first_good_n_is_not_enough_on_a_saw_tooth() -> None:
    design, allowed = ProportionDesign(), Allowed(highest=0.01)
    n = smallest_n(design, 0.005, allowed, 0.9)
    assert n is not None
    before = power(design, 0.005, np.arange(2, n), allowed)
    assert (before >= 0.9).any()
    assert before[-1] < 0.9


def test_chances_of_a_difference_are_the_sums_over_both_counts() -> None:
    design, n, m, truth = DifferenceDesign(0.03, 0.5), 80, 40, 0.09
    for allowed in (Allowed(highest=0.02), Allowed(highest=0.3), Allowed(lowest=-0.1), Allowed(-0.2, 0.2)):
        found = design.chances(truth, [n], allowed)
        exact = {"pass": 0.0, "fail": 0.0, "inconclusive": 0.0}
        for k in range(n + 1):
            for c in range(m + 1):
                weight = _pmf(k, n, 0.12) * _pmf(c, m, 0.03)
                exact[_answer(newcombe(k, n, c, m), allowed)] += weight
        assert found.passes[0] == pytest.approx(exact["pass"], abs=1e-6)
        assert found.fails[0] == pytest.approx(exact["fail"], abs=1e-6)


def test_the_interval_of_a_corrected_share_is_the_one_the_check_reports() -> None:
    labels = np.array([0.2, 0.5, 0.8])
    low, high = ShareDesign(ERRORS)._bounds(labels, np.array([500]), 0.95)
    for at, p in enumerate(labels):
        one = lang_reiczigel(500 * p, 500, ERRORS)
        assert (low[at], high[at]) == pytest.approx((one.low, one.high), abs=1e-12)


def test_the_n_of_an_equivalence_test_is_that_of_the_closed_form() -> None:
    perfect = BinaryErrors(1e9, 1e9, 1e9, 1e9)
    design = WorstGapDesign((0.5, 0.5), (1.0, -1.0), (perfect, perfect), 0.9)
    found = smallest_n(design, 0.0, Allowed(highest=0.05), 0.9)
    assert found == pytest.approx(tost_sample_size(0.5, 0.05, perfect, alpha=0.05, power=0.9), rel=0.02)


def test_no_n_is_enough_where_the_error_rates_are_known_too_poorly() -> None:
    poor = BinaryErrors(170, 200, 170, 200)
    design = WorstGapDesign((0.5, 0.5), (1.0, -1.0), (poor, poor), 0.9)
    assert smallest_n(design, 0.0, Allowed(highest=0.05)) is None


def test_the_auc_that_could_have_been_seen_is_seen_as_often_as_was_said() -> None:
    smallest = detectable_auc(128, 128, power=0.95)
    found = power(AucDesign(), smallest, [128], Allowed(highest=0.5))[0]
    assert found == pytest.approx(0.95, abs=0.02)  # there by the variance at 1/2


def test_a_mean_is_decided_by_the_textbook_formula() -> None:
    n = smallest_n(MeanDesign(1.0, 100), 10.0, Allowed(highest=10.5), 0.9)
    exact = 100 * ((float(ndtri(0.975)) + float(ndtri(0.9))) / 0.5) ** 2
    assert n == math.ceil(exact)


@pytest.mark.parametrize(
    "design",
    [
        ProportionDesign(),
        DifferenceDesign(0.01, 0.5),
        AucDesign(0.5, chosen=True, lost=0.025),
        ShareDesign(ERRORS),
        MeanDesign(0.1, 500),
    ],
    ids=lambda design: type(design).__name__,
)
def test_chances_are_probabilities_and_grow_with_n(design: Design) -> None:
    for truth, allowed in ((0.55, Allowed(highest=0.7)), (0.55, Allowed(highest=0.4)), (0.55, Allowed(0.3, 0.8))):
        found = design.chances(truth, [10, 100, 1000, 100_000], allowed)
        assert (found.passes + found.fails + found.inconclusive == pytest.approx(np.ones(4))) is True
        right = power(design, truth, [10, 100, 1000, 100_000], allowed)
        assert (np.diff(right) >= -1e-9).all()
        assert right[-1] > 0.97


def test_a_truth_on_the_limit_and_a_power_that_is_none() -> None:
    assert smallest_n(ProportionDesign(), 0.01, Allowed(highest=0.01)) is None
    with pytest.raises(DataError, match="found 1"):
        smallest_n(ProportionDesign(), 0.0, Allowed(highest=0.01), 1.0)
    with pytest.raises(DataError, match=r"Youden's J = 0\.20"):
        ShareDesign(BinaryErrors(60, 100, 60, 100))
    with pytest.raises(DataError, match="from above"):
        WorstGapDesign((0.5, 0.5), (1, -1), (ERRORS, ERRORS)).chances(0.1, [100], Allowed(lowest=0.2))


# Honest power: the reported chance against simulations that draw data and call the interval the check calls.


def _simulated(
    seed: int, runs: int, draw: Callable[[np.random.Generator], Interval | tuple[float, float]]
) -> list[Interval | tuple[float, float]]:
    generator = np.random.default_rng(seed)
    return [draw(generator) for _ in range(runs)]


@pytest.mark.parametrize(("truth", "n"), [(0.004, 800), (0.03, 800), (0.0, 300), (0.03, 2000)])
def test_reported_power_of_a_copy_rate_agrees_with_simulation(truth: float, n: int) -> None:
    allowed = Allowed(highest=0.015)
    intervals = _simulated(1, 1500, lambda g: clopper_pearson(int((g.random(n) < truth).sum()), n))
    answers = [_answer(one, allowed) for one in intervals]
    wanted = "pass" if allowed.holds(truth) else "fail"
    _agrees(float(power(ProportionDesign(), truth, [n], allowed)[0]), answers, wanted)


@pytest.mark.parametrize(("truth", "n"), [(0.01, 2000), (0.03, 400), (0.08, 400), (0.02, 20_000)])
def test_reported_power_of_an_excess_agrees_with_simulation(truth: float, n: int) -> None:
    allowed = Allowed(highest=0.025)

    def draw(generator: np.random.Generator) -> Interval:
        k, c = generator.binomial(n, 0.01 + truth), generator.binomial(n // 2, 0.01)
        return newcombe(int(k), n, int(c), n // 2)

    answers = [_answer(one, allowed) for one in _simulated(2, 1500, draw)]
    wanted = "pass" if allowed.holds(truth) else "fail"
    _agrees(float(power(DifferenceDesign(0.01, 0.5), truth, [n], allowed)[0]), answers, wanted)


@pytest.mark.parametrize("limit", [0.5, 0.65])
@pytest.mark.parametrize(("shift", "n"), [(0.0, 60), (0.3, 60), (0.3, 250), (0.8, 60), (2.5, 60)])
def test_reported_power_of_an_auc_agrees_with_simulation(shift: float, n: int, limit: float) -> None:
    from scipy.special import ndtr

    truth, allowed = float(ndtr(shift / math.sqrt(2))), Allowed(highest=limit)

    def draw(generator: np.random.Generator) -> Interval:
        return auc_interval(generator.normal(shift, 1, n), generator.normal(0, 1, n)).interval

    answers = [_answer(one, allowed) for one in _simulated(3, 800, draw)]
    found = AucDesign().chances(truth, [n], allowed)
    _agrees(float(found.passes[0]), answers, "pass")
    _agrees(float(found.fails[0]), answers, "fail")


def test_the_sign_that_the_other_half_chooses_wrongly_is_counted() -> None:
    n, allowed = 40, Allowed(highest=0.5)

    def draw(generator: np.random.Generator) -> Interval:
        ours, theirs = generator.normal(0.35, 1, 2 * n), generator.normal(0, 1, 2 * n)
        sign = 1 if auc_interval(ours[:n], theirs[:n]).value >= 0.5 else -1
        return auc_interval(sign * ours[n:], sign * theirs[n:]).interval

    answers = [_answer(one, allowed) for one in _simulated(4, 1500, draw)]
    truth = float(bdtr(0, 1, 0.5)) + 0.09773  # Phi(0.35/sqrt 2) = 0.59773
    _agrees(float(AucDesign(0.5, chosen=True).chances(truth, [2 * n], allowed).fails[0]), answers, "fail")


@pytest.mark.parametrize(("truth", "n"), [(0.0, 1500), (0.02, 3000), (0.1, 400), (0.1, 1500)])
@pytest.mark.parametrize("errors", [ERRORS, BinaryErrors(400, 400, 400, 400), BinaryErrors(340, 400, 360, 400)])
def test_reported_power_of_a_share_gap_agrees_with_simulation(truth: float, n: int, errors: BinaryErrors) -> None:
    se, sp, allowed = errors.sensitivity, errors.specificity, Allowed(highest=0.05)
    mirrored = BinaryErrors(errors.true_negatives, errors.negatives, errors.true_positives, errors.positives)
    design = WorstGapDesign((0.5, 0.5), (1.0, -1.0), (errors, mirrored))

    def draw(generator: np.random.Generator) -> tuple[float, float]:
        share = 0.5 + truth
        x = int(generator.binomial(n, share * se + (1 - share) * (1 - sp)))
        tp, tn = generator.binomial(int(errors.positives), se), generator.binomial(int(errors.negatives), sp)
        ours = BinaryErrors(int(tp), errors.positives, int(tn), errors.negatives)
        theirs = BinaryErrors(int(tn), errors.negatives, int(tp), errors.positives)
        bounds = [
            [
                gap_bounds(s.value, s.low, s.high, 0.5)
                for s in (lang_reiczigel(x, n, ours, level), lang_reiczigel(n - x, n, theirs, level))
            ]
            for level in (0.95, 1 - 0.025 / 2)
        ]
        worst = worst_gap(*bounds)
        return worst.low, worst.high

    answers = [_answer(one, allowed) for one in _simulated(5, 800, draw)]
    found = design.chances(truth, [n], allowed)
    _agrees(float(found.passes[0]), answers, "pass")
    _agrees(float(found.fails[0]), answers, "fail")


def _excess(seed: int, n: int, shift: float, dimension: int) -> Interval:
    from ldm_eval_quality.frechet_distance import FrechetDistanceCheck
    from ldm_eval_quality.phantoms import gaussian

    name = "quality/frechet_distance"
    found = FrechetDistanceCheck().run(gaussian(seed, check=name, dimension=dimension, n=n, m=2 * n, shift=shift))
    assert isinstance(found, list)
    return next(m.interval for m in found if isinstance(m, Measurement) and m.name == "frechet_distance_excess")


@pytest.mark.parametrize(("limit", "n"), [(0.35, 250), (0.2, 400), (0.3, 1000)])
def test_reported_power_of_a_frechet_excess_agrees_with_simulation_through_its_check(limit: float, n: int) -> None:
    truth, allowed = 8 * 0.18**2, Allowed(highest=limit)
    pilots = [_excess(10_000 + seed, 500, 0.18, 8) for seed in range(10)]
    error = float(np.mean([(one.high - one.low) / 2 for one in pilots])) / float(ndtri(0.975))
    answers = [_answer(_excess(seed, n, 0.18, 8), allowed) for seed in range(150)]
    wanted = "pass" if allowed.holds(truth) else "fail"
    _agrees(float(power(MeanDesign(error, 500), truth, [n], allowed)[0]), answers, wanted)


def test_a_squared_distance_needs_half_the_shift_for_four_times_the_images() -> None:
    design = DistanceDesign.of_pilots(at_zero=0.06, error=0.075, truth=0.16, n=600)
    chances = [design.chances(0.16 * f, [600 / f], Allowed(highest=0.0)).fails[0] for f in (4.0, 1.0, 0.25, 0.01)]
    assert chances == pytest.approx([chances[0]] * 4, abs=0.005)


@pytest.mark.parametrize(("shift", "n"), [(0.2, 150), (0.26, 150), (0.07, 1200), (0.1, 1200)])
def test_reported_power_of_a_frechet_alarm_agrees_with_simulation_through_its_check(shift: float, n: int) -> None:
    def error(at: float) -> float:
        pilots = [_excess(20_000 + seed, 600, at, 16) for seed in range(10)]
        return float(np.mean([(one.high - one.low) / 2 for one in pilots]) / ndtri(0.975))

    design = DistanceDesign.of_pilots(error(0.0), error(0.1), 16 * 0.1**2, 600)
    answers = [_answer(_excess(seed, n, shift, 16), Allowed(highest=0.0)) for seed in range(150)]
    _agrees(float(power(design, 16 * shift**2, [n], Allowed(highest=0.0))[0]), answers, "fail")


def test_fewer_images_than_a_curved_pilot_are_planned_with_a_faster_law() -> None:
    plain, curved = MeanDesign(1.0, 400), MeanDesign(1.0, 400, curved=True)
    allowed = Allowed(highest=12.0)
    assert power(curved, 8.0, [400, 1600], allowed) == pytest.approx(power(plain, 8.0, [400, 1600], allowed))
    assert power(curved, 8.0, [100], allowed)[0] < power(plain, 8.0, [100], allowed)[0]


def test_a_control_that_does_not_grow_is_counted_as_it_is() -> None:
    design, allowed = DifferenceDesign(0.01, 0.5, fixed=400), Allowed(highest=0.02)

    def draw(generator: np.random.Generator) -> Interval:
        return newcombe(int(generator.binomial(5000, 0.02)), 5000, int(generator.binomial(400, 0.01)), 400)

    answers = [_answer(one, allowed) for one in _simulated(7, 1500, draw)]
    _agrees(float(power(design, 0.01, [5000], allowed)[0]), answers, "pass")


@pytest.mark.parametrize(("limit", "n"), [(0.09, 1500), (0.1, 1000), (0.0, 800)])
def test_the_power_reported_for_three_groups_is_a_lower_bound_and_not_far_below(limit: float, n: int) -> None:
    from ldm_eval_fairness.phantoms import classified
    from ldm_eval_fairness.representation import Representation

    from ldm_eval.api import ConfusionCounts
    from ldm_eval.stats.class_shares import one_vs_rest
    from ldm_eval.testing.evidence import PhantomEvidence

    names, shares, targets = ("a", "b", "c"), np.array([0.55, 0.3, 0.15]), np.array([0.6, 0.27, 0.13])
    rates = np.array([[0.95, 0.04, 0.01, 0.0], [0.03, 0.95, 0.02, 0.0], [0.01, 0.03, 0.96, 0.0]])
    counts = tuple(tuple(round(400 * rate) for rate in row) for row in rates)
    gaps = shares - targets
    truth = float(np.abs(gaps).max()) if limit else 0.05
    expected = ConfusionCounts(names, counts, "expected")
    errors = tuple(one_vs_rest(expected, index, shares) for index in range(3))
    design = WorstGapDesign(tuple(targets.tolist()), tuple((gaps / truth).tolist()), errors)
    generator = np.random.default_rng(11)
    allowed = Allowed(highest=limit)

    def draw() -> str:
        labels = classified(
            generator, classes=names, shares=shares, confusion=rates, n=n, labelled=400, declared=targets
        )
        found = Representation().run(PhantomEvidence("fairness/representation", 0, attributes={"samples": labels}))
        assert isinstance(found, list)
        worst = next(m for m in found if isinstance(m, Measurement) and m.name == "worst_share_gap")
        return _answer(worst.interval, allowed)

    answers = [draw() for _ in range(100)]
    wanted = "pass" if allowed.holds(truth) else "fail"
    interval = clopper_pearson(answers.count(wanted), len(answers), 0.999)
    reported = float(power(design, truth, [n], allowed)[0])
    assert interval.low - 0.1 <= reported <= interval.high, (reported, answers.count(wanted) / len(answers))
