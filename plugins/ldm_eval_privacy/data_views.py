"""What tells training images from holdout images without any model: pixels, features, the words of captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_eval.api import Evidence, Role
from ldm_eval_privacy.blind import BlindView

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SetRows", "data_views", "drawn"]


@dataclass(frozen=True, slots=True, eq=False)
class SetRows:
    """Rows of one set: to learn from, and to be judged on."""

    learn: NDArray[np.int64]
    judge: NDArray[np.int64]


def drawn(evidence: Evidence, role: Role, usable: NDArray[np.int64], most: int) -> SetRows:
    """Divide ``usable`` at random into two halves of at most ``most`` rows each."""
    import numpy as np

    order = evidence.rng(f"halves of {role}").permutation(usable)[: 2 * most]
    half = len(order) // 2
    return SetRows(np.sort(order[:half]), np.sort(order[half:]))


def data_views(evidence: Evidence, members: SetRows, others: SetRows, *, captions: bool = False) -> list[BlindView]:
    """Image statistics and features, and the words of captions where they are asked for and both sets have them."""
    from ldm_eval_privacy.caption_words import caption_view
    from ldm_eval_privacy.image_statistics import image_statistics

    training, holdout = evidence.images("training"), evidence.images("holdout")
    channels = max(training.shape[0], holdout.shape[0])
    sets: tuple[tuple[Role, NDArray[np.int64]], ...] = (
        ("training", members.learn),
        ("holdout", others.learn),
        ("training", members.judge),
        ("holdout", others.judge),
    )
    statistics = (image_statistics(_pixels(evidence, role, rows, channels)) for role, rows in sets)
    features = (evidence.features(role)[rows] for role, rows in sets)
    views = [BlindView("image statistics", *statistics), BlindView(f"{evidence.extractor().name} features", *features)]
    if captions and training.prompts is not None and holdout.prompts is not None:
        said = {"training": training.prompts, "holdout": holdout.prompts}
        views.append(caption_view(*([str(prompt) for prompt in said[role][rows]] for role, rows in sets)))
    return views


def _pixels(evidence: Evidence, role: Role, rows: NDArray[np.int64], channels: int) -> NDArray[np.uint8]:
    import numpy as np

    pixels = np.asarray(evidence.images(role).pixels[rows])
    return pixels if pixels.shape[1] == channels else np.repeat(pixels, channels, axis=1)
