"""What tells training images from holdout images without any model: pixels, features, the words of captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_eval.api import Evidence, Role
from ldm_eval_privacy.blind import BlindView

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SetRows", "caption_words", "data_views", "drawn"]

_WORDS = 256


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


def data_views(evidence: Evidence, members: SetRows, others: SetRows) -> list[BlindView]:
    """Every description that both sets have: image statistics, features, and the words of their prompts."""
    sets = {"training": members, "holdout": others}
    described: list[tuple[str, dict[str, list[NDArray[np.floating]]]]] = [
        ("image statistics", {role: _statistics(evidence, role, rows) for role, rows in _roles(sets)}),
        (
            f"{evidence.extractor().name} features",
            {role: [evidence.features(role)[part] for part in (rows.learn, rows.judge)] for role, rows in _roles(sets)},
        ),
    ]
    if all(evidence.images(role).prompts is not None for role, _ in _roles(sets)):
        described.append(("caption words", {role: _words(evidence, role, rows) for role, rows in _roles(sets)}))
    return [
        BlindView(name, by["training"][0], by["holdout"][0], by["training"][1], by["holdout"][1])
        for name, by in described
    ]


def caption_words(prompts: NDArray[np.str_]) -> NDArray[np.float64]:
    """``(N, 257)``: how often a prompt has a word of each of 256 classes (by CRC-32), and how many words it has."""
    import zlib

    import numpy as np

    rows = np.zeros((len(prompts), _WORDS + 1))
    for row, prompt in enumerate(prompts):
        for word in str(prompt).casefold().split():
            rows[row, zlib.crc32(word.strip(".,;:!?\"'()").encode()) % _WORDS] += 1
            rows[row, _WORDS] += 1
    return rows


def _roles(sets: dict[str, SetRows]) -> tuple[tuple[Role, SetRows], tuple[Role, SetRows]]:
    return ("training", sets["training"]), ("holdout", sets["holdout"])


def _statistics(evidence: Evidence, role: Role, rows: SetRows) -> list[NDArray[np.floating]]:
    from ldm_eval_privacy.image_statistics import image_statistics

    channels = max(evidence.images(one).shape[0] for one in ("training", "holdout"))
    return [image_statistics(_pixels(evidence, role, part, channels)) for part in (rows.learn, rows.judge)]


def _pixels(evidence: Evidence, role: Role, rows: NDArray[np.int64], channels: int) -> NDArray[np.uint8]:
    import numpy as np

    pixels = np.asarray(evidence.images(role).pixels[rows])
    return pixels if pixels.shape[1] == channels else np.repeat(pixels, channels, axis=1)


def _words(evidence: Evidence, role: Role, rows: SetRows) -> list[NDArray[np.floating]]:
    prompts = evidence.images(role).prompts
    return [] if prompts is None else [caption_words(prompts[part]) for part in (rows.learn, rows.judge)]
