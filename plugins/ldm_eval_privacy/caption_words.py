"""Captions seen without images and without a model: words, length and style, for the blind classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval_privacy.blind import BlindResult, BlindView

__all__ = ["CAPTIONS_LOST", "caption_view", "judge_captions", "same_caption"]

CAPTIONS_LOST = 0.01
"""Share of runs in which captions of one law are called different by chance."""

_WORDS = 300
_FEWEST_USES = 3


def same_caption(caption: str) -> str:
    """What two captions that count as one have in common: case and white space do not matter."""
    return " ".join(caption.casefold().split())


def judge_captions(
    learn_members: Sequence[str],
    learn_others: Sequence[str],
    judge_members: Sequence[str],
    judge_others: Sequence[str],
) -> BlindResult:
    """AUC of a logistic regression on the words of captions, learned on some and judged on others."""
    from ldm_eval_privacy.blind import judge_blindly

    view = caption_view(learn_members, learn_others, judge_members, judge_others)
    return judge_blindly([view], level=1 - 2 * CAPTIONS_LOST)[0]


def caption_view(
    learn_members: Sequence[str],
    learn_others: Sequence[str],
    judge_members: Sequence[str],
    judge_others: Sequence[str],
) -> BlindView:
    """What the blind classifier sees of captions.

    Which words there are is counted on the captions to learn from, both sets together: the 300 most frequent of those
    that at least three captions use. Beside them stand the number of words and letters, and the shares of capitals,
    digits and punctuation.
    """
    from ldm_eval_privacy.blind import BlindView

    used = Counter(word for caption in (*learn_members, *learn_others) for word in set(_words(caption)))
    ranked = sorted(used, key=lambda word: (-used[word], word))
    vocabulary = {word: at for at, word in enumerate(word for word in ranked[:_WORDS] if used[word] >= _FEWEST_USES)}
    sets = (learn_members, learn_others, judge_members, judge_others)
    return BlindView("caption words", *(_bag(captions, vocabulary) for captions in sets))


def _words(caption: str) -> list[str]:
    return [word for part in caption.casefold().split() if (word := part.strip(".,;:!?\"'()[]"))]


def _bag(captions: Sequence[str], vocabulary: dict[str, int]) -> NDArray[np.floating]:
    import numpy as np

    rows = np.zeros((len(captions), len(vocabulary) + 5))
    for row, caption in enumerate(captions):
        for word in _words(caption):
            if word in vocabulary:
                rows[row, vocabulary[word]] = 1
        letters = max(1, len(caption))
        marks = sum(not (letter.isalnum() or letter.isspace()) for letter in caption)
        style = (sum(map(str.isupper, caption)), sum(map(str.isdigit, caption)), marks)
        rows[row, -5:] = (len(caption.split()), len(caption), *(count / letters for count in style))
    return rows
