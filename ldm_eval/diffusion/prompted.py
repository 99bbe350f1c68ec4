"""A text-conditioned denoiser with its prompts fixed: a denoiser like any other, for samplers and conversions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from ldm_eval.api import Prediction, TextDenoiser

if TYPE_CHECKING:
    import torch

__all__ = ["PromptedDenoiser"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class PromptedDenoiser:
    """What ``text`` predicts for these prompts, one per image of every batch it is called with; no guidance.

    Attributes:
        text: The network that is told in words what to show.
        prompts: N prompts, for batches of N images; an empty one is the unconditional prediction. None at all: the
            unconditional prediction for a batch of any size.
    """

    text: TextDenoiser
    prompts: Sequence[str] = ()

    @property
    def prediction(self) -> Prediction:
        """What the output means."""
        return self.text.prediction

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """``x_t (N, C, H, W)``, ``t (N,) int64`` -> prediction, the shape of ``x_t``; labels are ignored."""
        return self.text(x_t, t, self.prompts or [""] * len(x_t))
