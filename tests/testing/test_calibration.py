"""Calibration: verdicts, what a broken check does to the others, what is chosen, and the same bytes every time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scipy.special import bdtr, bdtrc

from ldm_eval.api import Alarm, CheckSpec, PhantomCase, Phantoms
from ldm_eval.errors import ConfigError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.stats.proportions import clopper_pearson
from ldm_eval.store.certificate import Certificate, Instrument, load_certificate, save_certificate
from ldm_eval.testing.calibration import (
    DIFFUSION,
    Calibrator,
    calibrate,
    calibrate_check,
    calibrate_diffusion,
    estimated_seconds,
    instrument_names,
)
from ldm_eval.testing.conformance import CaseRun, CaseTally, rate_problems
from ldm_eval.testing.diffusion_instruments import INSTRUMENTS

PLUGIN = "trial_plugin"
HERE = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def catalogue() -> Iterator[Catalogue]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        found = Catalogue.discover(extra=(PLUGIN,))
        assert [plugin.error for plugin in found.plugins if plugin.error] == []
        yield found


@pytest.fixture
def good(catalogue: Catalogue) -> CheckSpec:
    return catalogue.checks["trial/good"]


def how(seeds: int = 10, jobs: int = 2, patience: float = 60.0, first_seed: int = 0) -> Calibrator:
    return Calibrator(seeds, first_seed, jobs, patience, extra=(PLUGIN,))


def verdicts(certificate: Certificate) -> dict[str, str]:
    return {one.name: one.verdict for one in certificate.instruments}


def test_a_good_check_is_calibrated_with_exact_rates(good: CheckSpec) -> None:
    instrument = calibrate_check(good, "trial", 60)
    assert (instrument.verdict, instrument.problems) == ("calibrated", ())
    catches, leaves_alone = instrument.cases
    assert (catches.case, leaves_alone.case) == ("catches", "leaves_alone")
    assert (catches.expected, leaves_alone.expected) == ("alarm in at least 95 %", "alarm in at most 5 %")
    assert catches.effect == "a shift of 0.5 standard deviations"
    assert (catches.truth, leaves_alone.truth) == (0.5, 0.0)
    for rate in (catches.alarms, catches.coverage, leaves_alone.alarms, leaves_alone.coverage):
        assert rate is not None
        exact = clopper_pearson(rate.count, rate.of)
        assert (rate.of, rate.low, rate.high, rate.level) == (60, exact.low, exact.high, 0.95)
    assert catches.alarms is not None
    assert catches.alarms.count >= 57
    assert leaves_alone.alarms is not None
    assert leaves_alone.alarms.count <= 5


def test_a_check_that_answers_whatever_it_sees_has_failed(catalogue: Catalogue) -> None:
    instrument = calibrate_check(catalogue.checks["trial/constant"], "trial", 20)
    assert instrument.verdict == "failed"
    told = "\n".join(instrument.problems)
    assert "leaves_alone: the alarm was raised in 20 of 20 seeds, where 5% is tolerated" in told
    assert "leaves_alone: 0 of 20 intervals hold the true value 0" in told
    assert "the alarm does not tell its phantoms apart" in told


def test_a_lax_promise_does_not_hide_an_alarm_that_tells_nothing_apart(good: CheckSpec) -> None:
    """An alarm that is a toss of a coin keeps a promise of 55 against 45 %."""
    lax = dataclasses.replace(
        good.phantoms,
        power=0.55,
        false_alarms=0.45,
        alarm=Alarm("value", ">", 0.0),
        catches=dataclasses.replace(good.phantoms.catches, parameters={"shift": 1e-9, "check": good.id}, truth=None),
    )
    instrument = calibrate_check(dataclasses.replace(good, phantoms=lax), "trial", 40)
    assert instrument.verdict == "failed"
    assert all("does not tell its phantoms apart" in problem for problem in instrument.problems)


def test_intervals_that_miss_the_truth_fail_an_instrument_whose_alarms_are_right(good: CheckSpec) -> None:
    catches = dataclasses.replace(good.phantoms.catches, truth=0.9)
    phantoms = dataclasses.replace(good.phantoms, catches=catches)
    instrument = calibrate_check(dataclasses.replace(good, phantoms=phantoms), "trial", 20)
    assert instrument.problems == ("catches: 0 of 20 intervals hold the true value 0.9, where 95% should",)


def test_a_check_without_phantoms_has_failed(good: CheckSpec) -> None:
    instrument = calibrate_check(dataclasses.replace(good, phantoms=None), "trial", 10)  # type: ignore[arg-type]
    assert instrument.verdict == "failed"
    assert "declares no phantoms" in instrument.problems[0]


def test_a_phantom_that_cannot_be_made_fails_its_check_and_shows_no_rate(good: CheckSpec) -> None:
    phantoms = dataclasses.replace(good.phantoms, catches=PhantomCase("nowhere:f", "a shift"))
    instrument = calibrate_check(dataclasses.replace(good, phantoms=phantoms), "trial", 10)
    assert instrument.verdict == "failed"
    assert "the phantom factory nowhere:f cannot be imported" in instrument.problems[0]
    assert instrument.cases[0].alarms is None


@pytest.mark.slow
def test_a_check_that_breaks_has_failed_and_the_rest_goes_on(catalogue: Catalogue) -> None:
    seen: list[Instrument] = []
    started = time.monotonic()
    certificate = calibrate(catalogue, instrument_names(catalogue, ["trial/*"]), how(20, 4, 8.0), seen.append)
    assert time.monotonic() - started < 60
    assert verdicts(certificate) == {
        "trial/constant": "failed",
        "trial/dies": "failed",
        "trial/elsewhere": "unavailable",
        "trial/exits": "failed",
        "trial/good": "calibrated",
        "trial/hangs": "failed",
        "trial/leaves": "failed",
        "trial/raises": "failed",
    }
    problems = {one.name: "\n".join(one.problems) for one in certificate.instruments}
    assert problems["trial/dies"] == "its process was killed by signal 11 (SIGSEGV)"
    assert problems["trial/elsewhere"] == "needs no_such_module: pip install 'ldm-eval[elsewhere]'"
    assert "SystemExit: enough (in 20 of 20 seeds)" in problems["trial/exits"]
    assert problems["trial/hangs"] == "it hung: no seed was finished within 8 s, and it was stopped"
    assert problems["trial/leaves"] == "its process exited with code 0 before it was done"
    assert "catches: ValueError: no answer to seed 1 (in 10 of 20 seeds)" in problems["trial/raises"]
    assert sorted(one.name for one in seen) == [one.name for one in certificate.instruments]
    assert {one.name for one in certificate.failed} == {
        name for name, v in verdicts(certificate).items() if v == "failed"
    }


@pytest.mark.slow
def test_the_same_calibration_gives_the_same_bytes_whatever_the_jobs(catalogue: Catalogue, tmp_path: Path) -> None:
    names = instrument_names(catalogue, ["trial/good", "quality/kernel_*", "diffusion/bound", "diffusion/orders"])
    assert names == ["quality/kernel_distance", "trial/good", "diffusion/orders", "diffusion/bound"]
    written = []
    for jobs in (1, 3):
        path = tmp_path / f"{jobs}.json"
        save_certificate(calibrate(catalogue, names, how(jobs=jobs)), path)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    certificate = load_certificate(tmp_path / "1.json")
    assert [one.name for one in certificate.instruments] == sorted(names)
    assert {plugin["name"] for plugin in certificate.plugins} == {"quality", PLUGIN}
    assert {"numpy", "scipy", "torch", "python"} == set(certificate.libraries)
    assert (certificate.seeds, certificate.first_seed) == (10, 0)
    other = calibrate(catalogue, ["trial/good"], how(first_seed=100))
    assert other.instrument("trial/good") != certificate.instrument("trial/good")
    assert certificate.instrument("diffusion/orders") == calibrate_diffusion("diffusion/orders")


def test_the_time_is_estimated_from_one_seed_of_each_phantom(catalogue: Catalogue) -> None:
    few, many = (estimated_seconds(catalogue, ["trial/good"], how(seeds)) for seeds in (10, 1_000_000))
    assert 0 < few < 60
    assert many > 50  # 2 x 1,000,000 draws of 100 numbers
    assert estimated_seconds(catalogue, ["trial/dies", "trial/elsewhere"], how(patience=7.0)) == 7.0


def test_patterns_choose_instruments(catalogue: Catalogue) -> None:
    everything = instrument_names(catalogue)
    assert everything[-4:] == list(DIFFUSION)
    assert set(everything) == {*catalogue.checks, *DIFFUSION}
    assert instrument_names(catalogue, ["diffusion/*"]) == list(DIFFUSION)
    assert instrument_names(catalogue, ["trial/g*", " trial/good "]) == ["trial/good"]
    with pytest.raises(ConfigError, match=r"--checks trial/god: .* Did you mean 'trial/good'\?"):
        instrument_names(catalogue, ["quality/*", "trial/god"])


def test_the_diffusion_instruments_are_those_that_exist() -> None:
    assert set(DIFFUSION) == set(INSTRUMENTS)


@pytest.mark.parametrize("name", DIFFUSION)
def test_the_mathematics_of_diffusion_is_calibrated(name: str) -> None:
    signs: list[None] = []
    instrument = calibrate_diffusion(name, lambda: signs.append(None))
    assert (instrument.name, instrument.verdict, instrument.problems) == (name, "calibrated", ())
    assert len(signs) == len(instrument.cases) >= 14
    for case in instrument.cases:
        assert case.observed is not None
        assert case.tolerance is not None
        assert 0 <= case.observed <= case.tolerance


def test_every_sampler_schedule_and_prediction_has_a_row() -> None:
    cases = [case.case for case in calibrate_diffusion("diffusion/samplers").cases]
    assert len(set(cases)) == len(cases) == 8 * (3 + 3 + 3 + 2)  # epsilon says nothing where there is no signal
    assert "heun-karras, zero-terminal-snr, x0" in cases
    assert "ddpm-beta, scaled-linear, epsilon" in cases


@pytest.mark.parametrize("change", [{"seeds": 9}, {"first_seed": -1}, {"jobs": 0}, {"patience": 0.0}])
def test_a_calibration_that_proves_nothing_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(how(), **change)


@pytest.mark.parametrize(
    ("seeds", "missed", "false", "noticed"), [(20, 14, 6, 0.58), (100, 86, 14, 0.81), (1000, 926, 74, 0.91)]
)
def test_the_counts_that_fail_are_those_of_the_page(seeds: int, missed: int, false: int, noticed: float) -> None:
    """docs/calibration.md: which counts reject 95 and 5 %, and which true rates are then noticed in nine of ten."""

    case = PhantomCase("a:b", "x", {}, 1.0)
    phantoms = Phantoms("x", Alarm("low", ">", 0.0), case, case, power=0.95, false_alarms=0.05)

    def told(alarms: int, false_alarms: int, covered: int) -> int:
        caught, left = (
            CaseRun(CaseTally("x", seeds, count, 0, 1.0, held), (0.95,) * seeds, ())
            for count, held in ((alarms, covered), (false_alarms, seeds))
        )
        return len(list(rate_problems(phantoms, caught, left)))

    assert told(missed + 1, false - 1, missed + 1) == 0
    assert told(missed, false - 1, missed + 1) == 1
    assert told(missed + 1, false, missed + 1) == 1
    assert told(missed + 1, false - 1, missed) == 1
    assert bdtr(missed, seeds, noticed) >= 0.9 > bdtr(missed, seeds, noticed + 0.01)
    assert bdtrc(false - 1, seeds, 1 - noticed) >= 0.9 > bdtrc(false - 1, seeds, 0.99 - noticed)
