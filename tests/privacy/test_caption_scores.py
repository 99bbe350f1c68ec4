import numpy as np
import pytest
import torch
from ldm_eval_privacy.caption_scores import (
    CAPTION_LOSSES,
    PROMPT_PULL,
    SHUFFLED_CAPTION_LOSSES,
    caption_losses,
    column_of,
    prompt_pull,
    variants_of,
)
from ldm_eval_privacy.denoising_loss import score

from ldm_eval.api import DiffusionParts
from ldm_eval.diffusion.prompted import PromptedDenoiser
from ldm_eval.diffusion.schedules import linear_schedule, make_schedule
from ldm_eval.errors import ConfigError, ModelError
from ldm_eval.testing.denoisers import GaussianDenoiser
from ldm_eval.testing.text_phantoms import CaptionedDenoiser, CaptionedLaws, LearnedPairs

SHAPE = (1, 6, 6)
LAWS = CaptionedLaws(SHAPE, {"dark": -0.4, "light": 0.4}, 0.25)


def parts(schedule=None, pairs=None, prediction="epsilon"):
    schedule = schedule or linear_schedule(1000)
    text = CaptionedDenoiser(LAWS, schedule, pairs, prediction)
    return DiffusionParts(schedule, PromptedDenoiser(text), SHAPE, torch.device("cpu"), text=text)


def images(n=12, mean=0.0, seed=0):
    return mean + 0.25 * torch.randn((n, *SHAPE), generator=torch.Generator().manual_seed(seed))


def column(level, variant, spec=CAPTION_LOSSES):
    return column_of(spec.parameters, level, variant)


def test_the_stated_calls_are_the_calls_that_are_made():
    for spec, function in (
        (CAPTION_LOSSES, caption_losses),
        (SHUFFLED_CAPTION_LOSSES, caption_losses),
        (PROMPT_PULL, prompt_pull),
    ):
        calls = []
        known = parts()

        class Counting:
            prediction = "epsilon"

            def __call__(self, x_t, t, prompts):
                calls.append(len(x_t))  # noqa: B023
                return known.text(x_t, t, prompts)  # noqa: B023

        counted = DiffusionParts(known.schedule, known.denoiser, SHAPE, known.device, text=Counting())
        function(counted, images(3), ["dark", "light", "dark light"], 0, spec.parameters)
        assert sum(calls) == 3 * spec.calls_per_image


def test_the_right_caption_lowers_the_loss_and_the_wrong_one_raises_it():
    found = caption_losses(parts(), images(20, -0.4), ["a dark thing"] * 20, 0, CAPTION_LOSSES.parameters)
    wrong = caption_losses(parts(), images(20, -0.4), ["a light thing"] * 20, 0, CAPTION_LOSSES.parameters)
    own, empty = found[:, column(2, "own")], found[:, column(2, "empty")]
    assert own.mean() < empty.mean()  # at less noise the image says by itself that it is dark
    for level in range(3):
        empty = found[:, column(level, "empty")]
        assert empty.mean() < wrong[:, column(level, "own")].mean()


def test_the_loss_under_a_caption_is_the_denoising_loss_of_its_law():
    known = GaussianDenoiser(torch.full(SHAPE, -0.4), 0.0625, linear_schedule(1000))
    plain = DiffusionParts(linear_schedule(1000), known, SHAPE, torch.device("cpu"))
    many = {**CAPTION_LOSSES.parameters, "noises": 200}
    found = caption_losses(parts(), images(4), ["dark"] * 4, 0, many)
    wanted = score(plain, images(4), 1, many)
    own = found[:, [column(level, "own") for level in range(3)]]
    np.testing.assert_allclose(own, wanted, rtol=0.15)


def test_halves_nothing_and_the_fixed_caption_are_what_they_say():
    told = caption_losses(parts(), images(2), ["dark light"] * 2, 0, CAPTION_LOSSES.parameters)
    spoken = {"first_half": "dark", "second_half": "light", "empty": "", "fixed": "a picture"}
    for variant, caption in spoken.items():
        alone = caption_losses(parts(), images(2), [caption] * 2, 0, CAPTION_LOSSES.parameters)
        np.testing.assert_array_equal(told[:, column(1, variant)], alone[:, column(1, "own")])


def test_neither_the_batch_nor_the_order_matters():
    prompts = [f"{'dark' if row % 3 else 'light'} {row}" for row in range(12)]
    for function, spec in ((caption_losses, CAPTION_LOSSES), (prompt_pull, PROMPT_PULL)):
        whole = function(parts(), images(), prompts, 3, spec.parameters)
        back = function(parts(), images().flip(0), prompts[::-1], 3, spec.parameters)[::-1]
        pieces = [
            function(parts(), images()[at : at + 5], prompts[at : at + 5], 3, spec.parameters) for at in (0, 5, 10)
        ]
        np.testing.assert_allclose(whole, back, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(whole, np.concatenate(pieces), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v"])
def test_the_pull_of_a_word_is_that_of_its_expected_image(prediction):
    # eps = (x - alpha E[x_0]) / sigma, so the pull is alpha/sigma times what the word does to the expected image. One
    # Gaussian with a prompt and one without: E[x_0 | x] differs by sigma^2 / (alpha^2 v + sigma^2) times the means.
    schedule = linear_schedule(1000)
    pairs = LearnedPairs(torch.zeros((1, *SHAPE)), ["light"], torch.zeros(1, dtype=torch.bool))
    found = prompt_pull(parts(schedule, pairs, prediction), images(2), ["dark", "light"], 0, PROMPT_PULL.parameters)
    at = torch.tensor([980])
    alpha, sigma = float(schedule.alpha(at)), float(schedule.sigma(at))
    wanted = alpha / sigma * 0.8 * sigma**2 / (alpha**2 * 0.0625 + sigma**2)
    np.testing.assert_allclose(found[0], wanted, rtol=2e-3)
    np.testing.assert_allclose(found[1], 0, atol=1e-6)


def test_a_prompt_known_by_heart_pulls_harder_also_where_the_schedule_ends_in_pure_noise():
    known = images(2, seed=4)
    pairs = LearnedPairs(known, ["dark 1", "dark 2"], torch.tensor([True, False]))
    for schedule, prediction in ((linear_schedule(1000), "epsilon"), (make_schedule("zero-terminal-snr", 1000), "v")):
        told = parts(schedule, pairs, prediction)
        found = prompt_pull(told, known, ["dark 1", "dark 3"], 0, PROMPT_PULL.parameters)
        assert found.shape == (2, 4)
        assert (found > 0).all()
        assert (found[0] != found[1]).all()


def test_what_cannot_be_scored_is_refused():
    silent = DiffusionParts(linear_schedule(1000), parts().denoiser, SHAPE, torch.device("cpu"))
    for function, spec in ((caption_losses, CAPTION_LOSSES), (prompt_pull, PROMPT_PULL)):
        with pytest.raises(ModelError, match="told in words"):
            function(silent, images(1), ["dark"], 0, spec.parameters)
    with pytest.raises(ConfigError, match="no caption 'odd'"):
        variants_of({"captions": "own odd"})
