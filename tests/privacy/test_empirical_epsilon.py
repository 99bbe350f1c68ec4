from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_privacy.denoising_loss import DENOISING_LOSS, score
from ldm_eval_privacy.empirical_epsilon import CANARY_LOSS, INCLUDED, LEFT_OUT, EmpiricalEpsilon
from ldm_eval_privacy.epsilon_phantoms import randomised_response, shifted_losses
from scipy.special import ndtr
from scipy.stats import binom

from ldm_eval.api import CANARY, CheckSpec, DiffusionParts, Invalid, Measurement, NotApplicable, Scores, Table
from ldm_eval.diffusion.quantise import to_float
from ldm_eval.diffusion.schedules import linear_schedule
from ldm_eval.errors import ConfigError
from ldm_eval.run.canaries import flip_coins
from ldm_eval.stats.audit import epsilon_bound
from ldm_eval.testing.denoisers import GaussianDenoiser, OptimalDenoiser
from ldm_eval.testing.evidence import PhantomEvidence, image_set


def run(evidence):
    return EmpiricalEpsilon().run(evidence)


def named(findings):
    assert isinstance(findings, list), findings
    return {one.name: one for one in findings if isinstance(one, Measurement)}


def evidence(said, losses, seed=0, parameters=None, index=None):
    pixels = np.random.default_rng([seed, 4]).integers(0, 256, (len(said), 1, 4, 4), dtype=np.uint8)
    images = replace(image_set(pixels, "canaries"), groups={CANARY: np.asarray(said)})
    index = np.arange(len(losses)) if index is None else index
    scores = Scores(index, np.asarray(losses, dtype=np.float32)[:, None])
    return PhantomEvidence(
        "privacy/empirical_epsilon",
        seed,
        images={"canaries": images},
        scores={CANARY_LOSS.name: {"canaries": scores}},
        parameters=parameters or {},
    )


def coins(m, seed=0):
    return np.random.default_rng([seed, 6]).random(m) < 0.5


def words(included):
    return np.where(included, INCLUDED, LEFT_OUT)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_a_known_epsilon_is_found_and_not_overstated(epsilon):
    seeds = 60
    found = [named(run(randomised_response(seed, epsilon, 1000)))["empirical_epsilon"] for seed in range(seeds)]
    over = sum(one.value > epsilon for one in found)
    assert over <= binom.ppf(0.999, seeds, 0.05)
    assert np.median([one.value for one in found]) > 0.6 * epsilon - 0.1


def test_noise_gives_zero_at_the_nominal_rate():
    seeds = 300
    found = [named(run(randomised_response(seed, 0.0, 100)))["empirical_epsilon"] for seed in range(seeds)]
    rate = float(binom.sf(19, 30, 0.5))  # 20 of 30 right is the first that shows something
    assert rate == pytest.approx(0.0494, abs=1e-4)
    assert binom.ppf(0.0005, seeds, rate) <= sum(one.value > 0 for one in found) <= binom.ppf(0.9995, seeds, rate)
    assert all(one.value == one.interval.low for one in found)


def test_losses_that_are_shifted_have_the_auc_they_should():
    seeds, shift = 60, 1.0
    found = [named(run(shifted_losses(seed, shift, 400)))["canary_auc"].interval for seed in range(seeds)]
    held = sum(one.low <= float(ndtr(shift / np.sqrt(2))) <= one.high for one in found)
    assert held >= binom.ppf(0.001, seeds, 0.95)


def test_a_low_loss_means_member_and_never_the_other_way_round():
    """The sign is fixed beforehand: a model that knows left-out images better is not accused."""
    said = coins(200)
    straight = named(run(evidence(words(said), np.where(said, 0.1, 0.9))))
    turned = named(run(evidence(words(said), np.where(said, 0.9, 0.1))))
    assert straight["canary_guess_accuracy"].value == 1.0
    assert straight["empirical_epsilon"].value == epsilon_bound(200, 60, 60, 1e-5)
    assert straight["empirical_epsilon"].value == straight["empirical_epsilon"].interval.high
    assert (turned["canary_guess_accuracy"].value, turned["empirical_epsilon"].value) == (0.0, 0.0)


def test_the_ceiling_stands_in_the_note_and_in_the_table():
    findings = run(randomised_response(0, 2.0, 400))
    epsilon = named(findings)["empirical_epsilon"]
    assert "no more than 3.67 can be shown" in epsilon.note
    assert "delta = 1e-05" in epsilon.note
    assert epsilon.interval.sided == "lower"
    table = next(one for one in findings if isinstance(one, Table))
    rows = {row[0]: row for row in table.rows}
    assert rows[400][3] == epsilon.interval.high == epsilon_bound(400, 120, 120, 1e-5)
    assert [row[3] for row in table.rows] == sorted(row[3] for row in table.rows)


def test_what_the_number_rests_on_is_in_the_signature():
    said = coins(100)
    base = named(run(evidence(words(said), np.zeros(100))))["empirical_epsilon"].signature
    assert (base["delta"], base["guess_share"], base["score_levels"], base["score_noises"]) == (1e-5, 0.3, "0.1", 8)
    assert base["against"] == "canaries"
    settings = {"delta": 1e-3, "guess_share": 0.5}
    other = named(run(evidence(words(said), np.zeros(100), parameters=settings)))
    assert (other["empirical_epsilon"].signature["delta"], other["canary_guess_accuracy"].n) == (1e-3, 50)


def test_scored_canaries_are_matched_to_their_own_coins():
    said = coins(300)
    index = np.random.default_rng(0).permutation(300)[:120]
    found = named(run(evidence(words(said), np.where(said[index], 0.1, 0.9), index=index)))
    assert (found["canary_guess_accuracy"].value, found["empirical_epsilon"].n) == (1.0, 120)


def test_equal_losses_say_nothing():
    found = [named(run(evidence(words(coins(100, s)), np.ones(100)))) for s in range(100)]
    assert sum(one["empirical_epsilon"].value > 0 for one in found) <= binom.ppf(0.999, 100, 0.05)
    assert all(one["canary_auc"].value == 0.5 for one in found)


def test_few_canaries_are_not_applicable():
    outcome = run(evidence(words(coins(49)), np.zeros(49)))
    assert isinstance(outcome, NotApplicable)
    assert "needs 50 canaries; there are 49" in outcome.reason
    assert isinstance(run(evidence(words(coins(50)), np.zeros(50))), list)


def test_images_without_coin_flips_are_not_applicable():
    without = evidence(words(coins(100)), np.zeros(100))
    without._images["canaries"] = image_set(np.zeros((100, 1, 4, 4), dtype=np.uint8), "canaries")
    outcome = run(without)
    assert isinstance(outcome, NotApplicable)
    assert "coin flips" in outcome.reason


def test_coins_that_cannot_have_been_fair_are_invalid():
    assert isinstance(run(evidence(words(np.ones(60, dtype=bool)), np.zeros(60))), Invalid)
    outcome = run(evidence(words(np.arange(200) < 150), np.zeros(200)))
    assert isinstance(outcome, Invalid)
    assert "150 of 200 canaries were included" in outcome.reason
    assert isinstance(run(evidence(np.where(coins(100), INCLUDED, "perhaps"), np.zeros(100))), Invalid)


@pytest.mark.parametrize("settings", [{"delta": 0.6}, {"guess_share": 1.1}, {"delta": -1.0}, {"guesses": 3.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match=r"privacy/empirical_epsilon"):
        run(evidence(words(coins(100)), np.zeros(100), parameters=settings))


def test_the_score_is_the_denoising_loss_at_one_of_its_levels():
    """What is measured on canaries is what membership_loss measures, noise for noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 1, 6, 6), dtype=np.uint8)
    schedule = linear_schedule(100)
    denoiser = OptimalDenoiser(to_float(pixels[:6]), schedule)
    import torch

    parts = DiffusionParts(schedule, denoiser, (1, 6, 6), torch.device("cpu"))
    one = score(parts, to_float(pixels), 3, CANARY_LOSS.parameters)
    six = score(parts, to_float(pixels), 3, DENOISING_LOSS.parameters)
    levels = str(DENOISING_LOSS.parameters["levels"]).split()
    np.testing.assert_array_equal(one[:, 0], six[:, levels.index("0.1")])
    assert CANARY_LOSS.function == DENOISING_LOSS.function
    assert CANARY_LOSS.name != DENOISING_LOSS.name


@pytest.mark.parametrize("knows", [True, False])
def test_the_optimal_denoiser_reaches_the_ceiling_and_the_exact_law_nothing(knows):
    """From images through flips, training set, denoiser and score to epsilon."""
    import torch

    rng = np.random.default_rng(12)
    pixels = np.clip(np.rint(127.5 + 32 * rng.normal(size=(300, 1, 6, 6))), 0, 255).astype(np.uint8)
    data = image_set(pixels, "data")
    flipped = flip_coins(data, 150, 0)
    schedule = linear_schedule(1000)
    trained = to_float(flipped.trained_on(data).pixels)
    law = GaussianDenoiser(torch.zeros((1, 6, 6)), 0.0625, schedule)
    parts = DiffusionParts(
        schedule, OptimalDenoiser(trained, schedule) if knows else law, (1, 6, 6), torch.device("cpu")
    )
    canaries = flipped.of(data)
    losses = score(parts, to_float(canaries.pixels), 0, CANARY_LOSS.parameters)[:, 0]
    found = named(run(evidence(canaries.groups[CANARY], losses)))["empirical_epsilon"]
    assert found.value == (found.interval.high if knows else 0.0)


def test_its_specification_is_complete():
    spec = CheckSpec.of(EmpiricalEpsilon)
    assert spec.settings == ("delta", "guess_share")
    assert spec.needs.roles == ("canaries",)
    assert set(spec.planning) == {"empirical_epsilon", "canary_guess_accuracy", "canary_auc"}
    assert {one.images for one in spec.planning.values()} == {"canaries"}
