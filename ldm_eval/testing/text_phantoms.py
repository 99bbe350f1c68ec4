"""A text-to-image denoiser whose every answer is known in closed form: words that have laws, captions known by heart.

Given its caption an image is a draw from a mixture of Gaussians; without a caption it is a draw from the mixture of all
of them. So p(x | caption) and p(x) are known exactly, and with them what a perfectly trained network predicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch

from ldm_eval.api import NoiseSchedule, Prediction
from ldm_eval.errors import ModelError

__all__ = ["CaptionedDenoiser", "CaptionedLaws", "LearnedPairs", "words_of"]


def words_of(caption: str) -> tuple[str, ...]:
    """The words of a caption in small letters, without punctuation around them."""
    stripped = (word.strip(".,;:!?\"'()").casefold() for word in caption.split())
    return tuple(word for word in stripped if word)


@dataclass(frozen=True, slots=True, eq=False)
class CaptionedLaws:
    """What images look like given one word: N(mean, std^2) in every pixel, independently.

    Attributes:
        shape: ``(C, H, W)``.
        means: Word -> mean in the model's range [-1, 1]; a caption is the even mixture of the laws of its words.
        std: Standard deviation of every pixel.
        mean: Mean for a caption without such a word.
    """

    shape: tuple[int, int, int]
    means: Mapping[str, float]
    std: float
    mean: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class LearnedPairs:
    """Captioned images a model was trained on.

    Attributes:
        images: ``(N, C, H, W) float32 in [-1, 1]``.
        captions: N captions.
        memorised: ``(N,) bool``: the pairs that it knows by heart.
        spread: Standard deviation around an image known by heart; 0 gives back the very image.
    """

    images: torch.Tensor
    captions: Sequence[str]
    memorised: torch.Tensor
    spread: float = 0.0


@final
class CaptionedDenoiser:
    """The exact denoiser of images given their captions.

    A caption known by heart is the even mixture of the images it was learned with (the optimal denoiser of them);
    any other is the law of its words. The unconditional law is that of training: caption i of N has the weight 1/N;
    without training pairs all laws have the same weight. A model that knows no pair by heart knows laws only: every
    membership attack has an AUC of 1/2 where captions have one law.

    Args:
        laws: The laws of words.
        schedule: Noise schedule.
        pairs: What it was trained on, or None.
        prediction: What it predicts.
        device: Where its tensors live.

    Raises:
        ModelError: for pairs of another shape, or numbers that do not agree.
    """

    def __init__(
        self,
        laws: CaptionedLaws,
        schedule: NoiseSchedule,
        pairs: LearnedPairs | None = None,
        prediction: Prediction = "epsilon",
        device: str = "cpu",
    ) -> None:
        self._shape, self._schedule, self._prediction = laws.shape, schedule, prediction
        self._law_rows = {word.casefold(): row for row, word in enumerate(laws.means, start=1)}
        centres = [laws.mean, *laws.means.values()]  # the first is for captions without such a word
        size = math.prod(laws.shape)
        means = [torch.tensor(centres, dtype=torch.float64)[:, None].expand(-1, size)]
        variances = [torch.full((len(centres),), laws.std**2, dtype=torch.float64)]
        self._by_heart: dict[str, list[int]] = {}
        if pairs is not None:
            _refuse(pairs, laws.shape)
            chosen = pairs.memorised.nonzero().flatten().tolist()
            means.append(pairs.images[chosen].detach().to("cpu", torch.float64).flatten(1))
            variances.append(torch.full((len(chosen),), pairs.spread**2, dtype=torch.float64))
            for row, pair in enumerate(chosen, start=len(centres)):
                self._by_heart.setdefault(pairs.captions[pair], []).append(row)
        self._means = torch.cat(means).to(device)
        self._variances = torch.cat(variances).to(device)
        self._log_weights: dict[str, torch.Tensor] = {}
        self._unconditional = self._marginal(pairs).to(device)

    @property
    def prediction(self) -> Prediction:
        """What it was made to predict."""
        return self._prediction

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """``x_t (N, C, H, W)``, ``t (N,) int64``, N prompts -> the expectation of its prediction, like ``x_t``.

        Raises:
            ModelError: for images of another shape, or another number of prompts.
        """
        if tuple(x_t.shape[1:]) != self._shape or t.shape != x_t.shape[:1] or len(prompts) != len(x_t):
            raise ModelError(
                f"This phantom denoises images of shape {self._shape} with one timestep and one prompt each; found "
                f"images {tuple(x_t.shape)}, timesteps {tuple(t.shape)} and {len(prompts)} prompts."
            )
        x = x_t.detach().to(torch.float64).flatten(1)
        alpha, sigma = (values(t).to(x)[:, None] for values in (self._schedule.alpha, self._schedule.sigma))
        log_weights = torch.stack([self._weights(prompt) for prompt in prompts])
        return self._expect(x, alpha, sigma, log_weights).reshape(x_t.shape).to(x_t.dtype)

    def _expect(
        self, x: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor, log_weights: torch.Tensor
    ) -> torch.Tensor:
        spread = alpha**2 * self._variances + sigma**2  # (N, K)
        square = x.square().sum(dim=1, keepdim=True) + alpha**2 * self._means.square().sum(dim=1)
        square = square - 2 * alpha * (x @ self._means.T)
        posterior = (log_weights - 0.5 * (square / spread + x.shape[1] * spread.log())).softmax(dim=1)
        # Given component k: eps = sigma (x - alpha m) / spread, x0 = m + alpha v (x - alpha m) / spread.
        noise = posterior * sigma / spread
        epsilon = x * noise.sum(dim=1, keepdim=True) - alpha * (noise @ self._means)
        signal = posterior * alpha * self._variances / spread
        x0 = x * signal.sum(dim=1, keepdim=True) + (posterior - alpha * signal) @ self._means
        if self._prediction == "epsilon":
            return epsilon
        return x0 if self._prediction == "x0" else alpha * epsilon - sigma * x0

    def _weights(self, prompt: str) -> torch.Tensor:
        if not prompt.strip():
            return self._unconditional
        if prompt not in self._log_weights:
            self._log_weights[prompt] = self._of_caption(prompt).log().to(self._means.device)
        return self._log_weights[prompt]

    def _of_caption(self, caption: str) -> torch.Tensor:
        rows = self._by_heart.get(caption, [])
        if not rows:
            rows = [self._law_rows[word] for word in words_of(caption) if word in self._law_rows] or [0]
        weights = torch.zeros(len(self._variances), dtype=torch.float64)
        for row in rows:
            weights[row] += 1 / len(rows)
        return weights

    def _marginal(self, pairs: LearnedPairs | None) -> torch.Tensor:
        """The logarithm of the weights of the unconditional law."""
        if pairs is None:
            laws = torch.ones(len(self._variances), dtype=torch.float64)
            laws[0] = float(len(laws) == 1)
            return (laws / laws.sum()).log()
        return torch.stack([self._of_caption(caption) for caption in pairs.captions]).mean(dim=0).log()


def _refuse(pairs: LearnedPairs, shape: tuple[int, int, int]) -> None:
    count = len(pairs.images)
    if tuple(pairs.images.shape[1:]) != shape or not count == len(pairs.captions) == len(pairs.memorised) > 0:
        raise ModelError(
            f"A captioned phantom needs images of shape {shape} with one caption and one flag each; found "
            f"{tuple(pairs.images.shape)}, {len(pairs.captions)} captions and {len(pairs.memorised)} flags."
        )
