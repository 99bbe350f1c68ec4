"""Which skin tone and which age band a portrait shows: a small network trained on other portraits, with real errors.

The weights in ``classifier.npz`` come from ``python -m ldm_eval_demo.train_classifier``: portraits of sitters who are
in neither split of the dataset, all groups equally often, blurred, noisy and lit differently. Its confusion counts are
not shipped: they are counted on the labelled holdout of the run at hand, by the pipeline that also labels the samples.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ldm_eval.api import UNKNOWN, AttributeClassifier, AttributeContext, ConfusionCounts, LabelledImages
from ldm_eval.errors import DataError
from ldm_eval_demo.attributes import AGES, TONES
from ldm_eval_demo.renderer import SIDE

__all__ = [
    "ATTRIBUTES",
    "CONFIDENCE",
    "MIN_PER_CLASS",
    "PortraitClassifier",
    "PortraitNetwork",
    "load_classifier",
    "read_network",
    "write_network",
]

Attribute = Literal["skin tone", "age band"]

ATTRIBUTES: Final[dict[Attribute, tuple[str, ...]]] = {"skin tone": TONES, "age band": AGES}
"""What the two heads tell, in the order of their outputs."""

CONFIDENCE: Final = 0.6
"""A portrait whose most probable class is less probable than this gets the label ``"unknown"``. Fixed beforehand."""

MIN_PER_CLASS: Final = 20
"""Fewer labelled holdout images of a class than this are refused: its error rates would be guesses."""

WEIGHTS: Final = Path(__file__).with_name("classifier.npz")
LICENCE: Final = "Apache-2.0"
_BATCH: Final = 256
_LIMITS: Final[dict[Attribute, str]] = {
    "skin tone": (
        "Skin tone as painted (Monk tones in three groups), not race or ethnicity; for the demo's synthetic portraits "
        "only. Light and shadow make neighbouring groups look alike, and its errors on generated portraits may differ."
    ),
    "age band": (
        "Age band as painted (proportions, lines, grey hair), not a person's age; for the demo's synthetic portraits "
        "only. Its errors on generated portraits may differ from those on real ones."
    ),
}


class PortraitNetwork(nn.Module):
    """Four convolutions, two linear heads, 51,782 weights: ``(N, 3, 32, 32)`` in [-1, 1] -> two ``(N, 3)`` logits."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 32, 48, 64)
        layers: list[nn.Module] = []
        for depth, (before, after) in enumerate(pairwise(widths)):
            layers += [nn.Conv2d(before, after, 3, stride=1 if depth == 0 else 2, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(64, 16, 1), nn.ReLU(), nn.Flatten())
        self.tone = nn.Linear(16 * (SIDE // 8) ** 2, len(TONES))
        self.age = nn.Linear(16 * (SIDE // 8) ** 2, len(AGES))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of skin tone and of age band."""
        seen = self.body(images)
        return self.tone(seen), self.age(seen)


@final
class PortraitClassifier:
    """One head of the network, with its errors on labelled portraits it never saw."""

    licence = LICENCE

    def __init__(self, attribute: Attribute, network: PortraitNetwork, counted: LabelledImages) -> None:
        """Count the errors on ``counted``, which must carry the column ``attribute``."""
        self.name = f"demo-{attribute.replace(' ', '-')}"
        self.attribute = attribute
        self.limits = _LIMITS[attribute]
        self._network = network
        self.confusion = self._count(counted)

    def classify(self, images: NDArray[np.uint8], features: NDArray[np.float32]) -> NDArray[np.str_]:
        """``(N, 3, 32, 32) uint8`` -> ``(N,)`` class names or ``"unknown"``; the features are not looked at.

        Raises:
            DataError: for images of another size.
        """
        if images.shape[1:] != (3, SIDE, SIDE):
            found = "x".join(str(size) for size in images.shape[1:])
            raise DataError(
                f"The classifier '{self.name}' reads the demo's portraits, 3x{SIDE}x{SIDE}; found {found}. Name "
                "another one with --attribute-classifier."
            )
        chances = self._chances(images)
        best = chances.argmax(axis=1)
        best[chances.max(axis=1) < CONFIDENCE] = chances.shape[1]
        labels: NDArray[np.str_] = np.array([*ATTRIBUTES[self.attribute], UNKNOWN])[best]
        return labels

    def _chances(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, K)`` softmax."""
        head = list(ATTRIBUTES).index(self.attribute)
        chances = [np.zeros((0, len(ATTRIBUTES[self.attribute])), dtype=np.float32)]
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                block = torch.from_numpy(np.array(images[start : start + _BATCH])).float() / 127.5 - 1.0
                chances.append(self._network(block)[head].softmax(dim=1).numpy())
        return np.concatenate(chances)

    def _count(self, counted: LabelledImages) -> ConfusionCounts:
        classes = ATTRIBUTES[self.attribute]
        truth = np.asarray(counted.images.groups[self.attribute])
        given = self.classify(counted.images.rgb(), counted.features)
        rows = []
        for name in classes:
            of_class = given[truth == name]
            if len(of_class) < MIN_PER_CLASS:
                raise DataError(
                    f"The classifier '{self.name}' needs {MIN_PER_CLASS} labelled holdout images of each class to "
                    f"count its errors; found {len(of_class)} of '{name}'."
                )
            rows.append(tuple(int(np.count_nonzero(of_class == label)) for label in (*classes, UNKNOWN)))
        source = f"{len(truth):,} labelled portraits of {counted.images.name}:{counted.images.split}"
        return ConfusionCounts(classes, tuple(rows), source)


def load_classifier(attribute: Attribute, context: AttributeContext) -> AttributeClassifier:
    """Read the weights and count the errors on the holdout.

    Raises:
        DataError: when there is no labelled holdout, or too few images of a class in it.
    """
    holdout = context.holdout
    if holdout is None or attribute not in holdout.images.groups:
        raise DataError(
            f"The classifier of '{attribute}' counts its errors on held-out portraits with that column; there are "
            "none. Run it on the demo's data, or name another classifier with --attribute-classifier."
        )
    return PortraitClassifier(attribute, read_network(), holdout)


def read_network(path: Path = WEIGHTS) -> PortraitNetwork:
    """The shipped network, in inference mode. Nothing is unpickled."""
    network = PortraitNetwork()
    with np.load(path, allow_pickle=False) as stored:
        network.load_state_dict({name: torch.from_numpy(stored[name].astype(np.float32)) for name in stored.files})
    return network.eval()


def write_network(network: PortraitNetwork, path: Path = WEIGHTS) -> None:
    """Write the weights in half precision."""
    arrays = {name: weights.numpy().astype(np.float16) for name, weights in network.state_dict().items()}
    np.savez_compressed(path, **arrays)
