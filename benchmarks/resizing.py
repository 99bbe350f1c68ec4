"""Milliseconds an image takes to be resized to 299x299 by clean-fid's rule: Pillow in float, and our products by bands.

    python benchmarks/resizing.py --threads 2 --rounds 9

Pillow is called as clean-fid 0.1.35 does (mode F, bicubic, one channel at a time, clipped). "whole" is the product with
the whole matrix of each axis, "by bands" what ``resize`` does. Ratios are medians of paired ratios to Pillow.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from ldm_eval_features.resize import OPERATORS, resize
from numpy.typing import NDArray
from PIL import Image

OPERATOR, TARGET, IMAGES = "bicubic-antialias-clipped", 299, 8


def pillow(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    size = (TARGET, TARGET)
    return np.stack(
        [
            [
                np.asarray(Image.fromarray(c.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)).clip(0, 255)
                for c in image
            ]
            for image in images
        ]
    )


def whole(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    rows, columns = (torch.from_numpy(OPERATORS[OPERATOR](side, TARGET)).float() for side in images.shape[2:])
    return (rows @ (torch.from_numpy(images).float() @ columns.T)).clamp_(0, 255).numpy()


def by_bands(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return resize(torch.from_numpy(images).float(), TARGET, OPERATOR).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ways: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.float32]]] = {
        "Pillow": pillow,
        "whole": whole,
        "by bands": by_bands,
    }
    for side in (32, 64, 128, 256, 512, 1024):
        images = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, side, side), dtype=np.uint8)
        expected = pillow(images)
        difference = max(float(np.abs(way(images) - expected).max()) for way in ways.values())
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(args.rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                way(images)
                seconds[name].append((time.perf_counter() - start) / IMAGES)
        base = seconds["Pillow"]
        columns = [
            f"{name} {1e3 * statistics.median(values):6.2f} ms "
            f"(x{statistics.median(b / v for b, v in zip(base, values, strict=True)):.1f})"
            for name, values in seconds.items()
        ]
        print(f"{side:5d}  {'   '.join(columns)}   largest difference {difference:.1e} grey levels")


if __name__ == "__main__":
    main()
