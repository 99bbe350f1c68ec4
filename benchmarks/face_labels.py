"""What the classifiers of faces say of what is no face, of one real face in other light, and how long they take.

``python benchmarks/face_labels.py``; needs ``pip install 'ldm-eval[faces]' scikit-image``. About a minute on one core.
"""

from __future__ import annotations

import time

import numpy as np
from ldm_eval_fairness.face_stability import Pixels, exposed, label_face
from ldm_eval_fairness.faces import TOLD, DlibReader
from PIL import Image
from skimage import data

SIDES = (64, 128, 256)
TEXTURES = ("brick", "grass", "gravel", "moon", "text")
OBJECTS = ("coffee", "chelsea", "rocket")
CROPS = 100


def main() -> None:
    """Print the three tables of ``docs/attribute-classifiers.md``."""
    readers = {told.name: DlibReader(told.read) for told in TOLD.values()}
    first = next(iter(readers.values()))
    print("| no face | pixels | images | detector found one | labelled |\n|---|---|---|---|---|")
    for side in SIDES:
        _false_labels("noise", [_noise(side, seed) for seed in range(CROPS)], first)
        _false_labels("smooth noise", [_resized(_noise(side // 8, seed), side) for seed in range(CROPS)], first)
        _false_labels("textures", [crop for texture in TEXTURES for crop in _crops(texture, side)], first)
        _false_labels("a cup, a cat, a rocket", [crop for name in OBJECTS for crop in _crops(name, side)], first)
    _light(readers)
    portrait = data.astronaut()[:256, 100:356]
    print("\n| pixels | a face, ms | no face, ms |\n|---|---|---|")
    for side in (96, 128, 256, 512):
        shown = data.astronaut() if side == 512 else _resized(portrait, side)
        print(f"| {side} | {_milliseconds(shown, first):.0f} | {_milliseconds(_noise(side, 0), first):.0f} |")


def _false_labels(what: str, images: list[Pixels], reader: DlibReader) -> None:
    seen = [label_face(image, reader) for image in images]
    labelled = sum(image.label != "unknown" for image in seen)
    found = sum(image.faces > 0 for image in seen)
    print(f"| {what} | {images[0].shape[0]} | {len(images):,} | {found} | {labelled} |")


def _light(readers: dict[str, DlibReader]) -> None:
    print(
        "\n| stops |", " | ".join(f"{name}: network | with the rules" for name in readers), "|\n|---|---|---|---|---|"
    )
    (face,) = next(iter(readers.values())).find(data.astronaut())
    for stops in (-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1):
        lit = exposed(data.astronaut(), stops)
        said = [f"{reader.read(lit, face)} | {label_face(lit, reader).label}" for reader in readers.values()]
        print(f"| {stops:+.2f} |", " | ".join(said), "|")


def _noise(side: int, seed: int) -> Pixels:
    return np.random.default_rng([side, seed]).integers(0, 256, (side, side, 3), dtype=np.uint8)


def _crops(photograph: str, side: int) -> list[Pixels]:
    pixels = getattr(data, photograph)()
    pixels = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    generator = np.random.default_rng(side)
    rows, columns = (generator.integers(0, max(size - side, 0) + 1, CROPS // 2) for size in pixels.shape[:2])
    crops = [pixels[top : top + side, left : left + side] for top, left in zip(rows, columns, strict=True)]
    return [_resized(crop, side) for crop in crops]


def _resized(pixels: Pixels, side: int) -> Pixels:
    return np.array(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))


def _milliseconds(pixels: Pixels, reader: DlibReader) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        label_face(pixels, reader)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


if __name__ == "__main__":
    main()
