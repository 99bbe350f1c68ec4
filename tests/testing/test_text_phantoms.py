"""A text-to-image phantom: its predictions against the other closed forms, its samples against its laws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ldm_eval.api import LoadedModel, ModelRef, Prediction, SampleRequest, SamplingSettings
from ldm_eval.diffusion.prompted import PromptedDenoiser
from ldm_eval.diffusion.quantise import to_uint8
from ldm_eval.diffusion.randomness import sample_seed
from ldm_eval.diffusion.schedules import linear_schedule, make_schedule
from ldm_eval.errors import ModelError
from ldm_eval.testing.denoisers import GaussianDenoiser, MixtureDenoiser, OptimalDenoiser
from ldm_eval.testing.phantom_models import PhantomBackend
from ldm_eval.testing.text_phantoms import CaptionedDenoiser, CaptionedLaws, LearnedPairs

SCHEDULE = linear_schedule(1000)
SHAPE = (1, 3, 3)
LAWS = CaptionedLaws(SHAPE, {"dark": -0.3, "light": 0.4}, 0.2, mean=0.1)
TIMES = torch.tensor([0, 10, 200, 500, 999])
KINDS: tuple[Prediction, ...] = ("epsilon", "x0", "v")


def noised(seed: int = 0) -> torch.Tensor:
    return torch.randn((len(TIMES), *SHAPE), generator=torch.Generator().manual_seed(seed))


def level(value: float) -> torch.Tensor:
    return torch.full(SHAPE, value)


def pairs(memorised: tuple[bool, ...] = (True, True, False)) -> LearnedPairs:
    images = torch.rand((3, *SHAPE), generator=torch.Generator().manual_seed(5)) * 2 - 1
    return LearnedPairs(images, ["a dark cat", "a dark cat", "a light dog"], torch.tensor(memorised))


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_has_its_law_and_a_caption_without_one_the_general_law(kind: Prediction) -> None:
    text = CaptionedDenoiser(LAWS, SCHEDULE, prediction=kind)
    for caption, mean in (("A DARK thing.", -0.3), ("light", 0.4), ("something", 0.1)):
        known = GaussianDenoiser(level(mean), 0.04, SCHEDULE, kind)(noised(), TIMES)
        torch.testing.assert_close(text(noised(), TIMES, [caption] * 5), known, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_several_words_and_no_prompt_at_all_are_mixtures(kind: Prediction) -> None:
    text = CaptionedDenoiser(LAWS, SCHEDULE, prediction=kind)
    both = torch.stack([level(-0.3), level(0.4)])
    known = MixtureDenoiser(torch.ones(2), both, 0.04, SCHEDULE, kind)(noised(), TIMES)
    torch.testing.assert_close(text(noised(), TIMES, ["dark and light"] * 5), known, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(text(noised(), TIMES, [" "] * 5), known, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(PromptedDenoiser(text)(noised(), TIMES), known, atol=1e-5, rtol=1e-5)


def test_a_caption_known_by_heart_is_the_optimal_denoiser_of_its_images() -> None:
    known = pairs()
    text = CaptionedDenoiser(LAWS, SCHEDULE, known)
    wanted = OptimalDenoiser(known.images[:2], SCHEDULE)(noised(), TIMES)
    torch.testing.assert_close(text(noised(), TIMES, ["a dark cat"] * 5), wanted, atol=1e-4, rtol=1e-5)


def test_without_a_prompt_the_law_is_that_of_the_training_captions() -> None:
    known = pairs()
    text = CaptionedDenoiser(LAWS, SCHEDULE, known)
    means = torch.cat([known.images[:2], level(0.4)[None]])
    variances = torch.tensor([0.0, 0.0, 0.04]).reshape(3, 1, 1, 1)
    wanted = MixtureDenoiser(torch.ones(3), means, variances, SCHEDULE)(noised(), TIMES)
    torch.testing.assert_close(text(noised(), TIMES, [""] * 5), wanted, atol=1e-4, rtol=1e-5)


def test_prompts_of_one_batch_do_not_touch_each_other() -> None:
    text = CaptionedDenoiser(LAWS, SCHEDULE, pairs())
    prompts = ["dark", "", "a dark cat", "light", "nothing"]
    together = text(noised(), TIMES, prompts)
    for row, prompt in enumerate(prompts):
        alone = text(noised()[row : row + 1], TIMES[row : row + 1], [prompt])
        torch.testing.assert_close(alone, together[row : row + 1])


def test_numbers_that_do_not_agree_are_refused() -> None:
    text = CaptionedDenoiser(LAWS, SCHEDULE)
    with pytest.raises(ModelError, match="2 prompts"):
        text(noised(), TIMES, ["a", "b"])
    with pytest.raises(ModelError, match="2 captions"):
        CaptionedDenoiser(LAWS, SCHEDULE, LearnedPairs(pairs().images, ["a", "b"], torch.ones(3, dtype=torch.bool)))


def load(text: str) -> LoadedModel:
    return PhantomBackend().load(ModelRef(text), "cpu")


def sampled(model: LoadedModel, prompts: list[str | None]) -> torch.Tensor:
    settings = model.resolve(SamplingSettings(steps=25))
    asked = [SampleRequest(i, sample_seed(0, i), settings, prompt=prompt) for i, prompt in enumerate(prompts)]
    return model.generate(asked).pixels


@pytest.fixture
def data(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "pairs.npz", pixels)
    rows = "\n".join(f"{row},picture {row}" for row in range(40))
    (tmp_path / "pairs.csv").write_text(f"id,prompt\n{rows}\n")
    np.savez(tmp_path / "bare.npz", pixels)
    return tmp_path


def test_a_prompt_decides_what_is_sampled() -> None:
    model = load("phantom:captioned?laws=dark:-0.5,light:0.5&std=0.1")
    pixels = sampled(model, ["dark"] * 20 + ["light"] * 20 + [None] * 20).flatten(1).mean(dim=1)
    assert (pixels[:20] < -0.4).all()
    assert (pixels[20:40] > 0.4).all()
    assert 0 < (pixels[40:] > 0).sum() < 20


def test_the_prompt_of_a_memorised_pair_gives_its_image(data: Path) -> None:
    model = load(f"phantom:captioned?data={data}/pairs.npz")
    pixels = np.load(data / "pairs.npz")["arr_0"].transpose(0, 3, 1, 2)
    made = to_uint8(sampled(model, [f"picture {row}" for row in range(40)])).numpy()
    assert np.abs(made.astype(int) - pixels).max() <= 1


def test_the_share_that_is_memorised_is_a_parameter(data: Path) -> None:
    model = load(f"phantom:captioned?data={data}/pairs.npz&memorised=0.25&schedule=zero-terminal-snr&prediction=v")
    assert "10 of 40 pairs by heart" in model.identity.architecture
    parts = model.white_box()
    assert parts is not None
    assert parts.text is not None
    x = torch.randn((40, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    said = parts.text(x, torch.full((40,), 999), [f"picture {row}" for row in range(40)])
    plain = parts.text(x, torch.full((40,), 999), ["unheard of"] * 40)
    assert int((said - plain).flatten(1).abs().amax(dim=1).gt(0.05).sum()) == 10
    assert make_schedule("zero-terminal-snr", 1000).ends_in_pure_noise


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("phantom:captioned?laws=dark", "name:number"),
        ("phantom:captioned?laws=dark:1,dark:2", "each name once"),
        ("phantom:captioned?laws=dark:x", "a number"),
        ("phantom:captioned?data={data}/bare.npz", "no captions"),
        ("phantom:captioned?data={data}/pairs.npz&memorised=2", "from 0 to 1"),
    ],
)
def test_a_wrong_reference_says_what_is_wrong(data: Path, text: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load(text.format(data=data))
