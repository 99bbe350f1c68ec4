"""Text-to-image models whose leak is known: pairs by heart, captions without their images, or laws of words alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ldm_eval.api import DiffusionParts, Evidence, ImageSet, NoiseSchedule, Role, ScoreSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.testing.text_phantoms import CaptionedDenoiser, CaptionedLaws

__all__ = ["exact_law", "memoriser", "reader"]

_SIDE = 6
_STD = 0.25
_WORDS = ("red", "blue", "round", "square", "small", "large", "old", "new", "bright", "pale", "soft", "plain")
_CHECK = "privacy/caption_likelihood"


def memoriser(
    seed: int,
    check: str = _CHECK,
    known: float = 1.0,
    members: int = 160,
    holdout: int = 160,
    private: Path | None = None,
) -> Evidence:
    """Knows a share ``known`` of the (caption, image) pairs of training by heart, the others by their words."""
    import torch

    from ldm_eval.diffusion.quantise import to_float
    from ldm_eval.testing.text_phantoms import CaptionedDenoiser, LearnedPairs

    sets = _sets(seed, members, holdout)
    inside = sets["training"]
    by_heart = torch.arange(members) < round(known * members)
    pairs = LearnedPairs(to_float(inside.pixels), [str(one) for one in _prompts(inside)], by_heart)
    return _evidence(check, seed, sets, CaptionedDenoiser(_laws(), _schedule(), pairs), private)


def reader(seed: int, check: str = _CHECK, members: int = 160, holdout: int = 160) -> Evidence:
    """Knows the captions of training but not one image: it is surer of any image that comes with one of them."""
    import torch

    from ldm_eval.testing.text_phantoms import CaptionedDenoiser, LearnedPairs

    sets = _sets(seed, members, holdout)
    captions = [str(one) for one in _prompts(sets["training"])]
    centre = torch.zeros((members, 1, _SIDE, _SIDE))
    pairs = LearnedPairs(centre, captions, torch.ones(members, dtype=torch.bool), spread=0.4 * _STD)
    return _evidence(check, seed, sets, CaptionedDenoiser(_laws(), _schedule(), pairs))


def exact_law(
    seed: int,
    check: str = _CHECK,
    members: int = 160,
    holdout: int = 160,
    other_words: bool = False,
    private: Path | None = None,
) -> Evidence:
    """Knows the law of every word, from which both sets are drawn, and no image; AUC exactly 1/2.

    With ``other_words`` half of the holdout captions begin with a word that no training caption has.
    """
    from ldm_eval.testing.text_phantoms import CaptionedDenoiser

    return _evidence(
        check, seed, _sets(seed, members, holdout, other_words), CaptionedDenoiser(_laws(), _schedule()), private
    )


def _sets(seed: int, members: int, holdout: int, other_words: bool = False) -> dict[Role, ImageSet]:
    from dataclasses import replace

    from ldm_eval.testing.evidence import image_set

    inside, outside = _pairs(seed, members), _pairs(seed + 1_000_003, holdout, "photo " if other_words else "")
    return {
        "training": replace(image_set(inside[0], "training"), prompts=inside[1]),
        "holdout": replace(image_set(outside[0], "holdout"), prompts=outside[1]),
    }


def _pairs(seed: int, n: int, prefix: str = "") -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Captions of three words and a number, and a draw from the law of one of the words, rounded to 8 bits."""
    import numpy as np

    rng = np.random.default_rng([seed, 27])
    chosen = [rng.choice(len(_WORDS), size=3, replace=False) for _ in range(n)]
    captions = [
        f"{prefix if row % 2 else ''}{' '.join(_WORDS[word] for word in words)} {rng.integers(10**6):06d}"
        for row, words in enumerate(chosen)
    ]
    centres = np.asarray([_mean(int(words[rng.integers(3)])) for words in chosen]).reshape(-1, 1, 1, 1)
    values = 127.5 * (1 + centres + _STD * rng.normal(size=(n, 1, _SIDE, _SIDE)))
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8), np.asarray(captions, dtype=np.str_)


def _mean(word: int) -> float:
    return 0.3 * (word / (len(_WORDS) - 1) - 0.5)


def _laws() -> CaptionedLaws:
    from ldm_eval.testing.text_phantoms import CaptionedLaws

    return CaptionedLaws((1, _SIDE, _SIDE), {word: _mean(at) for at, word in enumerate(_WORDS)}, _STD)


def _schedule() -> NoiseSchedule:
    from ldm_eval.diffusion.schedules import linear_schedule

    return linear_schedule(1000)


def _prompts(images: ImageSet) -> list[str]:
    return [] if images.prompts is None else [str(prompt) for prompt in images.prompts]


def _evidence(
    check: str, seed: int, sets: dict[Role, ImageSet], text: CaptionedDenoiser, private: Path | None = None
) -> Evidence:
    import numpy as np
    import torch

    from ldm_eval.api import Scores
    from ldm_eval.diffusion.prompted import PromptedDenoiser
    from ldm_eval.diffusion.quantise import to_float
    from ldm_eval.stats.resampling import others
    from ldm_eval.testing.evidence import PhantomEvidence
    from ldm_eval_privacy import caption_scores

    shape = (1, _SIDE, _SIDE)
    parts = DiffusionParts(_schedule(), PromptedDenoiser(text), shape, torch.device("cpu"), text=text)
    screens = check == "privacy/prompt_screen"
    losses = (caption_scores.CAPTION_LOSSES, caption_scores.SHUFFLED_CAPTION_LOSSES)
    specs = (caption_scores.PROMPT_PULL,) if screens else losses

    def scored(spec: ScoreSpec, role: Role) -> Scores:
        given = _prompts(sets[role])
        if spec.shuffled:
            given = [given[at] for at in others(len(given), np.random.default_rng([seed, 28]))]
        function = caption_scores.prompt_pull if screens else caption_scores.caption_losses
        values = function(parts, to_float(sets[role].pixels), given, seed, spec.parameters)
        return Scores(np.arange(len(given)), values)

    mixing = np.random.Generator(np.random.PCG64(22)).normal(size=(_SIDE**2, 16))
    features = {role: (one.pixels.reshape(len(one), -1) @ mixing).astype(np.float32) for role, one in sets.items()}
    return PhantomEvidence(
        check,
        seed,
        images=sets,
        features={} if screens else features,
        scores={spec.name: {role: scored(spec, role) for role in sets} for spec in specs},
        private=private,
    )
